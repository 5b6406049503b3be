from __future__ import annotations

import dataclasses
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.errors import ModelError, TapeoutError
from tapeout.lowering.canonical import canonical
from tapeout.lowering.passes.convert_precision import ConvertPrecision
from tapeout.profiles import catalog
from tapeout.profiles.schema import Toolchain
from tapeout.targets.tvm import build
from tapeout.targets.tvm.build import (
    ENGINE,
    MODEL,
    REQUEST,
    WEIGHTS,
    BuildPlan,
    Request,
    build_plan,
    execute_plan,
    memory_in,
    write_inputs,
)

import support

VERSIONS = {"apache-tvm": "1"}


def toolchain(device: str) -> Toolchain:
    return catalog.load(device).toolchain


def network(seed: int = 0) -> ir.Model:
    """A network whose inputs have names that differ only in what an identifier cannot hold."""
    rng = np.random.default_rng(seed)
    model = support.from_text(
        """g (float[1,4,8,8] x, float[1,8] y, float[8,4,3,3] w) => (float[1,8] z) {
            c = Conv <pads = [1, 1, 1, 1]> (x, w)
            s = Sigmoid(c)
            g = GlobalAveragePool(s)
            f = Flatten(g)
            z = Pow(f, y)
        }""",
        w=rng.standard_normal((8, 4, 3, 3)).astype(np.float32),
    )
    for value, name in zip(model.graph.inputs, ("in.put:0", "in_put:0"), strict=True):
        value.name = name
    return canonical("nhwc").run(model)


def prepared(folder: Path, device: str = "host", seed: int = 0) -> BuildPlan:
    write_inputs(network(seed), Request.of(catalog.load(device)), folder)
    return build_plan(toolchain(device), VERSIONS, folder)


def engine(folder: Path, device: str = "host") -> bytes:
    folder.mkdir(parents=True)
    execute_plan(prepared(folder, device), folder, lambda _: None)
    return (folder / ENGINE).read_bytes()


def test_a_plan_is_data_and_its_digest_says_what_is_built(tmp_path: Path) -> None:
    plan = prepared(tmp_path)
    assert list(plan.files) == [MODEL, WEIGHTS, REQUEST]
    compiling, linking = plan.commands
    assert compiling == ("python", "-P", "-m", "tapeout.targets.tvm.compiler_process")
    assert linking[:4] == ("python", "-m", "ziglang", "cc")
    assert not any(str(tmp_path) in word for command in plan.commands for word in command)
    assert not (tmp_path / ENGINE).exists()
    again = tmp_path / "again"
    again.mkdir()
    assert prepared(again).digest == plan.digest
    others = [
        prepared(tmp_path, seed=1),
        prepared(tmp_path, device="raspberry-pi-5"),
        dataclasses.replace(plan, versions={"apache-tvm": "2"}),
    ]
    assert len({plan.digest, *(other.digest for other in others)}) == 4


def test_the_same_bytes_in_any_process_and_folder_and_no_path_in_them(tmp_path: Path) -> None:
    first = engine(tmp_path / "one" / "folder")
    second = engine(tmp_path / "another")
    assert first == second
    for word in (str(tmp_path), "/tmp", "zig-cache", sys.prefix, "/work", "compiler_process"):
        assert word.encode() not in first
    names = subprocess.run(
        ["readelf", "--wide", "--sections", str(tmp_path / "another" / ENGINE)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for section in (".symtab", ".strtab", ".note.gnu.build-id", ".debug"):
        assert section not in names


#: Device -> ELF class (bits), machine, and the flags of its floating-point convention.
ARCHITECTURES = {
    "x86-64-v3": (64, 0x3E, 0),
    "raspberry-pi-5": (64, 0xB7, 0),
    "beaglebone-black": (32, 0x28, 0x400),  # EF_ARM_ABI_FLOAT_HARD
    "visionfive-2": (64, 0xF3, 0x4),  # EF_RISCV_FLOAT_ABI_DOUBLE
    "banana-pi-f3": (64, 0xF3, 0x4),
}


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


@pytest.mark.parametrize("device", ARCHITECTURES)
def test_every_architecture_is_compiled_and_linked(device: str, tmp_path: Path) -> None:
    header = engine(tmp_path / "build", device)[:64]
    bits, machine, flags = ARCHITECTURES[device]
    assert header[:4] == b"\x7fELF"
    assert header[4] == {32: 1, 64: 2}[bits]
    assert struct.unpack_from("<HH", header, 16) == (3, machine)  # ET_DYN
    (found,) = struct.unpack_from("<I", header, 0x24 if bits == 32 else 0x30)
    # The hard-float flag of ARM is only set in the objects of some linkers.
    assert found & flags == flags or device == "beaglebone-black"
    said = subprocess.run(
        ["readelf", "--wide", "--dynamic", "--version-info", str(tmp_path / "build" / ENGINE)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert set(re.findall(r"Shared library: \[(.*?)\]", said)) <= {"libc.so.6", "libm.so.6"}
    oldest = version(str(toolchain(device).glibc))
    assert all(version(found) <= oldest for found in re.findall(r"GLIBC_([0-9.]+)", said))
    assert memory_in(tmp_path / "build").inputs == (4 * 64 + 8) * 4


@pytest.mark.parametrize(
    "device", ["beaglebone-black", "raspberry-pi-3b-plus", "visionfive-2", "banana-pi-f3"]
)
def test_half_precision_asks_nothing_of_the_device(device: str, tmp_path: Path) -> None:
    """What converts numbers where the processor cannot is linked in."""
    model = ConvertPrecision()(network()).model
    write_inputs(model, Request.of(catalog.load(device)), tmp_path)
    plan = build_plan(toolchain(device), VERSIONS, tmp_path)
    execute_plan(plan, tmp_path, lambda _: None)
    listed = subprocess.run(
        ["readelf", "--wide", "--dyn-syms", str(tmp_path / ENGINE)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = (line.split() for line in listed.splitlines() if " UND " in line)
    missing = {name.partition("@")[0] for _, *_, name in (row[:8] for row in rows if row[7:])}
    converts = {name for name in missing if re.search("hf|bf|gnu_[fh]2[fh]|h2f|f2h", name)}
    assert not converts


def test_what_tvm_does_not_take_is_said_with_its_node(tmp_path: Path) -> None:
    model = support.from_text("g (float[2,2] x) => (float y) { [volume] y = Det(x) }")
    write_inputs(model, Request.of(catalog.load("host")), tmp_path)
    with pytest.raises(ModelError) as caught:
        execute_plan(build_plan(toolchain("host"), {}, tmp_path), tmp_path, lambda _: None)
    assert [problem.where for problem in caught.value.problems] == ["node 'volume' (Det)"]
    assert not (tmp_path / ENGINE).exists()


CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
FAILURE = "import sys; print('told on stdout'); sys.exit('and on stderr')"


@pytest.mark.parametrize(
    ("program", "said"),
    [(CRASH, ["crashed (SIGSEGV)"]), (FAILURE, ["exit code 1", "told on stdout", "and on stderr"])],
)
def test_a_command_that_fails_is_shown_with_what_it_printed(
    program: str, said: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = dataclasses.replace(
        prepared(tmp_path), commands=(("python", "-c", program), ("python", "-c", "pass"))
    )
    with pytest.raises(TapeoutError) as caught:
        execute_plan(plan, tmp_path, lambda _: None)
    for words in (*said, plan.digest[:12], "python -c"):
        assert words in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_steps_are_reported(tmp_path: Path) -> None:
    plan = dataclasses.replace(prepared(tmp_path), commands=(("python", "-c", "pass"),) * 2)
    lines: list[str] = []
    execute_plan(plan, tmp_path, lines.append)
    assert [line.split()[0] for line in lines] == ["compiling", "linking"]


def test_the_linkers_cache_is_where_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.cache_folder("zig") == tmp_path / "tapeout" / "zig"
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert tmp_path not in build.cache_folder("zig").parents


def test_this_process_stays_free_of_tvm_and_its_words() -> None:
    program = """
import pathlib, sys, tempfile
sys.path.insert(0, sys.argv[1])
import test_build
with tempfile.TemporaryDirectory() as folder:
    test_build.engine(pathlib.Path(folder) / "build")
assert "tvm" not in sys.modules and "tvm_ffi" not in sys.modules
"""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program, str(here)],
        env={"PYTHONPATH": str(here.parents[1]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
