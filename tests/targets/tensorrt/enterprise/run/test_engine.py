"""engine.py and compare.py on stand-ins for the libraries: rtx_stand_in says what that proves."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rtx_stand_in import Machine

from tapeout.targets import run
from tapeout.targets.tensorrt.enterprise.glue import write_glue
from tapeout.targets.tensorrt.enterprise.run import compare
from tapeout.targets.tensorrt.enterprise.run.build import Order

VERSION = "10.3.0"
MODEL = b"the network"
ENGINE = b"the engine"
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A bundle whose engine was built here, which gives y = 2 x + 1."""
    folder = tmp_path / "b.bundle"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(MODEL)
    order = Order(VERSION, "model.onnx", digest(MODEL), ("8.7",), False, False, 1, 48, ())
    write_glue(folder, order)
    tensor = {"shape": [2, 3], "dtype": "float32", "quantization": None}
    manifest = {
        "engine": "model.onnx",
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
        "artifacts": [{"path": "engine.trt", "sha256": digest(ENGINE)}],
        "budget": {"memory": None},
        "tolerance": 0.01,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    np.savez(folder / "test_vectors.npz", **{"x": X, "expected/y": 2 * X + 1})
    engine = tmp_path / "b.bundle.engine"
    engine.write_bytes(ENGINE)
    known = {"model": digest(MODEL), "engine": digest(ENGINE)}
    engine.with_name("b.bundle.engine.json").write_text(json.dumps(known))
    monkeypatch.setitem(sys.modules, "run", run)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "engine"]:
        del sys.modules[name]


def install(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", sys.modules.pop("tensorrt_rtx"))
    monkeypatch.setattr(run, "HERE", Path("nowhere"))


def compared(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run compare.py with the bundle's own engine.py."""
    own = run.main
    code = ["--engine-code", str(bundle / "run" / "engine.py")]
    monkeypatch.setattr(run, "main", lambda arguments: own([*arguments, *code]))
    return compare.main(["--bundle", str(bundle), "--repeat", "2"])


def test_engine_beside_the_bundle_runs_and_is_measured(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(("8.7",), "10.3.0.30")
    install(machine, monkeypatch)
    assert compared(bundle, monkeypatch) == 0
    assert f"deserialize_cuda_engine {len(ENGINE)}" in machine.calls
    printed = capsys.readouterr().out
    assert "output 'y': differs by 0 of its largest value" in printed
    assert "2 timed inferences" in printed
    assert "memory of the device, weights: 512 B" in printed


def test_older_library_tells_no_weights(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(Machine(("8.7",), "10.3.0"), monkeypatch)
    monkeypatch.delattr(sys.modules["tensorrt"], "EngineStat")
    assert compared(bundle, monkeypatch) == 0
    assert f"memory of the device, weights: {len(ENGINE)} B" in capsys.readouterr().out


def test_engine_in_a_bundle_that_was_compiled_on_the_device(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(Machine(("8.7",), "10.3.0"), monkeypatch)
    manifest = json.loads((bundle / "manifest.json").read_text()) | {"engine": "engine.trt"}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle / "engine.trt").write_bytes(ENGINE)
    assert compared(bundle, monkeypatch) == 0
    (bundle / "engine.trt").write_bytes(b"another")
    assert compared(bundle, monkeypatch) == 6
    assert "engine.trt is not the file that the manifest lists" in capsys.readouterr().err


def test_other_outputs_are_told(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(Machine(("8.7",), "10.3.0"), monkeypatch)
    np.savez(bundle / "test_vectors.npz", **{"x": X, "expected/y": 2 * X})
    assert compared(bundle, monkeypatch) == 6
    assert "0.01 may be" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        (Machine(("8.6",), "10.3.0"), "of compute capability 8.6 is not one that the bundle"),
        (Machine(("8.7",), "10.7.0"), "TensorRT 10.7.0 is installed, the bundle is for 10.3.0"),
    ],
)
def test_other_machine_is_refused(
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    machine: Machine,
    told: str,
) -> None:
    install(machine, monkeypatch)
    assert compared(bundle, monkeypatch) == 6
    errors = capsys.readouterr().err
    assert told in errors
    assert "build it on this machine: python3 run/build.py" in errors
    assert not any(call.startswith("deserialize") for call in machine.calls)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("b.bundle.engine", b"another", "is not the file that build.py wrote"),
        ("b.bundle.engine.json", b'{"model": "", "engine": ""}', "was built from another network"),
        ("b.bundle.engine.json", b"no json", "cannot be read"),
        ("b.bundle.engine", None, "No such file"),
    ],
)
def test_engine_that_was_not_built_here_is_not_loaded(
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    told: str,
) -> None:
    machine = Machine(("8.7",), "10.3.0")
    install(machine, monkeypatch)
    file = bundle.with_name(name)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert compared(bundle, monkeypatch) == 6
    assert told in capsys.readouterr().err
    assert not any(call.startswith("deserialize") for call in machine.calls)
