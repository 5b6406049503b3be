from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from tapeout.errors import MissingToolError, TapeoutError, UsageError
from tapeout.profiles import catalog
from tapeout.targets import nvidia
from tapeout.targets.base import Plan, target_for
from tapeout.targets.tvm.cuda import nvrtc
from tapeout.targets.tvm.cuda.target import CudaTarget, require_binary

import support

TARGET = CudaTarget()


def test_it_offers_the_numbers_that_its_kernels_compute_in() -> None:
    h100 = catalog.load("h100")
    assert target_for("tvm-cuda").runtimes == ("tvm-cuda",)
    assert [plan.precision for plan in TARGET.plans(h100, "auto")] == ["fp32", "fp16"]
    assert list(TARGET.plans(h100, "fp16")) == [Plan("tvm-cuda", "fp16")]
    assert TARGET.plans(h100, "int8") == ()
    assert TARGET.plans(catalog.load("rtx-portable"), "auto") == ()  # one engine, one GPU
    assert TARGET.plans(catalog.load("raspberry-pi-5"), "auto") == ()


def test_each_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> metadata.Distribution:
        if name in nvrtc.PACKAGES:
            raise metadata.PackageNotFoundError(name)
        return metadata.Distribution()

    monkeypatch.setattr(metadata, "distribution", distribution)
    with pytest.raises(MissingToolError) as caught:
        TARGET.require()
    assert caught.value.exit_code == 5
    assert [problem.where for problem in caught.value.problems] == list(nvrtc.PACKAGES)
    assert {problem.fix for problem in caught.value.problems} == {"pip install 'tapeout[cuda]'"}


def test_the_time_of_half_precision_is_that_of_float32_arithmetic() -> None:
    h100 = catalog.load("h100")
    machine = TARGET.machine(h100, Plan("tvm-cuda", "fp16"))
    assert machine.peak("float16") == machine.peak("float32") == h100.peak("float32")


@pytest.mark.parametrize(
    ("engine", "architecture", "reason"),
    [
        (b"// __global__ void f()", "sm_90", "left the source of the kernels in it"),
        ("ones", "sm_89", "holds machine code for sm_90, and is for sm_89"),
        ("twice", "sm_90", "holds machine code for sm_90, sm_90"),
        ("nothing", "sm_90", "has no kernels"),
    ],
)
def test_an_engine_without_the_binary_of_its_card_is_refused(
    engine: bytes | str, architecture: str, reason: str
) -> None:
    if isinstance(engine, str):
        kernel = "" if engine == "nothing" else 'extern "C" __global__ void ones() {}'
        engine = nvrtc.compile_kernels(kernel, "sm_90") * (2 if engine == "twice" else 1)
    with pytest.raises(TapeoutError, match="the engine does not run on the card") as caught:
        require_binary(engine, architecture)
    assert reason in str(caught.value)


def test_without_a_fitting_card_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h100 = catalog.load("h100")
    monkeypatch.setattr(nvidia, "cards", lambda: (nvidia.Card("NVIDIA H100", "9.0"),))
    assert TARGET.cannot_run(h100) is None
    monkeypatch.setattr(nvidia, "cards", lambda: (nvidia.Card("NVIDIA A10", "8.6"),))
    problem = TARGET.cannot_run(h100)
    assert problem is not None
    assert "NVIDIA A10 of compute capability 8.6" in problem.what
    with pytest.raises(UsageError, match="cannot run on this machine"):
        TARGET.execute(tmp_path, h100, {})


def test_the_digits_network_needs_what_the_pipeline_leaves_of_it() -> None:
    from tapeout.lowering.importers.onnx import load

    h100, plan = catalog.load("h100"), Plan("tvm-cuda", "fp32")
    model = TARGET.pipeline(h100, plan).run(load(support.MODELS / "digits_cnn.onnx"))
    assert TARGET.check(model, h100, plan) == []
    usage = TARGET.estimate(model, h100, plan)
    assert usage.latency is not None
    assert "experimental" in usage.latency.note
    assert dict(usage.parts)["weights"].value <= usage.memory.value
