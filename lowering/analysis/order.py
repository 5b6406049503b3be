"""An execution order that needs less memory: found exactly where that is quick, else by search.

The graph is cut where a step has all others before or after it: what runs between two such cuts is
a problem of its own (Ahn et al., "Ordering Chaos: Memory-Aware Scheduling of Irregularly Wired
Neural Networks for Edge Devices", MLSys 2020). In each piece a state is the set of steps that have
run; the best order is the path to the full set whose largest memory is the least, found by
best-first search (Dijkstra's algorithm with max for plus). Where there are too many states a beam
search stands in. The effort is bounded by a number of states, not by a clock, so the same graph
always gets the same order.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Iterator
from typing import Final

from .memory import given, scratch_of
from .program import Program

#: States that one call makes, about: a second's work.
STATES: Final = 30_000
#: The widest beam, and the ready steps that it tries from each of its states.
_WIDEST: Final = 64
_TRIED: Final = 32


@dataclasses.dataclass(frozen=True)
class Order:
    """An order of a program's steps.

    Attributes:
        steps: indices into `Program.steps`; the given order where none is better.
        peak: bytes live at the worst step, as `memory.liveness` has it.
        given_peak: the same for the order in which the graph lists the steps.
        bound: bytes that no order can do without, as far as this search proved.
    """

    steps: tuple[int, ...]
    peak: int
    given_peak: int
    bound: int

    @property
    def optimal(self) -> bool:
        """Whether no order is better."""
        return self.peak == self.bound


def best(program: Program, states: int = STATES) -> Order:
    """Return the order with the least peak that about `states` states of search lead to.

    It takes time linear in the size of the graph plus the states that are made.
    """
    pieces = _pieces(program)
    floor = max((piece.floor for piece in pieces), default=0)
    paths = [_Path(piece.peak_of(piece.steps), piece.steps) for piece in pieces]
    worst = [(-path.peak, index) for index, path in enumerate(paths)]
    heapq.heapify(worst)
    searched: set[int] = set()
    # The worst piece alone limits the whole: once it has been searched, the rest can stay.
    while worst and worst[0][1] not in searched and -worst[0][0] > floor:
        _, index = heapq.heappop(worst)
        found = pieces[index].searched(paths[index], floor, states)
        states -= found.states
        floor = max(floor, found.path.peak) if found.exact else floor
        paths[index] = found.path
        searched.add(index)
        heapq.heappush(worst, (-found.path.peak, index))
    given_peak = max((piece.peak_of(piece.steps) for piece in pieces), default=0)
    peak = max((path.peak for path in paths), default=0)
    if peak == given_peak:
        return Order(given(program), given_peak, given_peak, floor)
    steps = tuple(itertools.chain.from_iterable(path.steps for path in paths))
    return Order(steps, peak, given_peak, floor)


@dataclasses.dataclass(frozen=True)
class _Path:
    peak: int
    steps: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Found:
    """A path through a piece, whether none has a smaller peak, and the states made for it."""

    path: _Path
    exact: bool
    states: int


@dataclasses.dataclass(frozen=True, eq=False)
class _State:
    """Steps of a piece that have run, as bits; `ready` are those that may run next."""

    peak: int
    live: int
    done: int
    ready: tuple[int, ...]
    step: int
    before: _State | None

    def path(self) -> list[int]:
        found, state = [], self
        while state.before is not None:
            found.append(state.step)
            state = state.before
        return found[::-1]


@dataclasses.dataclass(frozen=True, eq=False)
class _Piece:
    """The steps between two cuts, in local numbers from 0, and what they do to memory.

    Attributes:
        steps: their indices in the program, in the given order.
        start: bytes live before the first of them.
        floor: bytes that some step needs in any order.
        needs, followers: the steps that must run before, as bits; those that wait for it.
        made, scratch: bytes that a step writes into new memory; bytes of its own.
        dying: for each step (bits of all readers in the piece, size, can be overwritten) of
            every storage that dies in the piece and that the step reads, or writes unread.
    """

    steps: tuple[int, ...]
    start: int
    floor: int
    needs: list[int]
    followers: list[list[int]]
    made: list[int]
    scratch: list[int]
    dying: list[list[tuple[int, int, bool]]]

    def _after(self, state: _State, step: int) -> _State:
        """Return the state once a step has run."""
        done = state.done | 1 << step
        freed, reused = 0, 0
        for readers, size, overwritten in self.dying[step]:
            if not readers & ~done:
                freed += size
                if overwritten:
                    reused = self.made[step]
        during = state.live + self.made[step] - reused + self.scratch[step]
        # What has become ready comes first: a limited search then follows a branch to its end.
        ready = [other for other in self.followers[step] if not self.needs[other] & ~done]
        ready += [other for other in state.ready if other != step]
        live = state.live + self.made[step] - freed
        return _State(max(state.peak, during), live, done, tuple(ready), step, state)

    def _next(self, state: _State, most: int | None = None) -> list[_State]:
        """Return what may follow; of the ready steps only the first `most` are tried.

        A step that raises neither the peak nor what is live may as well run at once: moved to the
        front of any continuation it lowers or keeps what is live at each later step.
        """
        found = []
        for step in state.ready[:most]:
            after = self._after(state, step)
            if after.peak == state.peak and after.live <= state.live:
                return [after]
            found.append(after)
        return found

    def _first(self, peak: int) -> _State:
        ready = tuple(step for step, needs in enumerate(self.needs) if not needs)
        return _State(peak, self.start, 0, ready, -1, None)

    def _path(self, state: _State) -> _Path:
        return _Path(state.peak, tuple(self.steps[step] for step in state.path()))

    def peak_of(self, steps: tuple[int, ...]) -> int:
        """Return the largest memory of an order of the piece's steps."""
        local = {step: number for number, step in enumerate(self.steps)}
        state = self._first(0)
        for step in steps:
            state = self._after(state, local[step])
        return state.peak

    def searched(self, path: _Path, floor: int, states: int) -> _Found:
        """Search for a path better than `path`, greedily, then with a beam, then exactly.

        `floor` is what the whole program needs anyway: less than that is no gain.
        """
        floor = max(floor, self.floor)
        widest = max(1, min(_WIDEST, states // (2 * _TRIED * len(self.steps))))
        made = 0
        for width in dict.fromkeys((1, widest)):
            beam, count = self._beam(floor, width)
            made += count
            path = min(path, beam, key=lambda item: item.peak)
            if path.peak <= floor:
                return _Found(path, True, made)
        found = self._exact(path, floor, states - made)
        return dataclasses.replace(found, states=found.states + made)

    def _beam(self, floor: int, width: int) -> tuple[_Path, int]:
        states, made = [self._first(floor)], 0
        for _ in self.steps:
            following: dict[int, _State] = {}
            for after in itertools.chain.from_iterable(self._next(one, _TRIED) for one in states):
                made += 1
                known = following.get(after.done)
                if known is None or after.peak < known.peak:
                    following[after.done] = after
            states = heapq.nsmallest(
                width, following.values(), key=lambda state: (state.peak, state.live, state.done)
            )
        return self._path(states[0]), made

    def _exact(self, path: _Path, floor: int, states: int) -> _Found:
        """Search best-first, the deeper state first among equals; keep `path` if none is better."""
        first = self._first(floor)
        heap = [(first.peak, 0, first.live, 0, first)]
        least = {first.done: first.peak}
        full = (1 << len(self.steps)) - 1
        made = 0
        while heap and made < states:
            _, depth, _, _, state = heapq.heappop(heap)
            if state.done == full:
                return _Found(self._path(state), True, made)
            for after in self._next(state):
                made += 1
                if after.peak < least.get(after.done, path.peak):
                    least[after.done] = after.peak
                    heapq.heappush(heap, (after.peak, depth - 1, after.live, made, after))
        return _Found(path, not heap, made)


def _cuts(program: Program) -> list[int]:
    """Return the steps that have every other step before or after them, in any order.

    All steps before i lead to i when each of them has a follower at or before i; all steps after i
    descend from it when each of them waits for one at or after i.
    """
    count = len(program.steps)
    follower = [count] * count
    for index, step in enumerate(program.steps):
        for before in step.after:
            follower[before] = min(follower[before], index)
    waits = [max(step.after, default=-1) for step in program.steps]
    latest = list(itertools.accumulate(follower, max, initial=-1))
    earliest = list(itertools.accumulate(reversed(waits), min, initial=count))[::-1]
    return [i for i in range(count) if latest[i] <= i <= earliest[i + 1]]


def _pieces(program: Program) -> list[_Piece]:
    """Cut the program after each step of `_cuts`, and translate it into bits and sizes."""
    ends = [cut + 1 for cut in _cuts(program)]
    count = len(program.steps)
    if count and (not ends or ends[-1] != count):
        ends.append(count)
    starts = [0, *ends[:-1]]
    piece_of = [number for number, (a, b) in enumerate(zip(starts, ends, strict=True))
                for _ in range(a, b)]  # fmt: skip
    uses = _Uses(program, piece_of, len(ends))
    return [
        uses.piece(number, range(a, b))
        for number, (a, b) in enumerate(zip(starts, ends, strict=True))
    ]


class _Uses:
    """Who reads each storage, and the bytes live before each piece and all through it."""

    def __init__(self, program: Program, piece_of: list[int], pieces: int) -> None:
        self.program = program
        self.piece_of = piece_of
        self.readers: list[list[int]] = [[] for _ in program.storages]
        self.writer = [-1] * len(program.storages)
        for index, step in enumerate(program.steps):
            for storage in step.reads:
                self.readers[storage].append(index)
            for storage in step.writes:
                self.writer[storage] = index
        start, through = [0] * (pieces + 1), [0] * (pieces + 1)
        for index, item in enumerate(program.storages):
            born = -1 if item.held or self.writer[index] < 0 else piece_of[self.writer[index]]
            last = pieces if item.kept else self._dies(index)
            _add(start, born + 1, last + 1, item.size)
            _add(through, born + 1, last, item.size)
        self.start = list(itertools.accumulate(start))
        self.through = list(itertools.accumulate(through))

    def _dies(self, storage: int) -> int:
        """Return the piece in which a storage that is not kept is last used."""
        used = self.readers[storage] or [self.writer[storage]]
        return self.piece_of[used[-1]]

    def piece(self, number: int, steps: range) -> _Piece:
        program, offset = self.program, steps.start
        needs = [0] * len(steps)
        followers: list[list[int]] = [[] for _ in steps]
        made, scratch = [0] * len(steps), [0] * len(steps)
        dying: list[list[tuple[int, int, bool]]] = [[] for _ in steps]
        floor = 0
        for local, index in enumerate(steps):
            step = program.steps[index]
            for before in step.after:
                if before >= offset:
                    needs[local] |= 1 << (before - offset)
                    followers[before - offset].append(local)
            scratch[local] = scratch_of(step)
            made[local] = sum(
                program.storages[item].size
                for item in step.writes
                if not program.storages[item].held
            )
            unread = [item for item in step.writes if not self.readers[item]]
            dying[local] = list(self._dying([*step.reads, *unread], number, index, offset))
            floor = max(floor, self._alone(number, index) + scratch[local])
        return _Piece(
            tuple(steps), self.start[number], floor, needs, followers, made, scratch, dying
        )

    def _dying(
        self, storages: list[int], number: int, index: int, offset: int
    ) -> Iterator[tuple[int, int, bool]]:
        for storage in storages:
            item = self.program.storages[storage]
            if not item.kept and self._dies(storage) == number:
                here = [reader - offset for reader in self.readers[storage] if reader >= offset]
                overwritten = storage in self.program.steps[index].overwrites
                yield sum(1 << reader for reader in here), item.size, overwritten

    def _alone(self, number: int, index: int) -> int:
        """Return what must be live while a step runs, whatever ran before it."""
        step, storages = self.program.steps[index], self.program.storages
        reads = [item for item in step.reads if not self._is_through(item, number)]
        writes = [item for item in step.writes if not storages[item].held]
        touched = sum(storages[item].size for item in (*reads, *writes))
        reused = storages[step.writes[0]].size if step.overwrites else 0
        return self.through[number] + touched - reused

    def _is_through(self, storage: int, number: int) -> bool:
        item = self.program.storages[storage]
        writer = self.writer[storage]
        born = -1 if item.held or writer < 0 else self.piece_of[writer]
        return born < number and (item.kept or self._dies(storage) > number)


def _add(change: list[int], first: int, end: int, size: int) -> None:
    """Add a size to the places from `first` to `end` - 1 of a list of differences."""
    if first < end:
        change[first] += size
        if end < len(change):
            change[end] -= size
