"""The cycles of a design, exactly, without a simulation."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Mapping

import numpy as np

from ..hardware.design import Design
from .events import Process, Wire, run
from .rules import RULES

#: Frames after which each is as much later than the one before as all that follow.
FRAMES = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """When every beat moved, in clock edges, if the input is never late and the output never full.

    Attributes:
        moves: stream -> the edge of each of its beats, over all frames that could be completed.
        frames: how many were sent.
    """

    design: Design
    moves: Mapping[str, list[int]]
    frames: int

    @property
    def is_complete(self) -> bool:
        """Whether all frames came out: otherwise, the design stalls for ever."""
        output = self.design.output
        return len(self.moves[output]) == self.frames * self.design.streams[output].beats

    def latency(self) -> int:
        """Return the cycles from the first beat in to the last out, both included, of one frame."""
        first = self.moves[self.design.input][0]
        last = self.design.streams[self.design.output].beats - 1
        return self.moves[self.design.output][last] - first + 1

    def interval(self) -> int:
        """Return the cycles from one frame's last beat out to the next's, once all is full."""
        beats = self.design.streams[self.design.output].beats
        moves = self.moves[self.design.output]
        return moves[-1] - moves[-1 - beats]

    def occupancy(self, fifo: str) -> int:
        """Return the most beats that were at one time in a FIFO."""
        entered, left = self._through(fifo)
        # Beats that have come up to each arrival, less those that were gone before it.
        inside = np.arange(1, len(entered) + 1) - np.searchsorted(left, entered)
        return int(inside.max(initial=0))

    def waits(self, fifo: str) -> bool:
        """Whether any beat was longer in a FIFO than the way through it takes."""
        entered, left = self._through(fifo)
        spent = left - entered[: len(left)]
        return len(spent) < len(entered) or bool((spent > spent.min()).any())

    def _through(self, fifo: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the edges at which beats came into a FIFO and left it."""
        (stage,) = (item for item in self.design.stages if item.name == fifo)
        (source,), (sink,) = stage.inputs, stage.outputs
        return np.array(self.moves[source]), np.array(self.moves[sink])


def trace(design: Design, frames: int = FRAMES, pace: int = 0) -> Trace:
    """Let so many frames through a design; the last few answers are kept.

    Args:
        pace: the cycles from one frame's first beat to the next's, its beats evenly spread; 0
            offers every beat at once.
    """
    return _traced(design, frames, pace)


@functools.lru_cache(maxsize=2)
def _traced(design: Design, frames: int, pace: int) -> Trace:
    queue: deque[Process] = deque()
    wires = {name: Wire(queue) for name in design.streams}
    for stage in design.stages:
        inputs = [wires[name] for name in stage.inputs]
        outputs = [wires[name] for name in stage.outputs]
        queue.extend(RULES[stage.module](stage, inputs, outputs))
    beats = design.streams[design.input].beats
    for beat in range(frames * beats):
        wires[design.input].offer(beat * pace // beats)
    for _ in range(frames * design.streams[design.output].beats):
        wires[design.output].ready(0)
    run(queue)
    return Trace(design, {name: wire.moves for name, wire in wires.items()}, frames)
