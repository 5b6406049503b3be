"""The engine of a bundle, on stand-ins for the libraries: rtx_stand_in says what that proves."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rtx_stand_in
from rtx_stand_in import Machine, Number, engine_file, varying

from tapeout.targets import run
from tapeout.targets.tensorrt.execute import ENGINE_CODE
from tapeout.targets.tensorrt.glue import write_glue

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Writes a bundle with its ``run/``, and what lets a machine's libraries be found."""

    def write(
        machine: Machine,
        content: bytes = b"",
        dtype: str = "float32",
        shapes: dict[str, Any] | None = None,
    ) -> Path:
        given = content or engine_file()
        folder = rtx_stand_in.bundle(tmp_path / "bundle", given, dtype, shapes)
        write_glue(folder)
        machine.install(monkeypatch)
        for name in [name for name in sys.modules if name.split(".")[0] == "engine"]:
            monkeypatch.delitem(sys.modules, name)
        return folder

    return write


def start(folder: Path, x: np.ndarray, *options: str) -> int:
    """Run a bundle's own code on `x`; return the exit code."""
    np.savez(folder / "x.npz", x=x)
    files = ["--bundle", str(folder), "--engine-code", str(folder / "run" / "engine.py")]
    files += ["-i", str(folder / "x.npz"), "-o", str(folder / "y.npz")]
    return run.main([*files, "--stats", str(folder / "stats.json"), *options])


def output(folder: Path) -> np.ndarray:
    with np.load(folder / "y.npz") as arrays:
        return np.asarray(arrays["y"])


X = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_what_is_called_in_which_order(put: Put) -> None:
    machine = Machine()
    assert start(put(machine), X[:2]) == 0
    assert machine.calls == [
        "cudaSetDevice 0",
        "cudaStreamCreate",
        "deserialize_cuda_engine 96",
        "create_execution_context ON_PROFILE_CHANGE",
        "cudaMalloc 24",
        "cudaMallocHost 24",
        "set_tensor_address x",
        "cudaMalloc 24",
        "cudaMallocHost 24",
        "set_tensor_address y",
        "cudaMemcpyAsync cudaMemcpyHostToDevice 24",
        "execute_async_v3",
        "cudaMemcpyAsync cudaMemcpyDeviceToHost 24",
        "cudaStreamSynchronize 7",
    ]


@pytest.mark.parametrize("number", [Number.FLOAT, Number.HALF])
def test_every_piece_is_copied_there_and_back(put: Put, number: Number) -> None:
    dtype = {Number.FLOAT: "float32", Number.HALF: "float16"}[number]
    folder = put(Machine(number=number), dtype=dtype)
    assert start(folder, X.astype(dtype)) == 0
    np.testing.assert_array_equal(output(folder), (2 * X + 1).astype(dtype))


def test_times_and_memory_are_told(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put(Machine())
    assert start(folder, X[:2], "--repeat", "5") == 0
    stats = json.loads((folder / "stats.json").read_text())
    assert stats["latencies"] == [pytest.approx(3e-3)] * 5  # three steps of a millisecond each
    assert {step: len(times) for step, times in stats["steps"].items()} == {
        "inputs to the GPU": 5,
        "inference": 5,
        "outputs to the host": 5,
    }
    assert stats["device_memory"] == {
        "weights": 512,
        "activations (optimization profile 0)": 4096,
        "inputs and outputs": 48,
        "taken in all": 96,
    }
    told = capsys.readouterr().out
    assert "memory of the device, weights: 512 B" in told
    assert "5 timed inferences, median 3.000 ms, inputs to the GPU 1.000 ms" in told


def test_the_first_gpu_that_is_served_is_taken(put: Put) -> None:
    machine = Machine(gpus=("7.5", "8.6", "8.9"))
    assert start(put(machine), X[:2]) == 0
    assert machine.calls[0] == "cudaSetDevice 1"


#: Least, usual and largest shape of `x` in each optimization profile.
RANGES = (((1, 3), (8, 3), (64, 3)), ((2, 3), (2, 3), (4, 3)))


@pytest.mark.parametrize(("batch", "profile"), [(2, 1), (1, 0), (8, 0), (64, 0)])
def test_the_narrowest_optimization_profile_is_set(put: Put, batch: int, profile: int) -> None:
    machine = Machine(shape=(-1, 3), profiles=RANGES)
    folder = put(machine, shapes=varying(RANGES))
    x = np.arange(3 * batch, dtype=np.float32).reshape(batch, 3)
    assert start(folder, x, "--repeat", "1") == 0
    np.testing.assert_array_equal(output(folder), 2 * x + 1)
    set_at = machine.calls.index(f"set_optimization_profile_async {profile}")
    assert machine.calls[set_at + 1] == f"set_input_shape x [{batch}, 3]"
    memory = json.loads((folder / "stats.json").read_text())["device_memory"]
    assert memory[f"activations (optimization profile {profile})"] == 4096 * (profile + 1)


def test_what_no_profile_holds_is_run_in_pieces_of_the_usual_shape(put: Put) -> None:
    machine = Machine(shape=(-1, 3), profiles=RANGES)
    folder = put(machine, shapes=varying(RANGES))
    x = np.ones((66, 3), np.float32)
    assert start(folder, x) == 0  # the manifest's inputs have two rows
    np.testing.assert_array_equal(output(folder), 2 * x + 1)
    assert machine.calls.count("execute_async_v3") == 33
    assert sum("set_optimization_profile_async" in call for call in machine.calls) == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((65, 3), "no optimization profile holds them all: 'x' [1, 3]..[64, 3]; 'x' [2, 3].."),
        ((9, 3), "n is 9, not a multiple of 2"),
        ((2, 4), "'x' is given as [2, 4]: 4 is not 3"),
        ((6,), "'x' is given as [6], it has 2 dimensions"),
    ],
)
def test_shapes_that_it_does_not_take(
    put: Put, capsys: pytest.CaptureFixture[str], shape: tuple[int, ...], message: str
) -> None:
    machine = Machine(shape=(-1, 3), profiles=RANGES)
    folder = put(machine, shapes=varying(RANGES, multiple=1 if shape[0] == 65 else 2))
    assert start(folder, np.zeros(shape, np.float32)) == 2
    assert message in capsys.readouterr().err
    assert machine.calls == []


def test_shapes_may_change_and_memory_grows(put: Put) -> None:
    machine = Machine(shape=(-1, 3), profiles=RANGES)
    folder = put(machine, shapes=varying(RANGES))
    engine = run.load_engine(folder / "run" / "engine.py", run.Bundle.read(folder))
    for batch in (2, 9, 1):
        x = np.full((batch, 3), batch, np.float32)
        np.testing.assert_array_equal(engine.run({"x": x})[0], 2 * x + 1)
    assert [call for call in machine.calls if call.startswith(("cudaMalloc ", "cudaFree "))] == [
        *["cudaMalloc 24"] * 2,
        *["cudaFree 24", "cudaMalloc 108"] * 2,
    ]
    with pytest.raises(RuntimeError, match=r"no optimization profile holds 'x' \[65, 3\]"):
        engine.run({"x": np.zeros((65, 3), np.float32)})


def test_an_engine_that_holds_less_than_the_manifest_says(
    put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(shape=(-1, 3), profiles=(((4, 3), (4, 3), (4, 3)),))
    assert start(put(machine), X[:2]) == 2
    assert "fails: no optimization profile holds 'x' [2, 3]" in capsys.readouterr().err


REBUILD = "budget: tapeout compile 'it'\"'\"'s a net.onnx' --device {} --precision fp16 -o "


@pytest.mark.parametrize(
    ("machine", "content", "problems"),
    [
        (Machine(), b"VTRT" + engine_file()[4:], ["is no engine of TensorRT-RTX: it starts w"]),
        (Machine(), engine_file()[:30], ["the file has 30 bytes, the header of an"]),
        (Machine(), engine_file()[:90], ["has 90 bytes, its header says 96: a part is missing"]),
        (Machine(), engine_file(mask=0x10), ["is for compute capability 12.0, not 8.9, 8.6"]),
        (Machine(), engine_file(mask=0x44), ["is for compute capability 8.6, bit 0x40, not 8.9"]),
        (Machine(), engine_file(version="1.6.1.120"), ["built by TensorRT-RTX 1.6.1.120, not 1."]),
        (Machine(version="1.6.1.120"), engine_file(), ["TensorRT-RTX 1.6.1.120 is installed, the"]),
        (
            Machine(gpus=("7.5", "12.0"), version="1.8.0.5"),
            engine_file()[:90],
            [
                "has 90 bytes, its header says 96",
                "TensorRT-RTX 1.8.0.5 is installed, the engine is for 1.7.1.116",
                "GPU 0 (card 0), of compute capability 7.5 is not one that the engine is for: 8.9",
                "GPU 1 (card 1), of compute capability 12.0",
                REBUILD.format("NAME") + "'it'\"'\"'s a net-NAME.bundle' (NAME is a device of "
                "compute capability 7.5 or 12.0: `tapeout devices --kind gpu`)",
            ],
        ),
    ],
    ids=["magic", "header", "truncated", "mask", "bit", "builder", "runtime", "everything"],
)  # fmt: skip
def test_what_does_not_fit_is_not_loaded(
    put: Put,
    capsys: pytest.CaptureFixture[str],
    machine: Machine,
    content: bytes,
    problems: list[str],
) -> None:
    folder = put(machine, content)
    assert start(folder, X[:2]) == 6
    told = capsys.readouterr().err
    assert [problem for problem in problems if problem not in told] == []
    assert REBUILD.format("NAME" if "7.5" in machine.gpus else "rtx-4090") in told
    assert machine.calls == []
    assert not (folder / "y.npz").exists()


def test_a_file_that_was_changed_is_not_loaded(
    put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine()
    folder = put(machine)
    (folder / "engine.trt").write_bytes(engine_file()[:-1] + b"x")
    assert start(folder, X[:2]) == 6
    assert "the file has 96 bytes and sha256 " in capsys.readouterr().err
    assert machine.calls == []


def test_without_a_driver_it_says_what_is_needed(
    put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(put(Machine(gpus=())), X[:2]) == 5
    told = capsys.readouterr().err
    assert "CUDA does not start (cudaGetDeviceCount: cudaErrorInsufficientDriver)" in told
    assert "it needs a GPU, NVIDIA driver 580 or newer" in told


@pytest.mark.parametrize(("damaged", "code"), [(False, 5), (True, 6)])
def test_without_the_packages_the_file_is_checked_all_the_same(
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damaged: bool,
    code: int,
) -> None:
    content = engine_file()[:90] if damaged else engine_file()
    folder = put(Machine(), content)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    assert start(folder, X[:2]) == code
    told = capsys.readouterr().err
    assert ("its header says 96" in told, "cuda.bindings.runtime" in told) == (damaged, True)


@pytest.mark.parametrize(
    ("machine", "dtype", "message"),
    [
        (
            Machine(refuses="deserialize_cuda_engine"),
            "float32",
            "TensorRT-RTX does not take it: the engine is of another world",
        ),
        (Machine(refuses="create_execution_context"), "float32", "it gets no execution context"),
        (Machine(refuses="execute_async_v3"), "float32", "fails: the inference fails"),
        (Machine(refuses="cudaMalloc"), "float32", "cudaMalloc: cudaErrorMemoryAllocation"),
        (Machine(refuses="set_tensor_address"), "float32", "'x' cannot be given memory"),
        (Machine(), "float16", "('x', 'INPUT', 'float32'), ('y', 'OUTPUT', 'float32')]"),
        (Machine(number=Number.BF16), "float32", "('x', 'INPUT', 'BF16')"),
    ],
)
def test_what_fails_is_told(
    put: Put, capsys: pytest.CaptureFixture[str], machine: Machine, dtype: str, message: str
) -> None:
    folder = put(machine, dtype=dtype)
    assert start(folder, X[:2].astype(dtype)) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "y.npz").exists()


def test_a_manifest_of_something_else_is_told(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put(Machine())
    data = json.loads((folder / "manifest.json").read_text())
    del data["device"]["profile"]["gpu"]
    (folder / "manifest.json").write_text(json.dumps(data))
    assert start(folder, X[:2]) == 1
    assert "manifest.json is not the manifest of an engine for a GPU" in capsys.readouterr().err


def test_the_bundle_stays_as_it_was_written(put: Put) -> None:
    folder = put(Machine())
    before = sorted(path.name for path in (folder / "run").iterdir())
    assert start(folder, X[:2]) == 0
    assert sorted(path.name for path in (folder / "run").iterdir()) == before


def used(code: str) -> dict[str, set[str]]:
    """Return the attributes that a file uses of what it names by a class of the library."""
    of = {"_engine": "ICudaEngine", "_context": "IExecutionContext", "_runtime": "Runtime"}
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name in ("trt", "_trt"):
                found.setdefault("", set()).add(node.attr)
            elif name in of:
                found.setdefault(of[name], set()).add(node.attr)
    return found


def test_what_is_used_of_the_library_is_there() -> None:
    """The stand-in may be wrong of what the library has; the library itself is not."""
    wanted = {
        name: sorted(attributes) for name, attributes in used(ENGINE_CODE.read_text()).items()
    }
    assert {"deserialize_cuda_engine"} == set(wanted["Runtime"])
    program = (
        "import json, sys, tensorrt_rtx as library\n"
        "for name, attributes in json.load(sys.stdin).items():\n"
        "    owner = getattr(library, name) if name else library\n"
        "    print([item for item in attributes if not hasattr(owner, item)], file=sys.stderr)\n"
    )
    command = [sys.executable, "-I", "-c", program]
    given = json.dumps(wanted)
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["[]"] * 4
