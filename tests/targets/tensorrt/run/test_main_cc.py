"""The C++ program of a bundle, compiled against stand-ins for the headers of CUDA and TensorRT-RTX.

There is no GPU where the tests run: they prove which functions are called, in which order and with
which memory, and what is refused before; not that a GPU does what is asked of it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rtx_stand_in
from rtx_stand_in import engine_file, varying

from tapeout.targets.tensorrt.glue import write_glue

HEADERS = Path(__file__).parents[1] / "headers"

#: A machine with one GPU that the engine serves.
FITS = {"GPUS": "8.9", "VERSION": rtx_stand_in.VERSION, "ROWS": "2"}

X = np.arange(6, dtype=np.float32).reshape(2, 3)

#: Least, usual and largest shape of `x` in each optimization profile, as the stand-in has them.
RANGES = (((1, 3), (8, 3), (64, 3)), ((2, 3), (2, 3), (4, 3)))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program of a bundle."""
    folder = tmp_path_factory.mktemp("cc")
    write_glue(folder)
    flags = ["-std=c++17", "-O0", "-Wall", "-Wextra", "-Wshadow", "-Werror", f"-I{HEADERS}"]
    subprocess.run(["g++", *flags, "main.cc", "-o", "run"], cwd=folder / "run", check=True)
    return folder / "run" / "run"


def call(
    program: Path, bundle: Path, x: np.ndarray, *options: str, **machine: str
) -> subprocess.CompletedProcess[str]:
    """Run `x` through a bundle on a machine that is like `FITS` but for what is said."""
    np.save(bundle / "x.npy", x)
    command = [str(program), str(bundle), str(bundle), *options, str(bundle / "x.npy")]
    environment = {**FITS, **machine}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def calls(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line[2:] for line in done.stderr.splitlines() if line.startswith("> ")]


def test_what_is_called_in_which_order(program: Path, tmp_path: Path) -> None:
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", engine_file())
    done = call(program, bundle, X, GPUS="7.5 8.6")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(bundle / "output0.npy"), 2 * X + 1)
    assert calls(done) == [
        "cudaSetDevice 1",
        "cudaStreamCreate",
        "deserializeCudaEngine 96",
        "createExecutionContext 1",  # kON_PROFILE_CHANGE
        "cudaMalloc 24",
        "cudaMallocHost 24",
        "setTensorAddress x",
        "cudaMalloc 24",
        "cudaMallocHost 24",
        "setTensorAddress y",
        "cudaMemcpyAsync to device 24",
        "enqueueV3",
        "cudaMemcpyAsync to host 24",
        "cudaStreamSynchronize",
        "cudaStreamDestroy",
        *["cudaFree", "cudaFreeHost"] * 2,
    ]


def test_times_and_memory_are_told(program: Path, tmp_path: Path) -> None:
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", engine_file())
    done = call(program, bundle, X, "--repeat", "5")
    assert done.stdout.endswith(
        "output0.npy: y\n"
        "memory of the device, activations (optimization profile 0): 4096 B\n"
        "memory of the device, inputs and outputs: 48 B\n"
        "5 timed inferences, median 3.000 ms, inputs to the GPU 1.000 ms, inference 1.000 ms, "
        "outputs to the host 1.000 ms\n"
    )
    first = calls(done).index("cudaEventRecord 1")
    assert calls(done)[first : first + 7] == [
        "cudaEventRecord 1",
        "cudaMemcpyAsync to device 24",
        "cudaEventRecord 2",
        "enqueueV3",
        "cudaEventRecord 3",
        "cudaMemcpyAsync to host 24",
        "cudaEventRecord 4",
    ]
    assert calls(done).count("enqueueV3") == 1 + 3 + 5


@pytest.mark.parametrize(("rows", "profile"), [(2, 1), (5, 0)])
def test_the_narrowest_optimization_profile_is_set(
    program: Path, tmp_path: Path, rows: int, profile: int
) -> None:
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", engine_file(), shapes=varying(RANGES))
    x = np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)
    done = call(program, bundle, x, ROWS="-1")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(bundle / "output0.npy"), 2 * x + 1)
    assert f"setOptimizationProfileAsync {profile}" in calls(done)
    assert f"setInputShape x {rows}x3" in calls(done)
    assert f"(optimization profile {profile})" in done.stdout


@pytest.mark.parametrize(
    ("machine", "content", "code", "problems"),
    [
        ({}, b"VTRT" + engine_file()[4:], 6, ["the file is no engine of TensorRT-RTX"]),
        ({}, engine_file()[:30], 6, ["the file is no engine of TensorRT-RTX"]),
        ({}, engine_file()[:90], 6, ["has 90 bytes, its header says 96: a part is missing"]),
        ({}, engine_file(mask=0x10), 6, ["is for compute capability 12.0, not 8.6, 8.9"]),
        ({}, engine_file(version="1.6.1.120"), 6, ["built by TensorRT-RTX 1.6.1.120, not 1.7.1.1"]),
        ({"VERSION": "1.6.1.120"}, engine_file(), 6, ["TensorRT-RTX 1.6.1.120 is installed"]),
        ({"GPUS": ""}, engine_file(), 5, ["CUDA does not start (driver version is insufficient)"]),
        (
            {"GPUS": "7.5 12.0", "VERSION": "1.8.0.5"},
            engine_file()[:90],
            6,
            [
                "has 90 bytes, its header says 96",
                "TensorRT-RTX 1.8.0.5 is installed, the engine is for 1.7.1.116",
                "GPU 0 (card 0), of compute capability 7.5 is not one that the engine is for: 8.9",
                "GPU 1 (card 1), of compute capability 12.0",
                "budget: tapeout compile 'it'\\''s a net.onnx' --device 'NAME' --precision "
                "'fp16' -o 'it'\\''s a net-NAME.bundle' (NAME is a device of compute capability "
                "7.5 or 12.0: `tapeout devices --kind gpu`)",
            ],
        ),
    ],
    ids=["magic", "header", "truncated", "mask", "builder", "runtime", "driver", "everything"],
)
def test_what_does_not_fit_is_not_loaded(
    program: Path,
    tmp_path: Path,
    machine: dict[str, str],
    content: bytes,
    code: int,
    problems: list[str],
) -> None:
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", content)
    done = call(program, bundle, X, **machine)
    assert done.returncode == code
    assert [problem for problem in problems if problem not in done.stderr] == []
    assert ("rebuild it, with the same data" in done.stderr) == (code == 6)
    assert calls(done) == []


def test_a_file_that_was_changed_is_not_loaded(program: Path, tmp_path: Path) -> None:
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", engine_file())
    changed = engine_file()[:-1] + b"x"
    (bundle / "engine.trt").write_bytes(changed)
    done = call(program, bundle, X)
    assert (done.returncode, calls(done)) == (6, [])
    for content in (changed, engine_file()):
        assert hashlib.sha256(content).hexdigest() in done.stderr


@pytest.mark.parametrize(
    ("machine", "x", "multiple", "code", "message"),
    [
        ({"FAILS": "deserializeCudaEngine"}, X, 1, 1, "engine: the engine is of another world"),
        ({"FAILS": "createExecutionContext"}, X, 1, 1, "the engine gets no execution context"),
        ({"FAILS": "cudaMallocHost"}, X, 1, 1, "cudaMallocHost: unknown error"),
        ({"FAILS": "enqueueV3"}, X, 1, 1, "the inference fails"),
        ({}, X.astype(np.float16), 1, 2, "holds {'descr': '<f2', 'fortran_order': False, 'shape"),
        ({}, X.T.copy(), 1, 2, "but the input 'x' is {'descr': '<f4', 'fortran_order': False, 's"),
        ({"ROWS": "-1"}, np.zeros((65, 3), np.float32), 1, 2, "no optimization profile holds the"),
        ({"ROWS": "-1"}, X.reshape(6), 1, 2, "no optimization profile holds the shapes given"),
        ({"ROWS": "-1"}, np.zeros((9, 3), np.float32), 2, 2, "n is 9, not a multiple of 2"),
    ],
)
def test_what_fails_is_told(
    program: Path,
    tmp_path: Path,
    machine: dict[str, str],
    x: np.ndarray,
    multiple: int,
    code: int,
    message: str,
) -> None:
    shapes = varying(RANGES, multiple) if "ROWS" in machine else None
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", engine_file(), shapes=shapes)
    done = call(program, bundle, x, **machine)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert not (bundle / "output0.npy").exists()


NAMES = ['x"; \\', "\u00e9\u4e2d\U0001f600", "\x01\t\n\b\f/", ""]


@pytest.mark.parametrize("escaped", [True, False])
def test_the_manifest_is_read_as_json_is_written(
    program: Path, tmp_path: Path, escaped: bool
) -> None:
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", engine_file())
    data = json.loads((bundle / "manifest.json").read_text())
    data["model"]["file"] = "".join(NAMES)
    data |= {"first": [[], {}, None, True, False, -1.5e-3, NAMES, dict.fromkeys(NAMES, 1)]}
    text = json.dumps(data, ensure_ascii=escaped, indent=1, sort_keys=True)
    (bundle / "manifest.json").write_text(text, encoding="utf-8")
    done = call(program, bundle, X)
    assert done.returncode == 0, done.stderr
    unfit = call(program, bundle, X, GPUS="7.5")
    assert f"tapeout compile '{''.join(NAMES)}' --device" in unfit.stderr


@pytest.mark.parametrize(
    "text",
    ["{", '{"a": }', '{"a": 1,}', "[1 2]", '{"a": "\\u12"}', '"a', "nul", "[" * 200, "{} {}"],
)
def test_what_is_no_manifest_is_told(program: Path, tmp_path: Path, text: str) -> None:
    bundle = rtx_stand_in.bundle(tmp_path / "bundle", engine_file())
    (bundle / "manifest.json").write_text(text)
    done = call(program, bundle, X)
    assert (done.returncode, calls(done)) == (1, [])
    assert "no JSON at byte" in done.stderr
