from __future__ import annotations

import importlib.util
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from tapeout.errors import ModelError, TapeoutError
from tapeout.targets import nvidia
from tapeout.targets.tensorrt.enterprise import device


def installed(monkeypatch: pytest.MonkeyPatch, version: str, *capabilities: str) -> None:
    """Let this machine have TensorRT, and a card of each compute capability."""
    cards = tuple(nvidia.Card("a card", item) for item in capabilities)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(metadata, "version", lambda name: version)
    monkeypatch.setattr(nvidia, "cards", lambda: cards)


def test_machine_without_the_library() -> None:
    found = device.unfit("10.3.0", ("8.7",))
    assert found is not None
    assert "is not installed on this machine" in str(found)
    assert "run/README.md" in found.fix


@pytest.mark.parametrize(
    ("version", "capability", "told"),
    [
        ("10.15.1.29", "8.7", "TensorRT 10.15.1.29 is installed, the bundle is for 10.3.0"),
        ("10.3.0", "8.9", "a card of compute capability 8.9, the engine is for compute capabi"),
        ("10.3.0.26", "8.7", ""),
    ],
)
def test_library_and_gpu_must_fit(
    monkeypatch: pytest.MonkeyPatch, version: str, capability: str, told: str
) -> None:
    installed(monkeypatch, version, capability)
    found = device.unfit("10.3.0", ("8.7",))
    assert told in str(found) if told else found is None


@pytest.mark.parametrize(("code", "kind"), [(3, ModelError), (-11, TapeoutError)])
def test_failed_build_tells_every_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, kind: type[TapeoutError]
) -> None:
    said = "noise\nbuild.py: TensorRT does not take the network\n  node 'a' (Det): no importer\n"
    done = subprocess.CompletedProcess([], code, "", said)
    monkeypatch.setattr(device, "_run", lambda arguments: done)
    with pytest.raises(kind) as raised:
        device.build(tmp_path)
    assert [problem.what for problem in raised.value.problems] == [
        "TensorRT does not take the network",
        "node 'a' (Det): no importer",
    ]
