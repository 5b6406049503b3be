"""The FPGA in a simulator: the whole design with its link, compiled by Verilator, as a port.

It needs Verilator and GCC's C++ compiler (Debian: verilator, g++).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from .link import LinkError

HERE = Path(__file__).resolve().parent

#: The C++ program around the design.
PROGRAM = HERE / "serial_port.cpp"

#: Names the folder where compiled simulators are kept; without it they live as long as the process.
CACHE = "TAPEOUT_SIMULATORS"

#: What is called -> Debian's package.
TOOLS = {"verilator": "verilator", "g++": "g++"}

#: Verilator's own C++, which every simulator is linked with: compiled once for each folder, without
#: optimizing, for little of it is called once a simulation runs.
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")

Pins = Literal["uart", "spi"]

#: Clocks of one bit of the UART in the simulator, where no line is slow; of one period of SPI.
CLOCKS: Mapping[Pins, int] = {"uart": 4, "spi": 8}

#: Clocks without a byte after which a design counts as stuck, beyond those that it should take.
PATIENCE = 1 << 20

#: All that a design needs besides the language itself. What else begins with a dollar may write
#: files or run programs; what is listed after it lets Verilog bring C++ along.
_KNOWN = frozenset({"$readmemh", "$clog2", "$signed", "$unsigned"})
_FOREIGN = re.compile(r"\$[\w`]*|`(?:include|systemc|verilator)\w*|\bimport\b|/\*")
_COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)

#: In the names of Verilator's files that hold what runs once: compiled last, without optimizing,
#: for that is where most of the time would go.
_ONCE = ("Slow", "Syms", "ConstPool")

_TAIL = 20  # lines of what a failed command printed that are shown


def missing() -> list[str]:
    """Return the tools that are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


class SimulatedPort:
    """A running simulator; see `link.Port`."""

    def __init__(
        self, sources: Path, parameters: Mapping[str, int | str], cycles: int, pins: Pins = "uart"
    ) -> None:
        """Compile the design, unless that has been done, and start it.

        Args:
            sources: the folder with the Verilog of `system` and `core`, and what their ROMs hold.
            parameters: of `system`.
            cycles: that it may be busy without sending anything.

        Raises:
            ImportError: Verilator or what it needs is not installed.
            LinkError: it does not compile.
        """
        if lacking := missing():
            packages = " ".join(TOOLS[tool] for tool in lacking)
            raise ImportError(f"{', '.join(lacking)} not found: apt-get install {packages}")
        self._scratch = tempfile.TemporaryDirectory(prefix="tapeout-simulator-")
        clocks = CLOCKS[pins]
        given = {**parameters, "UART": 1, "SPI": 1, "DIVIDER": CLOCKS["uart"]}
        folder = Path(os.environ.get(CACHE) or self._scratch.name)
        program = _compiled(sources, given, folder)
        command = [str(program), pins, str(clocks), str(cycles + PATIENCE)]
        self._process = subprocess.Popen(
            command, cwd=sources, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def write(self, data: bytes) -> None:
        """Send bytes; raises LinkError where the simulator gave up."""
        if self._process.stdin is None:
            raise ValueError("the simulator has no input")
        try:
            self._process.stdin.write(data)
        except BrokenPipeError as error:
            raise self._ended() from error

    def read(self, seconds: float) -> bytes:
        """Return the bytes that came: however long it takes, for its seconds are not ours."""
        if self._process.stdout is None:
            raise ValueError("the simulator has no output")
        data = self._process.stdout.read(1 << 16)
        if not data:
            raise self._ended()
        return data

    def close(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()
        self._scratch.cleanup()

    def _ended(self) -> LinkError:
        code = self._process.wait()
        stuck = "the design is busy, and sends nothing" if code == 3 else f"it ended with {code}"
        return LinkError("the simulator gave up", [stuck])


def _compiled(sources: Path, parameters: Mapping[str, int | str], folder: Path) -> Path:
    """Return the simulator of a design, which a folder keeps, if it is there already."""
    verilog = sorted(sources.glob("*.v"))
    program = folder / f"system-{_digest([*verilog, PROGRAM], parameters)}"
    if not program.exists():
        _require_harmless(verilog)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            runtime = folder / f"verilator-{_version()}.o"
            _compile(verilog, parameters, Path(scratch), runtime).replace(program)
    return program


def _digest(files: Sequence[Path], parameters: Mapping[str, int | str]) -> str:
    digest = hashlib.sha256(repr([_version(), sorted(parameters.items())]).encode())
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:32]


def _compile(
    verilog: Sequence[Path], parameters: Mapping[str, int | str], folder: Path, runtime: Path
) -> Path:
    """Compile a design in an empty folder, with Verilator's own C++ beside it, once compiled."""
    command = ["verilator", "--cc", "--top-module", "system", "-O3", "-Mdir", str(folder)]
    command += ["-Wno-fatal", "-Wno-WIDTH", "--x-assign", "fast", "--x-initial", "fast"]
    command += [f"-G{name}={_literal(value)}" for name, value in parameters.items()]
    # What else lies in the folder, for boards, needs modules that only synthesis knows.
    tops = [str(file) for file in verilog if file.name in ("core.v", "system.v")]
    _call([*command, "-y", str(verilog[0].parent), *tops])
    include = Path(_call(["verilator", "--getenv", "VERILATOR_ROOT"]).strip()) / "include"
    compiler = ["g++", "-std=gnu++17", "-w", f"-I{include}", f"-I{include / 'vltstd'}"]
    if not runtime.exists():
        made = _unit(folder / "runtime.cpp", [include / name for name in _RUNTIME])
        _call([*compiler, "-O0", "-c", str(made), "-o", str(folder / "runtime.o")])
        (folder / "runtime.o").replace(runtime)
    units = sorted(folder.glob("V*.cpp"))
    once = [file for file in units if any(word in file.name for word in _ONCE)]
    whole = _unit(folder / "whole.cpp", [*(file for file in units if file not in once), PROGRAM])
    _unit(whole, once, '#pragma GCC optimize("O0")\n')
    program = folder / "system"
    _call([*compiler, "-O1", f"-I{folder}", str(whole), str(runtime), "-o", str(program)])
    return program


def _version() -> str:
    """Return a digest of what the tools say of their versions."""
    said = "".join(_call([tool, "--version"]) for tool in TOOLS)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _unit(path: Path, files: Sequence[Path], before: str = "") -> Path:
    """Let a file include others: to compile all at once takes a fraction of the time."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines([before, *(f'#include "{name}"\n' for name in files)])
    return path


def _call(command: Sequence[str]) -> str:
    """Return what a command prints; raises LinkError where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-_TAIL:]
        raise LinkError(f"{command[0]} fails: the simulator does not compile", lines)
    return done.stdout


def _literal(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _require_harmless(verilog: list[Path]) -> None:
    """Raise LinkError where sources hold what designs do not: it could run programs or C++."""
    problems = [
        f"{file.name}: {word!r}"
        for file in verilog
        for word in dict.fromkeys(_FOREIGN.findall(_COMMENT.sub("", file.read_text("ascii"))))
        if word not in _KNOWN
    ]
    if problems:
        raise LinkError("the Verilog is not what tapeout writes", problems, code=6)
