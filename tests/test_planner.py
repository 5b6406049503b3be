"""Which plan is taken, of those that a device offers."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tapeout import compiler, planner, render
from tapeout.budget import Budget
from tapeout.errors import BudgetError, ModelError, TapeoutError, UsageError, VerificationError
from tapeout.planner import Candidate
from tapeout.targets.base import Execution, target_for

import support

MODEL = support.ROOT / "examples" / "digits_cnn.onnx"


def candidates(device: str, options: compiler.Options | None = None) -> list[Candidate]:
    return compiler.plan(compiler.prepare(MODEL, device, Budget(), options or compiler.Options()))


def test_the_runtime_of_the_least_estimated_latency_comes_first() -> None:
    found = [item for item in candidates("raspberry-pi-5") if item.plan.threads == 1]
    assert {item.plan.runtime for item in found} == {"tvm", "tflite"}
    latencies = [item.usage.latency.value for item in found if item.usage.latency]
    assert latencies == sorted(latencies)


def test_fewer_bits_come_after_the_models_own() -> None:
    options = compiler.Options(calibration=f"{MODEL.with_name('digits.npz')}:calibration")
    precisions = [item.plan.precision for item in candidates("raspberry-pi-5", options)]
    assert set(precisions) >= {"fp32", "int8"}
    assert precisions == sorted(precisions, key=["fp32", "int8", "fp16"].index)


def test_what_misses_the_budget_comes_last() -> None:
    within = Budget(storage=70 << 10)
    job = compiler.prepare(MODEL, "raspberry-pi-5", within, compiler.Options())
    fits = [item.verdict.fits for item in compiler.plan(job)]
    assert fits == sorted(fits, reverse=True)
    assert set(fits) == {True, False}


def test_rivals_differ_in_the_runtime_only() -> None:
    groups = planner.rivals(candidates("raspberry-pi-5"))
    first = [item.plan for item in groups[0]]
    assert {plan.runtime for plan in first} == {"tvm", "tflite"}
    assert {(plan.precision, plan.threads) for plan in first} == {("fp32", 1)}


@pytest.mark.parametrize(
    ("runtime", "error", "why"),
    [
        (
            "tensorrt-rtx",
            ModelError,
            r"9\.0 \(Hopper\): .* \(take --runtime tensorrt or tvm-cuda\)",
        ),
        ("tflite", UsageError, "it carries: tensorrt, tvm-cuda"),
        ("no-such", UsageError, "it carries: tensorrt, tvm-cuda"),
    ],
)
def test_a_runtime_that_a_device_does_not_carry(
    runtime: str, error: type[TapeoutError], why: str
) -> None:
    with pytest.raises(error, match=why):
        candidates("h100", compiler.Options(runtime=runtime))


@pytest.mark.parametrize("fastest", ["tvm", "tflite"])
def test_on_this_machine_the_measured_latency_decides(
    fastest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for runtime in ("tvm", "tflite"):
        target = target_for(runtime)
        seconds = 1e-6 if runtime == fastest else 1.0

        def execute(*given: Any, real: Any = target.execute, seconds: float = seconds) -> Execution:
            return dataclasses.replace(real(*given), latencies=(seconds,) * 3)

        monkeypatch.setattr(type(target), "execute", staticmethod(execute))
    job = compiler.prepare(MODEL, "host", Budget(), compiler.Options())
    compiled = compiler.build(job, tmp_path / "x.bundle")
    assert compiled.bundle.manifest.runtime.name == fastest
    assert compiled.usage.latency is not None
    assert compiled.usage.latency.value == 1e-6
    files = {"tvm": ["engine.so", "engine.weights"], "tflite": ["model.tflite"]}
    assert sorted(item.name for item in (tmp_path / "x.bundle").iterdir()) == sorted(
        ["manifest.json", "run", "test_vectors.npz", *files[fastest]]
    )


def test_an_engine_that_computes_something_else_is_left_out_where_another_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = target_for("tflite")

    def execute(*given: Any, real: Any = target.execute) -> Execution:
        found = real(*given)
        return dataclasses.replace(
            found, outputs={name: array + 1 for name, array in found.outputs.items()}
        )

    monkeypatch.setattr(type(target), "execute", staticmethod(execute))
    job = compiler.prepare(MODEL, "host", Budget(), compiler.Options())
    compiled = compiler.build(job, tmp_path / "x.bundle")
    assert compiled.bundle.manifest.runtime.name == "tvm"
    [left_out] = compiled.not_tried
    assert left_out.where.startswith("tflite")
    assert "the outputs are not the reference's" in left_out.what
    render.compiled(compiled)
    assert "left out: tflite" in capsys.readouterr().out
    alone = compiler.prepare(MODEL, "host", Budget(), compiler.Options(runtime="tflite"))
    with pytest.raises(VerificationError, match="the outputs are not the reference's"):
        compiler.build(alone, tmp_path / "y.bundle")
    assert not (tmp_path / "y.bundle").exists()


def test_a_runtime_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    present = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> object:
        return None if name == "ai_edge_litert" else present(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    job = compiler.prepare(MODEL, "raspberry-pi-5", Budget(), compiler.Options())
    found = compiler.check(job)
    assert {item.plan.runtime for item in found} == {"tvm"}
    render.check(job, found, compiler.not_tried(job))
    assert "tflite: ai-edge-litert: is not installed (pip install" in capsys.readouterr().out
    with pytest.raises(BudgetError, match="ai-edge-litert"):
        compiler.check(dataclasses.replace(job, budget=Budget(memory=1)))
    pinned = dataclasses.replace(job, options=compiler.Options(runtime="tvm"))
    assert not compiler.not_tried(pinned)
