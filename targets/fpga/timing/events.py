"""Time without a clock: when each beat moves follows from when others did.

A module of `rtl/` either offers a beat from some clock edge on, or is ready for one from some edge
on; the beat moves at the later of the two. What an engine does depends on such edges alone, so
that a frame is a few arithmetic steps per beat, however many cycles lie between them.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections import deque
from collections.abc import Generator, Iterator

#: The index of an event that no process waits for.
NEVER = sys.maxsize


class Events(list[int]):
    """The edges at which something happened, in order, and who waits for the next of them."""

    __slots__ = ("_queue", "_waiting", "awaited")

    def __init__(self, queue: deque[Process]) -> None:
        self.awaited = NEVER  # the least index that a process waits for
        self._queue = queue
        self._waiting: list[tuple[int, Process]] = []

    def add(self, edge: int) -> None:
        """Note that it happened once more."""
        self.append(edge)
        if len(self) > self.awaited:
            self.notify()

    def notify(self) -> None:
        """Go on with the processes whose event has happened."""
        waiting, self._waiting, self.awaited = self._waiting, [], NEVER
        for index, process in waiting:
            self.wake(index, process)

    def wake(self, index: int, process: Process) -> None:
        """Go on with a process once it has happened `index` + 1 times."""
        if index < len(self):
            self._queue.append(process)
        else:
            self._waiting.append((index, process))
            if index < self.awaited:
                self.awaited = index


#: Part of a module: it yields the event that it cannot go on without, and which of them.
Process = Generator[tuple[Events, int], None, None]


class Wire:
    """A stream: `moves` are the edges at which its beats move."""

    __slots__ = ("_last", "_offers", "_readies", "moves", "queue")

    def __init__(self, queue: deque[Process]) -> None:
        self.queue = queue
        self.moves = Events(queue)
        self._last = -1
        self._offers: deque[int] = deque()
        self._readies: deque[int] = deque()

    def offer(self, edge: int) -> None:
        """Give the next beat from this edge on."""
        if self._readies:
            self._move(edge, self._readies.popleft())
        else:
            self._offers.append(edge)

    def ready(self, edge: int) -> None:
        """Take the next beat from this edge on."""
        if self._offers:
            self._move(edge, self._offers.popleft())
        else:
            self._readies.append(edge)

    def _move(self, offer: int, ready: int) -> None:
        """Move at the later edge, and one beat at an edge. Most of a trace's time is spent here."""
        edge = self._last + 1
        if offer > edge:
            edge = offer
        if ready > edge:
            edge = ready
        self._last = edge
        moves = self.moves
        moves.append(edge)
        if len(moves) > moves.awaited:
            moves.notify()


def run(queue: deque[Process]) -> None:
    """Go on with every process of the queue until none can; none ever ends."""
    with _uncollected():
        while queue:
            process = queue.popleft()
            events, index = next(process)
            events.wake(index, process)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector off what is all alive: looking for cycles took a fifth of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
