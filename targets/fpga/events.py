"""Time without a clock: when each beat moves follows from when others did.

A module of `rtl/` either offers a beat from some clock edge on, or is ready for one from some edge
on; the beat moves at the later of the two. What an engine does depends on such edges alone, so
that a frame is a few arithmetic steps per beat, however many cycles lie between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator


class Events(list[int]):
    """The edges at which something happened, in order, and who waits for the next of them."""

    __slots__ = ("_queue", "_waiting")

    def __init__(self, queue: deque[Process]) -> None:
        self._queue = queue
        self._waiting: list[tuple[int, Process]] = []

    def add(self, edge: int) -> None:
        """Note that it happened once more."""
        self.append(edge)
        if self._waiting:
            count = len(self)
            self._queue.extend(process for index, process in self._waiting if index < count)
            self._waiting = [item for item in self._waiting if item[0] >= count]

    def wake(self, index: int, process: Process) -> None:
        """Go on with a process once it has happened `index` + 1 times."""
        if index < len(self):
            self._queue.append(process)
        else:
            self._waiting.append((index, process))


#: Part of a module: it yields the event that it cannot go on without, and which of them.
Process = Generator[tuple[Events, int], None, None]


class Wire:
    """A stream: `offers` are the edges from which on its beats are there, `moves` when they move."""

    __slots__ = ("_readies", "moves", "offers", "queue")

    def __init__(self, queue: deque[Process]) -> None:
        self.queue = queue
        self.offers = Events(queue)
        self.moves = Events(queue)
        self._readies: deque[int] = deque()

    def offer(self, edge: int) -> None:
        """Give the next beat from this edge on."""
        self.offers.add(edge)
        if self._readies:
            self._move()

    def ready(self, edge: int) -> None:
        """Take the next beat from this edge on."""
        self._readies.append(edge)
        if len(self.offers) > len(self.moves):
            self._move()

    def _move(self) -> None:
        moves = self.moves
        edge = max(self.offers[len(moves)], self._readies.popleft())
        moves.add(max(edge, moves[-1] + 1) if moves else edge)


def run(queue: deque[Process]) -> None:
    """Go on with every process of the queue until none can."""
    while queue:
        process = queue.popleft()
        waited = next(process, None)
        if waited is not None:
            waited[0].wake(waited[1], process)
