"""Running here: what is missing for it, and, on stand-ins for GPU and libraries, that it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import rtx_stand_in

from tapeout.errors import MissingToolError, UsageError, VerificationError
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
rtx_stand_in.Machine(gpus={gpus!r}).install(pytest.MonkeyPatch())
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
    assert "tapeout devices --kind gpu" in text


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


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, gpus: tuple[str, ...]) -> None:
    """Let bundles run in a process that has stand-ins for GPUs and libraries."""
    install(monkeypatch, "tensorrt_rtx", "cuda.bindings")
    code = folder / "stand_in.py"
    text = STAND_IN.format(tests=str(Path(rtx_stand_in.__file__).parent), gpus=gpus)
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
    stand_in(monkeypatch, tmp_path, ("8.9",))
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", rtx_stand_in.engine_file())
    done = execute(bundle, PROFILE, X, repeat=3)
    np.testing.assert_array_equal(done.outputs["y"], 2 * X["x"] + 1)
    assert (len(done.latencies), done.where) == (3, where)


def test_what_does_not_fit_fails_the_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, OWN)
    stand_in(monkeypatch, tmp_path, ("7.5",))
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", rtx_stand_in.engine_file()[:50])
    with pytest.raises(VerificationError, match="not what was compiled") as caught:
        execute(bundle, PROFILE, X)
    text = str(caught.value)
    assert "its header says 96" in text
    assert "of compute capability 7.5 is not one" in text
    assert "rebuild it: tapeout compile" in text


def test_the_process_sees_which_gpus_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"CUDA_VISIBLE_DEVICES": "1", "SECRET": "x"})
    assert nvidia.environment() == {"CUDA_VISIBLE_DEVICES": "1"}
