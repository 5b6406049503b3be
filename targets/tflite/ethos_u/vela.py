"""Arm's compiler for Ethos-U, run in a process of its own: what it crashes on stays there.

Vela takes an int8 TFLite file and gives one in which an operator ``ethos-u`` stands for all those
in a row that the NPU runs. Its bytes do not depend on the folder or the name of the file.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NoReturn

from ....errors import ModelError, Problem, ProfileError, TapeoutError
from ....profiles.schema import EthosU
from ...process import ending
from ...tool import call

PACKAGE: Final = "ethos-u-vela"

#: Vela's own file of system configurations and memory modes.
CONFIG: Final = "Arm/vela.ini"

#: Seconds after which it counts as hung.
TIMEOUT: Final = 600.0

#: What it is to save: time, or memory.
Strategy = Literal["performance", "size"]

#: How its log says that an operator stays on the CPU: operator, name of its result, reason.
_REFUSED: Final = re.compile(
    r"^Warning \(supported operators\) operator: .*?, ofm: '(.*)'\nReason: (.+(?:\n.+)*)", re.M
)

#: How it says that it has no such configuration.
_UNKNOWN: Final = re.compile(r"(?:CliOptionError|ConfigOptionError): (.*)|error: (argument .*)")

_TAIL: Final = 5  # lines of what a failed run printed that are shown


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What Vela made of a file.

    Attributes:
        content: the optimised file.
        cycles: of the NPU and of the memories that it waits for, in one inference; estimated.
        clock: Hz of the NPU in Vela's system configuration.
        reasons: the name of a result -> why the operator that makes it stays on the CPU.
    """

    content: bytes
    cycles: int
    clock: float
    reasons: Mapping[str, str]

    @property
    def seconds(self) -> float:
        return self.cycles / self.clock


@functools.lru_cache(maxsize=4)  # a plan is checked, estimated and built: compile it once
def compiled(content: bytes, npu: EthosU, strategy: Strategy, limit: int | None) -> Compiled:
    """Return what Vela makes of the bytes of a TFLite file.

    Args:
        limit: the bytes of SRAM that it should get along with; None: those of the memory mode.

    Raises:
        ModelError: Vela does not take the file; quotes what it printed.
        ProfileError: it knows no such configuration.
        TapeoutError: it crashed or did not finish.
    """
    with tempfile.TemporaryDirectory(prefix="tapeout-vela-") as scratch:
        folder = Path(scratch)
        (folder / "model.tflite").write_bytes(content)
        log = _run(folder, _arguments(npu, strategy, limit))
        optimised = folder / "model_vela.tflite"
        if not optimised.is_file():
            raise ModelError("Vela does not take the model", _last(log))
        figures = _summary(folder / f"model_summary_{npu.system}.csv")
        return Compiled(
            optimised.read_bytes(),
            round(float(figures["cycles_total"])),
            float(figures["core_clock"]),
            {name: "; ".join(why.splitlines()) for name, why in _REFUSED.findall(log)},
        )


def _arguments(npu: EthosU, strategy: Strategy, limit: int | None) -> list[str]:
    limited = [] if limit is None else ["--arena-cache-size", str(limit)]
    return [
        *("--config", CONFIG),
        *("--accelerator-config", npu.accelerator),
        *("--system-config", npu.system),
        *("--memory-mode", npu.memory_mode),
        *("--optimise", strategy.capitalize()),
        *limited,
    ]


def _run(folder: Path, arguments: list[str]) -> str:
    """Run Vela on ``model.tflite`` of a folder; return what it printed."""
    # Isolated: no variable, no user's site, no module of the folder.
    command = [sys.executable, "-I", "-B", "-m", "ethosu.vela", "model.tflite", "--output-dir", "."]
    done = call("Vela", [*command, *arguments], folder, TIMEOUT, {"LC_ALL": "C.UTF-8"})
    if done.returncode != 0:
        _fail(done.returncode, done.stdout)
    return done.stdout


def _fail(code: int, log: str) -> NoReturn:
    if unknown := _UNKNOWN.search(log):
        said = next(filter(None, unknown.groups())).strip("'")
        raise ProfileError("Vela does not know this NPU", [Problem("ethos_u", said)])
    raise TapeoutError(f"Vela {ending(code)}", _last(log))


def _last(log: str) -> list[Problem]:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return [Problem("Vela", line) for line in lines[-_TAIL:]]


def _summary(path: Path) -> Mapping[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    return row
