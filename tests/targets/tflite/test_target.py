"""The target as the planner meets it, and the bundles that it builds."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeout import compiler, runner
from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.compiler import Options
from tapeout.errors import MissingToolError
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets import process, run
from tapeout.targets.base import Plan, Precision, target_for
from tapeout.targets.tflite import TARGET
from tapeout.targets.tflite.arena import arena_of
from tapeout.targets.tflite.execute import ENGINE_CODE
from tapeout.targets.tflite.flatbuffer import runtime_of

import support

MODEL = support.MODELS / "digits_cnn.onnx"
DIGITS = support.MODELS / "digits.npz"


@pytest.fixture(scope="module", params=["fp32", "int8"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    precision: Precision = request.param
    options = Options(
        precision=precision,
        runtime="tflite",
        calibration=f"{DIGITS}:calibration",
        evaluation=f"{DIGITS}:test",
    )
    job = compiler.prepare(MODEL, "host", Budget(accuracy_drop=0.002), options)
    return compiler.build(job, tmp_path_factory.mktemp(precision) / "x.bundle").bundle


def test_a_bundle_runs_here_and_keeps_the_accuracy(bundle: Bundle) -> None:
    found = runner.verify(bundle, f"{DIGITS}:test")
    assert found.not_run is None
    assert found.accuracy is not None
    assert found.accuracy.share > 0.99
    usage = bundle.manifest.usage
    assert usage["memory"]["known"] == usage["storage"]["known"] == "exact"
    assert usage["memory"]["value"] == sum(part["value"] for part in usage["parts"].values())
    assert usage["storage"]["value"] == (bundle.directory / "model.tflite").stat().st_size


def test_the_same_bundle_twice(bundle: Bundle, tmp_path: Path) -> None:
    precision = bundle.manifest.plan.precision
    options = Options(
        precision=precision,  # type: ignore[arg-type]  # of a manifest, a plain text
        runtime="tflite",
        calibration=f"{DIGITS}:calibration",
        evaluation=f"{DIGITS}:test",
    )
    job = compiler.prepare(MODEL, "host", Budget(accuracy_drop=0.002), options)
    again = compiler.build(job, tmp_path / "y.bundle").bundle
    assert again.manifest == bundle.manifest


def test_a_bundle_carries_what_runs_it(bundle: Bundle) -> None:
    folder = bundle.directory / "run"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "engine.py", "main.cc", "run.h", "run.py",
    ]  # fmt: skip
    assert (folder / "run.py").read_bytes() == process.RUN.read_bytes()
    assert (folder / "engine.py").read_bytes() == ENGINE_CODE.read_bytes()
    oldest = runtime_of(bundle.engine.read_bytes())
    assert f"TensorFlow Lite {oldest} or newer" in (folder / "README.md").read_text()


def test_the_plans_threads_reach_the_interpreter(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    specification = importlib.util.spec_from_file_location("engine", ENGINE_CODE)
    assert specification is not None
    assert specification.loader is not None
    engine = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(engine)
    interpreter, given = engine.interpreter_type(), []

    def made(**arguments: Any) -> Any:
        given.append(arguments["num_threads"])
        return interpreter(**arguments)

    monkeypatch.setattr(engine, "interpreter_type", lambda: made)
    manifest = json.loads((bundle.directory / "manifest.json").read_text())
    found = run.Bundle.read(bundle.directory)
    assert found.threads == manifest["plan"]["options"]["threads"] == 1
    for threads in (found.threads, 3):
        engine.Engine(found.engine, found.inputs, found.outputs, threads)
    assert given == [1, 3]


def test_another_processor_runs_the_same_file(tmp_path: Path) -> None:
    options = Options(precision="fp32", runtime="tflite")
    job = compiler.prepare(MODEL, "raspberry-pi-5", Budget(), options)
    found = compiler.build(job, tmp_path / "pi.bundle").bundle
    assert runner.verify(found).not_run is None
    measured = runner.bench(found, 3)
    assert measured.runs == 3
    assert measured.stand_in is not None
    assert measured.stand_in.startswith("computed on this machine in place of raspberry-pi-5; ")


def test_the_numbers_are_the_reference_s_in_pieces(bundle: Bundle, tmp_path: Path) -> None:
    images = support.real_inputs("digits_cnn", 5).astype(np.float32)
    np.savez(tmp_path / "x.npz", image=images)
    found = runner.run(bundle, str(tmp_path / "x.npz"))["logits"]
    expected = np.concatenate(
        [Reference(MODEL).run({"image": item[None]})["logits"] for item in images]
    )
    tolerance = 1e-5 if bundle.manifest.plan.precision == "fp32" else 0.05
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_int8_needs_less_memory_than_float(tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "int8"):
        options = Options(precision, "tflite", calibration=f"{DIGITS}:calibration")
        job = compiler.prepare(MODEL, "host", Budget(), options)
        sizes[precision] = compiler.build(job, tmp_path / precision).usage.memory.value
    assert sizes["int8"] < 0.5 * sizes["fp32"]


def test_the_arena_holds_at_least_what_lives_together(bundle: Bundle) -> None:
    manifest = bundle.manifest
    arena = arena_of(bundle.engine)
    assert arena == manifest.usage["parts"]["arena"]["value"] == arena_of(bundle.engine)
    # The largest two maps that meet: 16 channels of 8 x 8.
    width = 4 if manifest.plan.precision == "fp32" else 1
    assert arena >= 2 * 16 * 64 * width


@pytest.mark.parametrize(
    ("precision", "offered"),
    [
        ("auto", ["fp32", "fp16", "int8"]),
        ("fp32", ["fp32"]),
        ("int8", ["int8"]),
        ("fp16", ["fp16"]),
        ("int8-dynamic", ["int8-dynamic"]),
    ],
)
def test_plans(precision: Precision, offered: list[str]) -> None:
    profile = catalog.load("raspberry-pi-5")
    plans = TARGET.plans(profile, precision)
    assert list(plans) == [
        Plan("tflite", name, (("threads", threads),)) for name in offered for threads in (1, 4)
    ]
    assert target_for("tflite") is TARGET


def test_a_phone_offers_its_delegates() -> None:
    phone = catalog.load("fairphone-4")
    plans = TARGET.plans(phone, "fp32")
    assert [str(plan) for plan in plans] == [
        "tflite, fp32, threads=1, delegate=cpu",
        "tflite, fp32, threads=2, delegate=cpu",
        "tflite, fp32, threads=1, delegate=gpu",
        "tflite, fp32, threads=1, delegate=nnapi",
    ]
    # The newest one takes no delegates.
    assert [TARGET.version(phone, plan) for plan in plans] == ["2.3.0", "2.3.0", "1.4.2", "1.4.2"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    TARGET.require()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError) as caught:
        TARGET.require()
    assert caught.value.problems[0].fix == "pip install 'tapeout[mobile]'"


def test_the_passes_are_in_the_manifest(bundle: Bundle) -> None:
    manifest = json.loads((bundle.directory / "manifest.json").read_text())
    assert "sink-dequantize" in manifest["passes"]
    assert manifest["toolchain"] == {"ai-edge-litert": "2.3.0"}
