"""An engine is for the platform that it was built on, which the profile of a device names."""

from __future__ import annotations

import platform

import pytest

from tapeout import compiler
from tapeout.budget import Budget
from tapeout.job import Options
from tapeout.profiles import catalog
from tapeout.targets.tensorrt.target import RtxTarget

import support

MODEL = support.MODELS / "digits_cnn.onnx"


@pytest.mark.parametrize(
    ("machine", "device", "built"),
    [
        ("x86_64", "rtx-4090", True),
        ("AMD64", "rtx-4090", True),
        ("aarch64", "rtx-4090", False),
        ("aarch64", "dgx-spark", True),
        ("x86_64", "dgx-spark", False),
    ],
)
def test_engines_are_built_beside_the_same_cpu(
    machine: str, device: str, built: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    profile, target = catalog.load(device), RtxTarget()
    assert bool(target.plans(profile, "fp16")) == built
    assert (target.refusals(profile, "fp16") == []) == built


def test_what_to_do_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    (problem,) = RtxTarget().refusals(catalog.load("dgx-spark"), "int8")
    assert str(problem) == (
        "dgx-spark, whose CPU is aarch64: a TensorRT-RTX engine runs on the platform that built "
        "it, and this one is x86_64 (compile on aarch64, or take --runtime tensorrt)"
    )


def test_what_is_compiled_here_comes_before_what_is_not():
    """Their estimates are of the same kernels, and differ by how these are counted."""
    options = Options(precision="fp16")
    found = compiler.check(compiler.prepare(MODEL, "a100", Budget(), options))
    assert [item.plan.runtime for item in found] == ["tensorrt-rtx", "tensorrt"]
