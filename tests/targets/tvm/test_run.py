"""The bundle's own program, as a person starts it on the device."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engines import Made

from tapeout.targets.run import write_npz
from tapeout.targets.tvm.glue import RUN


@pytest.fixture
def bundle(host_bundle: Made, tmp_path: Path) -> Path:
    """A copy of the bundle, with one input file beside it."""
    write_npz(tmp_path / "x.npz", host_bundle.feeds(pieces=2))
    return Path(shutil.copytree(host_bundle.directory, tmp_path / "bundle"))


def run(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(bundle / "run" / "run.py"), *arguments]
    return subprocess.run(command, cwd=bundle.parent, capture_output=True, text=True, check=False)


def test_it_runs_the_bundle_it_lies_in(bundle: Path, host_bundle: Made) -> None:
    arguments = ["--input", "x.npz", "-o", "y.npz", "--repeat", "5", "--stats", "stats.json"]
    done = run(bundle, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    stats = json.loads((bundle.parent / "stats.json").read_text())
    assert len(stats["latencies"]) == 5
    assert stats["peak_memory"] > 10 << 20
    expected = host_bundle.expected(
        {name: feed[2:] for name, feed in host_bundle.feeds(pieces=2).items()}
    )
    with np.load(bundle.parent / "y.npz") as outputs:
        np.testing.assert_allclose(outputs["scores"][2:], expected["scores"], rtol=1e-4)
        np.testing.assert_allclose(outputs["total"][1], expected["total"], rtol=1e-4)


def test_the_same_run_writes_the_same_bytes(bundle: Path) -> None:
    for name in ("first.npz", "second.npz"):
        assert run(bundle, "-i", "x.npz", "-o", name).returncode == 0
    first, second = (bundle.parent / name for name in ("first.npz", "second.npz"))
    assert first.read_bytes() == second.read_bytes()


def test_it_does_not_import_the_compiler_or_torch(bundle: Path) -> None:
    for name in ("tvm", "torch"):
        (bundle / "run" / f"{name}.py").write_text(f"raise SystemExit('imported {name}')")
    done = run(bundle, "-i", "x.npz", "-o", "y.npz")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-i", "nothing.npz", "-o", "y.npz"], "nothing.npz: No such file"),
        (["-i", "pickled.npz", "-o", "y.npz"], "pickled.npz is not an .npz file of arrays"),
        (["-i", "noise.npz", "-o", "y.npz"], "noise.npz is not an .npz file of arrays"),
        (["-i", "cut.npz", "-o", "y.npz"], "cut.npz is not an .npz file of arrays"),
        (["-i", "uneven.npz", "-o", "y.npz"], "2 of 'image', 1 of 'file'"),
        (["-i", "x.npz", "-o", "no/y.npz"], "No such file or directory"),
        (["-i", "x.npz", "-o", "y.npz", "--repeat", "-1"], "--repeat"),
        (["-i", "x.npz"], "-o/--output"),
    ],
)
def test_a_wrong_command_line_or_input_exits_2(
    bundle: Path, host_bundle: Made, arguments: list[str], message: str
) -> None:
    here, feeds = bundle.parent, host_bundle.feeds(pieces=2)
    np.savez(here / "pickled.npz", image=np.array([{}]), allow_pickle=True)
    (here / "noise.npz").write_bytes(bytes(range(256)))
    (here / "cut.npz").write_bytes((here / "x.npz").read_bytes()[:1000])
    write_npz(here / "uneven.npz", {**feeds, "file": feeds["file"][:2]})
    done = run(bundle, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (here / "y.npz").exists()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("", "is not the manifest of a bundle"),
        ('{"engine": "../engine.so", "inputs": [], "outputs": []}', "'../engine.so' is not"),
        ('{"engine": "engine.so", "inputs": {}}', "is not the manifest of a bundle"),
        ('{"engine": "other.so", "inputs": [], "outputs": []}', "other.so does not load"),
    ],
)
def test_a_broken_bundle_exits_1(bundle: Path, manifest: str, message: str) -> None:
    (bundle / "manifest.json").write_text(manifest)
    write_npz(bundle.parent / "x.npz", {})
    done = run(bundle, "-i", "x.npz", "-o", "y.npz")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_runtime_it_exits_5_and_names_the_readme(bundle: Path) -> None:
    (bundle / "run" / "tvm_ffi.py").write_text("raise ImportError('no tvm_ffi here')")
    done = run(bundle, "-i", "x.npz", "-o", "y.npz")
    assert done.returncode == 5
    assert "no tvm_ffi here" in done.stderr
    assert "run/README.md" in done.stderr


def test_the_readme_names_the_versions_that_are_tested() -> None:
    text = (RUN / "README.md").read_text()
    named = set(re.findall(r"\b([a-z-]+)==([0-9][0-9a-z.]*[0-9])", text))
    assert {name for name, _ in named} == {"apache-tvm", "apache-tvm-ffi", "numpy"}
    for name, version in named:
        assert importlib.metadata.version(name) == version
