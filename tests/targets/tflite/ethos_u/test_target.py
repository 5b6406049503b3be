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
from tapeout.targets.base import Precision, target_for
from tapeout.targets.tflite.ethos_u import vela
from tapeout.targets.tflite.ethos_u.optimised import optimised
from tapeout.targets.tflite.ethos_u.target import ENGINE, EthosUTarget
from tapeout.targets.tflite.lower import to_tflite

import support

TARGET, DEVICES = ethos.TARGET, ethos.DEVICES
MODEL = support.MODELS / "digits_cnn.onnx"
DIGITS = support.MODELS / "digits.npz"

CLOCKS = {"ethos-u55-128": 500, "ethos-u65-256": 1000}

#: The accuracy is measured on one device.
OPTIONS = {
    "ethos-u55-128": Options(calibration=f"{DIGITS}:calibration", evaluation=f"{DIGITS}:test"),
    "ethos-u65-256": Options(calibration=f"{DIGITS}:calibration"),
}


def compiled(device: str, folder: Path) -> compiler.Compiled:
    options = OPTIONS.get(device, OPTIONS["ethos-u65-256"])
    return compiler.build(compiler.prepare(MODEL, device, Budget(), options), folder)


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
    assert drop.value < 0.01
    assert [name for name, _ in usages["ethos-u55-128"].parts] == ["arena"]
    assert [name for name, _ in usages["ethos-u65-256"].parts] == ["arena", "sram", "model"]


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
    assert read_npz(bundle.directory / "test_vectors.npz")["image"].dtype == np.int8


def test_wrong_numbers_are_noticed_though_the_engine_cannot_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(*_: object) -> object:
        return lambda feeds: {"logits": np.zeros((4, 10), np.int8)}

    monkeypatch.setattr(EthosUTarget, "simulator", wrong)
    with pytest.raises(VerificationError, match="not the reference's"):
        compiled("ethos-u65-256", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


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
    """XNNPACK rounds some of them otherwise."""
    model = ethos.real("resnet8_cifar10")
    images = (support.real_inputs("resnet8_cifar10", 6) - 128).astype(np.int8)
    run = TARGET.simulator(model, ethos.PROFILE, ethos.plan_for())
    (found,) = run({str(model.graph.inputs[0].name): images}).values()
    reference, xnnpack = (
        computed(to_tflite(model), images, kernels)
        for kernels in (OpResolverType.BUILTIN_REF, OpResolverType.AUTO)
    )
    np.testing.assert_array_equal(found, reference)
    assert (found != xnnpack).any()


def computed(content: bytes, images: np.ndarray, kernels: OpResolverType) -> np.ndarray:
    made = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    runner = made.get_signature_runner()
    (name,) = runner.get_input_details()
    return np.concatenate([next(iter(runner(**{name: x[None]}).values())) for x in images])


def test_too_little_sram_names_what_is_missing(tmp_path: Path) -> None:
    text = "extends: ethos-u55-128\nname: small\nbudget: {memory: 2 KiB}\n"
    (tmp_path / "small.yaml").write_text(text)
    with pytest.raises(BudgetError, match="too much") as caught:
        compiled(str(tmp_path / "small.yaml"), tmp_path / "x.bundle")
    assert caught.value.exit_code == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml"]


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
