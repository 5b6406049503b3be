"""The C++ program of a bundle, built with the command of its README."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engines import Made

from tapeout.targets.tvm.execute import execute

pytestmark = pytest.mark.slow  # a C++ compiler reads all of the runtime's headers


@pytest.fixture(scope="module")
def bundle(host_bundle: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundle with the built program ``run/run``."""
    directory = tmp_path_factory.mktemp("cc") / "bundle"
    shutil.copytree(host_bundle.directory, directory)
    compiler = importlib.util.find_spec("tvm")
    assert compiler is not None
    assert compiler.origin is not None
    runtime = Path(compiler.origin).parent / "lib" / "libtvm_runtime.so"
    (directory / "run" / "libtvm_runtime.so").symlink_to(runtime)
    readme = (directory / "run" / "README.md").read_text()
    command = re.findall(r"^g\+\+ .*tvm-ffi-config.*$", readme, re.MULTILINE)
    assert len(command) == 1
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-c", command[0]],
        cwd=directory / "run",
        env={**os.environ, "PATH": path},
        check=True,
    )
    return directory


def run(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["./run", "..", *arguments]
    return subprocess.run(command, cwd=bundle / "run", capture_output=True, text=True, check=False)


def test_its_outputs_are_those_of_python_bit_for_bit(
    bundle: Path, host_bundle: Made, tmp_path: Path
) -> None:
    feeds = host_bundle.feeds(seed=3)
    for name, feed in feeds.items():
        np.save(tmp_path / f"{name}.npy", feed)
    files = [str(tmp_path / f"{name}.npy") for name in feeds]
    done = run(bundle, str(tmp_path), "--repeat", "3", *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 timed inferences" in done.stdout
    expected = execute(host_bundle.directory, host_bundle.profile, feeds).outputs
    for index, (name, wanted) in enumerate(expected.items()):
        assert f"output{index}.npy: {name}" in done.stdout
        actual = np.load(tmp_path / f"output{index}.npy")
        assert (actual.dtype, actual.shape) == (wanted.dtype, wanted.shape)
        assert actual.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["image.npy"], "the engine has 2 input(s), given are 1 file(s)"),
        (["file.npy", "image.npy"], "but the input 'image' is {'descr': '<f4'"),
        (["doubles.npy", "file.npy"], "holds {'descr': '<f8'"),
        (["cut.npy", "file.npy"], "cut.npy"),
        (["noise.npy", "file.npy"], "noise.npy: is not an .npy file"),
        (["nothing.npy", "file.npy"], "nothing.npy: cannot be read"),
    ],
)
def test_a_wrong_input_exits_2(
    bundle: Path, host_bundle: Made, tmp_path: Path, files: list[str], message: str
) -> None:
    feeds = host_bundle.feeds()
    for name, feed in feeds.items():
        np.save(tmp_path / f"{name}.npy", feed)
    np.save(tmp_path / "doubles.npy", feeds["image"].astype(np.float64))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "image.npy").read_bytes()[:200])
    (tmp_path / "noise.npy").write_bytes(bytes(range(256)))
    done = run(bundle, str(tmp_path), *(str(tmp_path / name) for name in files))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "output0.npy").exists()


def test_without_arguments_it_tells_its_usage(bundle: Path) -> None:
    done = run(bundle)
    assert done.returncode == 2
    assert "usage: ./run BUNDLE OUTPUT_DIR" in done.stderr


def test_a_broken_bundle_exits_1(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"engine": "engine.so"}')
    done = subprocess.run(
        [str(bundle / "run" / "run"), str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr != ""
