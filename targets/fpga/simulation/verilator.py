"""Simulating Verilog: any module whose ports are streams, driven by a program made with Verilator.

A stream of the top module is three ports, ``NAME_valid``, ``NAME_ready`` and ``NAME_data``; beside
them are ``clk`` and ``rst``. Sources and sinks are in C++ (``harness.cpp``), where they stall at
random or never, and watch that the streams keep to their rules:

- what is valid stays, with the same data, until it is taken;
- valid, ready and data of the module follow from registers alone, not from what the other side
  does in the same cycle (a module may be allowed to break this).

A run starts with a reset of four cycles; cycle 0 is the first one after it and the lead. Where it
stalls, a piece of a run and its reset come before: nothing may be left over from a frame cut short.
What Verilog leaves undefined at the start is random, and differs from seed to seed.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from ....errors import MissingToolError, Problem
from ...tool import call, failed, must

HERE: Final = Path(__file__).resolve().parent

_TOOLS: Final = {"verilator": "verilator", "g++": "g++"}  # what is called -> Debian's package
_LIBRARY: Final = ("verilated.cpp", "verilated_threads.cpp")
_STUCK: Final = 3  # the program's exit codes
_BROKEN: Final = 4
_TIMEOUT: Final = 1800.0  # seconds, of one command


@dataclasses.dataclass(frozen=True)
class Port:
    """A stream of the top module.

    Attributes:
        name: what its three ports' names begin with.
        lanes: elements side by side, the first in the lowest bits.
        bits: of one element, two's complement; at most 64.
        is_input: into the module.
        group: streams of one number stop together: a run goes on until each group is done or stuck.
        is_registered: whether it must follow from registers alone.
    """

    name: str
    lanes: int
    bits: int
    is_input: bool
    group: int = 0
    is_registered: bool = True

    @property
    def bytes(self) -> int:
        """Bytes of one beat in the files, padded with zeros."""
        return -(-self.lanes * self.bits // 8)


@dataclasses.dataclass(frozen=True)
class Stalls:
    """How sources and sinks behave: without a seed they never stall.

    Attributes:
        seed: positive; each port's rate of stalling changes at random between none and 15 of 16.
    """

    seed: int = 0


#: Every source always has the next beat, every sink is always ready.
UNSTALLED: Final = Stalls()


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """What went over one stream.

    Attributes:
        beats: uint8 [beats, bytes].
        cycles: int64 [beats], when each was taken.
    """

    beats: np.ndarray
    cycles: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One simulation.

    Attributes:
        traces: by the ports' names.
        stuck: the groups in which nothing moved any more before all was done.
        findings: broken rules of streams, and beats beyond those expected; in words.
    """

    traces: Mapping[str, Trace]
    stuck: tuple[int, ...]
    findings: tuple[str, ...]


def pack(values: np.ndarray, bits: int) -> np.ndarray:
    """Return beats as bytes, uint8 [beats, bytes], of integers [beats, lanes] of `bits` each."""
    if bits == 8:
        return np.ascontiguousarray(values.astype(np.int8)).view(np.uint8)
    words = np.ascontiguousarray(values.astype("<i8")).view(np.uint8)
    planes = np.unpackbits(words.reshape(*values.shape, 8), axis=-1, bitorder="little")
    return np.packbits(planes[..., :bits].reshape(len(values), -1), axis=-1, bitorder="little")


def unpack(beats: np.ndarray, lanes: int, bits: int) -> np.ndarray:
    """Return the signed integers, int64 [beats, lanes], that `pack` made bytes of."""
    planes = np.unpackbits(beats, axis=-1, bitorder="little")[:, : lanes * bits]
    planes = planes.reshape(len(beats), lanes, bits)
    sign = np.repeat(planes[..., -1:], 64 - bits, axis=-1)
    words = np.packbits(np.concatenate([planes, sign], axis=-1), axis=-1, bitorder="little")
    return np.ascontiguousarray(words).view("<i8")[..., 0]


@dataclasses.dataclass(frozen=True)
class Simulator:
    """A program that simulates a top module; its folder holds what the memories read.

    Attributes:
        program: the executable, in the folder with the files that `$readmemh` names.
        ports: in the program's order.
    """

    program: Path
    ports: tuple[Port, ...]

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, int],
        *,
        stalls: Stalls = UNSTALLED,
        patience: int = 20_000,
        timeout: float = 600.0,
    ) -> Run:
        """Simulate until each group of ports has taken its inputs and given its outputs.

        Args:
            inputs: by port, beats as `pack` makes them.
            outputs: by port, how many beats to wait for; it is then watched for more.
            patience: cycles without any transfer in a group after which it counts as stuck.
            timeout: seconds after which the program counts as hung.

        Raises:
            TapeoutError: the program crashed or did not finish.
        """
        with tempfile.TemporaryDirectory(prefix="tapeout-simulate-") as scratch:
            folder = Path(scratch)
            for index, port in enumerate(self.ports):
                if port.is_input:
                    (folder / f"{index}.in").write_bytes(inputs[port.name].tobytes())
            counts = [
                len(inputs[port.name]) if port.is_input else outputs[port.name]
                for port in self.ports
            ]
            command = [str(self.program), scratch, str(stalls.seed), str(patience)]
            done = call(
                "the simulation", [*command, *map(str, counts)], self.program.parent, timeout
            )
            if done.returncode not in (0, _STUCK, _BROKEN):
                raise failed("the simulation", done)
            traces = {
                port.name: _read(folder, index, port) for index, port in enumerate(self.ports)
            }
        lines = done.stdout.splitlines()
        stuck = tuple(int(line.split()[1]) for line in lines if line.startswith("stuck "))
        said = tuple(line.split(" ", 1)[1] for line in lines if line.startswith("broken "))
        return Run(traces, stuck, said)


def _read(folder: Path, index: int, port: Port) -> Trace:
    cycles = np.fromfile(folder / f"{index}.cycles", "<i8")
    if port.is_input:
        return Trace(np.zeros((len(cycles), 0), np.uint8), cycles)
    return Trace(np.fromfile(folder / f"{index}.out", np.uint8).reshape(-1, port.bytes), cycles)


def build(
    top: str,
    ports: Sequence[Port],
    sources: Mapping[str, str],
    folder: Path,
    *,
    library: Path | None = None,
    lead: int = 0,
) -> Simulator:
    """Compile a top module to a program.

    Args:
        top: the name of the module, which one of the sources defines.
        sources: file name -> text: Verilog (``.v``), and what `$readmemh` reads.
        folder: an empty one, where all of it stays as long as the simulator is used.
        library: where modules that the sources do not define are looked for.
        lead: cycles after a reset before beats may move; cycle 0 is the first one after them.

    Raises:
        MissingToolError: Verilator or the C++ compiler is not installed.
        TapeoutError: Verilator does not take the sources; shows what it said.
    """
    require()
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="ascii")
    verilog = sorted(name for name in sources if name.endswith(".v"))
    command = ["verilator", "--cc", "--top-module", top, "--prefix", "Vtop", "-Mdir", "model"]
    # Widths: what is wider than its place is cut, as Verilog says and the tests of each module see.
    command += ["-O3", "--x-assign", "unique", "--x-initial", "unique", "-Wno-WIDTH"]
    command += ["-y", str(library)] if library else []
    must("verilator", [*command, *verilog], folder, _TIMEOUT)
    (folder / "ports.h").write_text(_port_table(ports, lead), encoding="ascii")
    (folder / "all.cpp").write_text(_one_unit(folder), encoding="utf-8")
    compiler = [*_compiler(_include()), "-O1", "-I.", "-Imodel", "all.cpp"]
    must("g++", [*compiler, str(_runtime()), "-o", "simulation"], folder, _TIMEOUT)
    return Simulator(folder / "simulation", tuple(ports))


def _one_unit(folder: Path) -> str:
    """Return the C++ of the whole program: what runs once comes last, and is not optimized."""
    units = sorted(path.name for path in (folder / "model").glob("*.cpp"))
    slow = [name for name in units if any(word in name for word in ("Slow", "Syms", "ConstPool"))]
    fast = [f'"model/{name}"' for name in units if name not in slow]
    parts = [f"#include {name}\n" for name in (*fast, f'"{HERE / "harness.cpp"}"')]
    parts += ['#pragma GCC optimize("O0")\n', *(f'#include "model/{name}"\n' for name in slow)]
    return "".join(parts)


def require() -> None:
    """Raise MissingToolError unless Verilator and a C++ compiler are installed."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise MissingToolError(
            "the simulator of the hardware is not installed",
            [Problem(tool, "not found", f"apt-get install {_TOOLS[tool]}") for tool in missing],
        )


@functools.cache
def version() -> str:
    """Return what Verilator says of its version; raises MissingToolError if there is none."""
    require()
    return must("verilator", ["verilator", "--version"], HERE, _TIMEOUT).strip()


def _port_table(ports: Sequence[Port], lead: int) -> str:
    """Return the C++ header that says where the model's ports are, and when they may be used."""
    lines = [
        f'    {{"{port.name}", {str(port.is_input).lower()}, {port.group}, '
        f"{str(port.is_registered).lower()}, {port.bytes}, &top.{port.name}_valid, "
        f"&top.{port.name}_ready, reinterpret_cast<unsigned char*>(&top.{port.name}_data)}},\n"
        for port in ports
    ]
    return (
        f"constexpr int kLead = {lead};  // cycles\n"
        f"static std::vector<Port> ports_of(Vtop& top) {{\n  return {{\n{''.join(lines)}  }};\n}}\n"
    )


def _compiler(include: Path) -> list[str]:
    return ["g++", "-std=gnu++17", "-w", f"-I{include}", f"-I{include / 'vltstd'}"]


@functools.cache
def _include() -> Path:
    root = must("verilator", ["verilator", "--getenv", "VERILATOR_ROOT"], HERE, _TIMEOUT).strip()
    return Path(root) / "include"


@functools.cache
def _runtime() -> Path:
    """Return Verilator's runtime library, compiled once for this user and version.

    It takes as long as a whole small design does.
    """
    compiler = must("g++", ["g++", "--version"], HERE, _TIMEOUT)
    digest = hashlib.sha256(f"{version()}\n{compiler}".encode()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    library = base / "tapeout" / "verilator" / digest / "verilated.o"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        include = _include()
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            made = Path(scratch) / "verilated.o"
            source = made.with_suffix(".cpp")
            source.write_text("".join(f"#include <{name}>\n" for name in _LIBRARY), "ascii")
            command = [*_compiler(include), "-O2", "-c", str(source), "-o", str(made)]
            must("g++", command, HERE, _TIMEOUT)
            made.replace(library)
    return library
