"""The target for Ethos-U as the planner meets it, and the bundles that it builds."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

import ethos
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tapeout import compiler, runner
from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.compiler import Options
from tapeout.data import read_npz
from tapeout.errors import (
    BudgetError,
    MissingToolError,
    ModelError,
    UsageError,
    VerificationError,
)
from tapeout.profiles import catalog
from tapeout.targets.base import Arrays, Precision, Simulator, target_for
from tapeout.targets.tflite.ethos_u import vela
from tapeout.targets.tflite.ethos_u.optimised import optimised
from tapeout.targets.tflite.ethos_u.target import ENGINE, EthosUTarget
from tapeout.targets.tflite.lower import to_tflite

import support

TARGET, DEVICES = ethos.TARGET, ethos.DEVICES
MODEL = support.MODELS / "digits_cnn.onnx"
CLOCKS = {"ethos-u55-128": 500, "ethos-u65-256": 1000}


def compiled(device: str, folder: Path) -> compiler.Compiled:
    """Compile the digits, calibrated on a few; on one device the accuracy is measured."""
    folder.mkdir(parents=True)
    digits = np.load(support.MODELS / "digits.npz")
    np.savez(folder / "few.npz", image=digits["calibration"][:16])
    np.savez(folder / "labelled.npz", image=digits["test"][:100], labels=digits["labels"][:100])
    labelled = str(folder / "labelled.npz") if device == DEVICES[0] else None
    options = Options(calibration=str(folder / "few.npz"), evaluation=labelled)
    job = compiler.prepare(MODEL, device, Budget(), options)
    return compiler.build(job, folder / "x.bundle")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return {device: compiled(device, folder / device).bundle for device in DEVICES}


def test_a_bundle_says_what_it_costs(bundles: dict[str, Bundle]) -> None:
    usages = {device: bundle.usage for device, bundle in bundles.items()}
    for device, bundle in bundles.items():
        usage, engine = usages[device], bundle.engine.read_bytes()
        assert bundle.manifest.engine == ENGINE
        assert usage.storage.value == len(engine)
        assert usage.memory.value == sum(part.value for _, part in usage.parts)
        assert usage.memory.known == usage.storage.known == "exact"
        assert usage.latency is not None
        assert usage.latency.known == "estimated"
        assert usage.latency.note == f"Vela's cycles at {CLOCKS[device]} MHz"
        assert bundle.manifest.toolchain["ethos-u-vela"] == metadata.version("ethos-u-vela")
        found = optimised(engine)
        assert usage.parts[0][1].value == found.arena
        assert dict(bundle.manifest.plan.options) == {"optimise": "performance", "io": "int8"}
    drop = usages["ethos-u55-128"].accuracy_drop
    assert drop is not None
    assert drop.known == "measured"
    assert drop.value <= 0.02
    assert [name for name, _ in usages["ethos-u55-128"].parts] == ["arena"]
    assert [name for name, _ in usages["ethos-u65-256"].parts] == ["arena", "sram", "model"]


@pytest.mark.parametrize("device", DEVICES)
def test_a_bundle_carries_its_program(bundles: dict[str, Bundle], device: str) -> None:
    folder = bundles[device].directory / "run"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "main.cc"]
    found = optimised(bundles[device].engine.read_bytes())
    main = (folder / "main.cc").read_text()
    assert f"kTensors = {found.arena};" in main
    assert "kTables = 4096;" in main
    assert f"kNpuSram = {found.fast};" in main
    assert "MicroMutableOpResolver<1> resolver" in main
    assert f"GetModel({ENGINE.replace('.', '_')})" in main
    assert "$" not in main
    assert f"xxd -i {ENGINE}" in (folder / "README.md").read_text()


def test_the_same_bytes_twice_and_no_path_in_them(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    bundle = bundles["ethos-u65-256"]
    vela.compiled.cache_clear()
    assert compiled("ethos-u65-256", tmp_path / "again").bundle.manifest == bundle.manifest
    for word in (b"/tmp", b"tapeout-", b"model_vela"):
        assert word not in bundle.engine.read_bytes()


def test_a_bundle_cannot_run_here_and_says_why(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    bundle = bundles["ethos-u55-128"]
    found = runner.verify(bundle)
    assert found.differences is None
    assert "no kernel for the operator 'ethos-u'" in str(found.not_run)
    with pytest.raises(UsageError, match="cannot run here"):
        runner.run(bundle, str(bundle.directory / "test_vectors.npz"))
    vectors = read_npz(bundle.directory / "test_vectors.npz")
    assert {name: array.dtype.name for name, array in vectors.items()} == {
        "image": "int8",
        "expected/logits": "int8",
    }


def test_wrong_numbers_are_noticed_though_the_engine_cannot_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def zeros(_: Arrays) -> Arrays:
        return {"logits": np.zeros((4, 10), np.int8)}

    monkeypatch.setattr(EthosUTarget, "simulator", lambda *_: Simulator(check=zeros, run=zeros))
    with pytest.raises(VerificationError, match="not the reference's"):
        compiled("ethos-u65-256", tmp_path / "x")
    assert not (tmp_path / "x" / "x.bundle").exists()


def test_the_strategies_trade_memory_for_time() -> None:
    """ResNet-8: 51 KiB at full speed, 35 KiB without."""
    model = ethos.real("resnet8_cifar10")
    fast, small = (
        TARGET.estimate(model, ethos.PROFILE, ethos.plan_for(name))
        for name in ("performance", "size")
    )
    assert small.memory.value <= 40 << 10 < fast.memory.value
    assert small.latency is not None
    assert fast.latency is not None
    assert small.latency.value > fast.latency.value


def test_numbers_are_those_of_the_reference_kernels() -> None:
    """XNNPACK rounds some of them otherwise: as ONNX Runtime does."""
    model = ethos.real("resnet8_cifar10")
    images = (support.real_inputs("resnet8_cifar10", 6) - 128).astype(np.int8)
    feeds = {str(model.graph.inputs[0].name): images}
    simulator = TARGET.simulator(model, ethos.PROFILE, ethos.plan_for())
    found = [next(iter(run(feeds).values())) for run in (simulator.run, simulator.check)]
    content = to_tflite(model)
    np.testing.assert_array_equal(found[0], computed(content, images, OpResolverType.BUILTIN_REF))
    np.testing.assert_array_equal(found[1], computed(content, images, OpResolverType.AUTO))
    assert (found[0] != found[1]).any()


def computed(content: bytes, images: np.ndarray, kernels: OpResolverType) -> np.ndarray:
    made = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    runner = made.get_signature_runner()
    (name,) = runner.get_input_details()
    return np.concatenate([next(iter(runner(**{name: x[None]}).values())) for x in images])


def test_too_little_sram_names_what_is_missing(tmp_path: Path) -> None:
    text = "extends: ethos-u55-128\nname: small\nbudget: {memory: 2 KiB}\n"
    (tmp_path / "small.yaml").write_text(text)
    with pytest.raises(BudgetError, match="too much") as caught:
        compiled(str(tmp_path / "small.yaml"), tmp_path / "x")
    assert caught.value.exit_code == 4
    assert not (tmp_path / "x" / "x.bundle").exists()


@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_plans(precision: Precision) -> None:
    found = TARGET.plans(catalog.load("ethos-u65-256"), precision)
    assert [str(plan) for plan in found] == [
        "ethos-u, int8, optimise=performance",
        "ethos-u, int8, optimise=size",
    ]
    assert TARGET.plans(catalog.load("raspberry-pi-5"), precision) == ()
    assert isinstance(target_for("ethos-u"), EthosUTarget)


def test_float_is_refused_with_the_reason() -> None:
    job = compiler.prepare(MODEL, "ethos-u55-128", Budget(), Options(precision="fp32"))
    with pytest.raises(ModelError, match="the NPU computes with integers only") as caught:
        compiler.plan(job)
    assert caught.value.exit_code == 3


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    TARGET.require()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError) as caught:
        TARGET.require()
    assert [problem.where for problem in caught.value.problems] == [
        "ethos-u-vela",
        "ai-edge-litert",
    ]
    assert {problem.fix for problem in caught.value.problems} == {"pip install 'tapeout[ethosu]'"}
