"""What a command costs, all its processes together, as Linux tells it in /proc."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

#: Seconds between two looks at the memory.
_INTERVAL = 0.01

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run of a command took.

    Attributes:
        wall: seconds on the clock.
        cpu: seconds of processor time, of the user and of the system.
        peak: the most bytes that lay in memory at one time (resident sizes, summed).
    """

    wall: float
    cpu: float
    peak: int


def cost_of(command: Sequence[str], directory: Path) -> Cost:
    """Run a command and return its cost; raises CalledProcessError with what it printed."""
    output = directory / "output.log"
    with output.open("wb") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=subprocess.STDOUT)
        peak = 0
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            peak = max(peak, sum(map(_resident, _tree(process.pid))))
            time.sleep(_INTERVAL)
        wall = time.perf_counter() - start
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(
            process.returncode, command, output.read_bytes()[-2000:]
        )
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak)


def _tree(root: int) -> Iterator[int]:
    yield root
    try:
        tasks = list(Path(f"/proc/{root}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return
    for child in children:
        yield from _tree(int(child))


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):  # it has ended
        return 0
