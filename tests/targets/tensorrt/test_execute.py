"""Running here: what is missing for it, and, on stand-ins for GPU and libraries, that it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import rtx_stand_in

from tapeout import compiler, render, runner
from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.errors import MissingToolError, UsageError, VerificationError
from tapeout.lowering.dynamic.ranges import ShapeRange
from tapeout.profiles import catalog
from tapeout.targets import nvidia
from tapeout.targets.nvidia import Card, DriverError
from tapeout.targets.tensorrt import execute as here
from tapeout.targets.tensorrt.execute import cannot_run, execute

PROFILE = catalog.load("rtx-4090")

OWN = Card("NVIDIA GeForce RTX 4090", "8.9")
SIBLING = Card("NVIDIA GeForce RTX 4060", "8.9")

X = {"x": np.ones((4, 3), np.float32)}

#: Put before run.py: the stand-ins take the place of the libraries in its process, too.
STAND_IN = """
import runpy, sys
sys.path.insert(0, {tests!r})
import pytest, rtx_stand_in
sys.argv = sys.argv[3:]  # -I -B before the program
rtx_stand_in.Machine({machine}).install(pytest.MonkeyPatch())
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def show(monkeypatch: pytest.MonkeyPatch, *cards: Card) -> None:
    monkeypatch.setattr(nvidia, "cards", lambda: cards)


def install(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    monkeypatch.setattr(here, "_is_installed", lambda module: module in modules)


def no_driver() -> tuple[Card, ...]:
    raise DriverError("this machine has no NVIDIA driver")


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "cards", no_driver)
    text = str(cannot_run(PROFILE))
    assert text.startswith("rtx-4090: this machine has no NVIDIA driver")
    assert "a GPU of compute capability 8.9 and NVIDIA driver 580" in text
    with pytest.raises(UsageError, match="a bundle for rtx-4090 cannot run on this machine"):
        execute(Path("a.bundle"), PROFILE, X)


def test_on_other_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, Card("NVIDIA A10", "8.6"), Card("NVIDIA H100", "9.0"))
    text = str(cannot_run(PROFILE))
    assert "NVIDIA A10 of compute capability 8.6, NVIDIA H100 of compute capability 9.0" in text
    assert "the engine is for compute capability 8.9" in text


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, Card("NVIDIA A10", "8.6"), SIBLING)
    install(monkeypatch)
    wanted = "pip install 'tapeout[gpu]' && pip install cuda-python=="
    assert wanted in str(cannot_run(PROFILE))
    with pytest.raises(MissingToolError, match="pip install cuda-python=="):
        execute(Path("a.bundle"), PROFILE, X)
    install(monkeypatch, "tensorrt_rtx", "cuda.bindings")
    assert cannot_run(PROFILE) is None


def test_packages_are_looked_for_without_importing_them() -> None:
    assert here._is_installed("json.decoder")
    assert not here._is_installed("json.nowhere")
    assert not here._is_installed("nowhere.at.all")


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, machine: str = "") -> None:
    """Let bundles run in a process that has stand-ins for libraries and a machine's GPUs.

    Args:
        machine: the arguments of `rtx_stand_in.Machine`, as Python writes them.
    """
    install(monkeypatch, "tensorrt_rtx", "cuda.bindings")
    code = folder / "stand_in.py"
    text = STAND_IN.format(tests=str(Path(rtx_stand_in.__file__).parent), machine=machine)
    code.write_text(text, encoding="utf-8")
    python = f'#!/bin/sh\nexec {sys.executable} {code} "$@"\n'
    program = folder / "python"
    program.write_text(python, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(("card", "where"), [(OWN, "device"), (SIBLING, "host")])
def test_where_everything_is_there_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: Card, where: str
) -> None:
    show(monkeypatch, card)
    stand_in(monkeypatch, tmp_path)
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", rtx_stand_in.engine_file())
    done = execute(bundle, PROFILE, X, repeat=3)
    np.testing.assert_array_equal(done.outputs["y"], 2 * X["x"] + 1)
    assert (len(done.latencies), done.where) == (3, where)


def test_what_does_not_fit_fails_the_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, OWN)
    stand_in(monkeypatch, tmp_path, "gpus=('7.5',)")
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", rtx_stand_in.engine_file()[:50])
    with pytest.raises(VerificationError, match="not what was compiled") as caught:
        execute(bundle, PROFILE, X)
    text = str(caught.value)
    assert "its header says 96" in text
    assert "of compute capability 7.5 is not one" in text
    assert "with the same data, shapes and budget: tapeout compile" in text


LINE = """
line (float[n,3] x) => (float[n,3] y) <float two = {2}, float one = {1}>
{ double = Mul(x, two)
  y = Add(double, one) }
"""

RANGES = (((1, 3), (4, 3), (8, 3)), ((2, 3), (2, 3), (2, 3)))


@pytest.fixture
def line(tmp_path: Path) -> Bundle:
    """A compiled network y = 2 x + 1, as the stand-in computes it, for several batches."""
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 20]>' + LINE)
    onnx.save(model, tmp_path / "line.onnx")
    ranges = [ShapeRange(*profile) for profile in RANGES]
    options = compiler.Options(precision="fp32", shapes={"x": ranges})
    job = compiler.prepare(tmp_path / "line.onnx", "rtx-4090", Budget(), options)
    return compiler.build(job, tmp_path / "line.bundle").bundle


def test_on_a_card_a_bundle_is_verified_run_and_measured(
    line: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(monkeypatch, OWN)
    stand_in(monkeypatch, tmp_path, f"shape=(-1, 3), profiles={RANGES}")
    verified = runner.verify(line)
    assert (verified.not_run, verified.stand_in) == (None, None)
    assert verified.differences is not None
    assert [item.output for item in verified.differences] == ["y"]

    for batch in (3, 8):  # the usual one is 4
        x = np.arange(3 * batch, dtype=np.float32).reshape(batch, 3)
        np.savez(tmp_path / "x.npz", x=x)
        outputs = runner.run(line, str(tmp_path / "x.npz"))
        np.testing.assert_array_equal(outputs["y"], 2 * x + 1)
    np.savez(tmp_path / "x.npz", x=np.ones((9, 3), np.float32))
    with pytest.raises(UsageError, match="9 samples, not a multiple of the compiled 4"):
        runner.run(line, str(tmp_path / "x.npz"))

    measured = runner.bench(line, 5)
    found = measured.to_json()
    assert found["latency"]["p50"] == pytest.approx(3e-3)  # the stand-in's steps take 1 ms each
    assert found["steps"]["p50"]["inference"] == pytest.approx(1e-3)
    assert found["card_memory"]["parts"]["weights"] == 512
    render.measured(measured)
    told = capsys.readouterr().out
    assert "of these (measured, medians): inputs to the GPU 1 ms, inference 1 ms" in told
    assert "memory of the device (measured): weights 512 B, activations (optimization" in told


def test_the_process_sees_which_gpus_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"CUDA_VISIBLE_DEVICES": "1", "SECRET": "x"})
    assert nvidia.environment() == {"CUDA_VISIBLE_DEVICES": "1"}
