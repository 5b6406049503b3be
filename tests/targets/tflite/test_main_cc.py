"""The C++ program of a bundle, built as its README says, against TensorFlow Lite's C library.

The library is version 2.17.1, as the package pymicro-wakeword brings it, for Linux: it has NNAPI's
delegate, which finds no NNAPI and leaves all to the CPU, but not the GPU's.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
from pathlib import Path

import litert
import numpy as np
import pytest

from tapeout.lowering.importers.onnx import load
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets.base import Plan
from tapeout.targets.tflite.glue import write_glue
from tapeout.targets.tflite.lower import to_tflite

import support

HEADERS = Path(__file__).with_name("headers")

#: Names of tensors that would leave a literal, a comment or an argument.
FIRST, SECOND = 'x"; */ $(touch evil)\n', "../{label} %s \\"


def library() -> Path:
    package = importlib.util.find_spec("pymicro_wakeword")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "lib" / "libtensorflowlite_c.so"


def sources(folder: Path, delegate: str) -> Path:
    """Write a bundle's ``run/``, with library and headers where the README has them."""
    folder.mkdir()
    options = (("threads", 2), ("delegate", delegate))
    write_glue(folder, catalog.load("raspberry-pi-5"), Plan("tflite", "fp32", options), "1.5.0")
    (folder / "run" / library().name).symlink_to(library())
    (folder / "run" / "tensorflow").symlink_to(HEADERS)
    return folder / "run"


@pytest.fixture(scope="module", params=["cpu", "nnapi"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``run/`` of a bundle, with the built program ``run``."""
    folder = sources(tmp_path_factory.mktemp("cc") / "bundle", request.param)
    commands = re.findall(r"^g\+\+ .*$", (folder / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 1
    subprocess.run(["sh", "-c", f"{commands[0]} -O0 -Wall -Wextra -Werror"], cwd=folder, check=True)
    return folder


def call(run: Path, bundle: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["./run", bundle, bundle, *arguments]
    return subprocess.run(command, cwd=run, capture_output=True, text=True, check=False)


def test_a_real_model(run: Path, tmp_path: Path) -> None:
    model = load(support.MODELS / "digits_cnn.onnx")
    (tmp_path / "model.tflite").write_bytes(to_tflite(litert.PIPELINE.run(model.clone())))
    image = support.real_inputs("digits_cnn", 1).astype(np.float32)
    np.save(tmp_path / "x.npy", image)
    done = call(run, tmp_path, "--repeat", "3", tmp_path / "x.npy")
    assert done.returncode == 0, done.stderr
    assert "output0.npy: logits\n3 timed inferences, median" in done.stdout
    wanted = Reference(model).run({"image": image})["logits"]
    found = np.load(tmp_path / "output0.npy")
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def many(tmp_path: Path) -> dict[str, np.ndarray]:
    """Write a model of several inputs and outputs with evil names, and return what it is fed."""
    model = support.from_text(
        "g (int8[2,3] a, bool[4] b) => (bool[4] c, int8[2,3] d) { c = Not(b) d = Max(a, a) }"
    )
    for value, name in zip(model.graph.inputs, (FIRST, SECOND), strict=True):
        value.name = name
    (tmp_path / "model.tflite").write_bytes(to_tflite(litert.PIPELINE.run(model)))
    feeds = support.random_feeds(model)
    for index, array in enumerate(feeds.values()):
        np.save(tmp_path / f"{index}.npy", array)
    return feeds


def test_inputs_and_outputs_are_those_of_the_manifest_in_order(run: Path, tmp_path: Path) -> None:
    feeds = many(tmp_path)
    done = call(run, tmp_path, tmp_path / "0.npy", tmp_path / "1.npy")
    assert done.returncode == 0, done.stderr
    found = [np.load(tmp_path / f"output{index}.npy") for index in range(2)]
    for actual, wanted in zip(found, (~feeds[SECOND], feeds[FIRST]), strict=True):
        assert (actual.dtype, actual.shape) == (wanted.dtype, wanted.shape)
        assert actual.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        (["0.npy"], 2, "the engine has 2 input(s), given are 1 file(s)"),
        (["1.npy", "0.npy"], 2, f"the input '{FIRST}' is {{'descr': '|i1'"),
        ([], 1, "loading model.tflite failed"),
    ],
)
def test_what_is_wrong_is_told(
    run: Path, tmp_path: Path, files: list[str], code: int, message: str
) -> None:
    if files:
        many(tmp_path)
    else:
        (tmp_path / "model.tflite").write_bytes(b"TFL3TFL3TFL3")
    done = call(run, tmp_path, *(tmp_path / name for name in files))
    assert (done.returncode, message in done.stderr) == (code, True)


def test_with_the_gpu_it_is_right_to_the_compiler(tmp_path: Path) -> None:
    folder = sources(tmp_path / "bundle", "gpu")
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-Itensorflow"]
    subprocess.run(["g++", *flags, "main.cc"], cwd=folder, check=True)


@pytest.mark.parametrize("name", support.NAMES)
def test_the_runtime_s_verifier_takes_our_files(name: str) -> None:
    """It follows every offset of the file; the Python package does not ask it."""
    runtime = ctypes.CDLL(str(library()))
    runtime.TfLiteModelCreate.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    runtime.TfLiteModelCreate.restype = ctypes.c_void_p
    runtime.TfLiteModelDelete.argtypes = [ctypes.c_void_p]
    content = to_tflite(litert.PIPELINE.run(load(support.MODELS / f"{name}.onnx")))
    model = runtime.TfLiteModelCreate(content, len(content))
    assert model is not None
    runtime.TfLiteModelDelete(model)
    broken = len(content).to_bytes(4, "little") + content[4:]
    assert runtime.TfLiteModelCreate(broken, len(broken)) is None
