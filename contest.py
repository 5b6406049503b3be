"""Which of several engines is the fastest on this machine: those that are close run in turn.

One run of a small network takes microseconds, and what else the machine does changes from one
second to the next: the engines that might be the fastest are timed for as long as that takes to
show, one after the other, several times over, each by its best turn.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

from .attempt import Attempt, Compiled
from .budget import Figure

#: Engines that took so many times the fastest one's time at first may be as fast.
_CLOSE: Final = 1.5

_TURNS: Final = 3

#: Seconds of a turn, and how many runs it has at least and at most.
_SECONDS: Final = 0.1
_LEAST, _MOST = 10, 10_000


def fastest(found: Sequence[tuple[Attempt, Compiled]]) -> Compiled:
    """Return what is the fastest of some engines that are built, and were measured once."""
    at_first = [_latency(compiled) for _, compiled in found]
    close = [
        item
        for item, seconds in zip(found, at_first, strict=True)
        if seconds <= _CLOSE * min(at_first)
    ]
    if len(close) == 1 or math.isinf(min(at_first)):
        return close[0][1]
    return min(_timed(close), key=_latency)


def _latency(compiled: Compiled) -> float:
    """Return the seconds of an inference; infinity where nothing is known of it."""
    return compiled.usage.latency.value if compiled.usage.latency else math.inf


def _timed(found: Sequence[tuple[Attempt, Compiled]]) -> list[Compiled]:
    """Return the engines with what an inference took in their best turn."""
    runs = [min(max(int(_SECONDS / _latency(compiled)), _LEAST), _MOST) for _, compiled in found]
    turns = [
        [attempt.seconds(count) for (attempt, _), count in zip(found, runs, strict=True)]
        for _ in range(_TURNS)
    ]
    timed = []
    for (_, compiled), count, seconds in zip(found, runs, zip(*turns, strict=True), strict=True):
        note = f"median of {count} runs on this machine, the best of {_TURNS} turns"
        latency = Figure(min(seconds), "s", "measured", note)
        usage = dataclasses.replace(compiled.usage, latency=latency)
        timed.append(dataclasses.replace(compiled, usage=usage))
    return timed
