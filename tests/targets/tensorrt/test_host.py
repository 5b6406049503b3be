"""An engine is for the platform that it was built on, which the profile of a device names."""

from __future__ import annotations

import platform

import pytest

from tapeout.profiles import catalog
from tapeout.targets.tensorrt.target import RtxTarget


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
