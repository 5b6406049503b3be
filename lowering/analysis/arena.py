"""A static memory plan: one offset for each buffer, in an arena that is as small as can be found.

Greedy plans place the buffers one after the other, the largest first or by other rules, each into
the smallest gap that fits among the buffers that live at the same time (Pisarchyk and Lee,
"Efficient Memory Management for Deep Neural Net Inference", 2020: greedy by size, by breadth). The
best of them is then improved by hill climbing on the order of placement, as the allocator of Arm's
Ethos-U compiler Vela does it: two buffers that keep the top of the arena up swap their turns. The
search has a fixed seed and a fixed amount of work, so the same buffers always get the same plan.
"""

from __future__ import annotations

import bisect
import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from ...errors import TapeoutError

#: Comparisons of two buffers that one plan takes, about: a second's work.
WORK: Final = 2_000_000
#: Turns without a smaller arena after which it gives up.
_PATIENCE: Final = 1_000
_SEED: Final = 1

Fit = Callable[[int, list[tuple[int, int]]], int]


class Interval(Protocol):
    """What needs memory: so many bytes from one step to another, both included."""

    @property
    def size(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Arena:
    """A plan of one block of memory.

    Attributes:
        offsets: in bytes, one for each buffer, in their order; multiples of `alignment`.
        size: bytes of the block; a multiple of `alignment`.
        bound: the most that is live at once, each buffer rounded up to `alignment`: no plan of
            any kind can be smaller.
        alignment: in bytes.
        method: what found it: a rule of placement, or ``hill climbing``.
    """

    offsets: tuple[int, ...]
    size: int
    bound: int
    alignment: int
    method: str

    @property
    def gap(self) -> float:
        """The distance to the lower bound, as a fraction of it; 0 is optimal."""
        return self.size / self.bound - 1 if self.bound else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "bound": self.bound,
            "gap": self.gap,
            "alignment": self.alignment,
            "method": self.method,
            "offsets": list(self.offsets),
        }


def plan(buffers: Sequence[Interval], alignment: int = 1, work: int = WORK) -> Arena:
    """Return the smallest plan found with about `work` comparisons, at least one greedy plan.

    Raises:
        TapeoutError: the plan that was found is wrong: a defect in this module.
    """
    search = _Search(buffers, alignment)
    arena = search.run(work)
    if clashes := _clashes(buffers, arena.offsets, search.all_neighbours):
        a, b = clashes[0]
        raise TapeoutError(f"the memory plan puts buffers {a} and {b} into one place")
    return arena


def lower_bound(buffers: Sequence[Interval], alignment: int = 1) -> int:
    """Return the most bytes live at once, each buffer rounded up to the alignment."""
    changes = sorted(
        change
        for item in buffers
        for size in [_rounded(item.size, alignment)]
        for change in ((item.first, size), (item.last + 1, -size))
    )
    live = most = 0
    for _, change in changes:  # at one step the negative changes come first
        live += change
        most = max(most, live)
    return most


def overlaps(buffers: Sequence[Interval], offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs of buffers that share a byte while both are live: none in a good plan."""
    return _clashes(buffers, offsets, _neighbours(buffers))


def _clashes(
    buffers: Sequence[Interval], offsets: Sequence[int], neighbours: list[list[int]]
) -> list[tuple[int, int]]:
    return [
        (other, index)
        for index, others in enumerate(neighbours)
        for other in others
        if other < index
        and offsets[index] < offsets[other] + buffers[other].size
        and offsets[other] < offsets[index] + buffers[index].size
    ]


def _rounded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _neighbours(buffers: Sequence[Interval]) -> list[list[int]]:
    """Return for each buffer the others that live at the same time; those of no size have none."""
    found: list[list[int]] = [[] for _ in buffers]
    active: list[int] = []
    for index in sorted(range(len(buffers)), key=lambda index: buffers[index].first):
        if not buffers[index].size:
            continue
        active = [other for other in active if buffers[other].last >= buffers[index].first]
        for other in active:
            found[other].append(index)
        found[index].extend(active)
        active.append(index)
    return found


def _lowest(size: int, taken: list[tuple[int, int]]) -> int:
    """Return the lowest offset that fits between the places taken, which are sorted."""
    end = 0
    for start, stop in taken:
        if start - end >= size:
            return end
        end = max(end, stop)
    return end


def _tightest(size: int, taken: list[tuple[int, int]]) -> int:
    """Return the offset of the smallest gap that fits, the lowest of equals; else the top."""
    end, best, least = 0, -1, -1
    for start, stop in taken:
        gap = start - end
        if gap >= size and (least < 0 or gap < least):
            best, least = end, gap
        end = max(end, stop)
    return end if best < 0 else best


class _Search:
    """Buffers with their neighbours; sizes are rounded up, so that all offsets are aligned.

    What lives all the time goes to the bottom, where it is in nobody's way; only the others are
    searched over.
    """

    def __init__(self, buffers: Sequence[Interval], alignment: int) -> None:
        self.buffers = buffers
        self.alignment = alignment
        self.size = [_rounded(item.size, alignment) for item in buffers]
        self.bound = lower_bound(buffers, alignment)
        begin = min((item.first for item in buffers), default=0)
        end = max((item.last for item in buffers), default=0)
        always = {
            index
            for index, item in enumerate(buffers)
            if item.first == begin and item.last == end and item.size
        }
        self.always = sorted(always)
        self.base = sum(self.size[index] for index in self.always)
        self.free = [
            index for index, item in enumerate(buffers) if item.size and index not in always
        ]
        self.all_neighbours = _neighbours(buffers)
        self.neighbours = [
            [other for other in others if other not in always] for others in self.all_neighbours
        ]

    def run(self, work: int) -> Arena:
        """Return the best of the greedy plans, climbed up from where it can be better."""
        target = self.bound - self.base
        each = len(self.free) + sum(len(self.neighbours[index]) for index in self.free)
        method, best, order = "largest first", -1, self.free
        offsets: list[int] = []
        left = work
        for name, placed in self._greedy(target):
            settled = sorted(self.free, key=lambda index: (placed[index], index))
            placed, size = self._placed(settled, _lowest)  # everything sinks as far as it can
            if best < 0 or size < best:
                method, best, order, offsets = name, size, settled, placed
            left -= 2 * each
            if best == target or left < work // 2:
                break
        if best > target and left > 0:
            climbed, size = self._climbed(order, best, target, left // each)
            if size < best:
                method, best, offsets = "hill climbing", size, climbed
        return self._arena(offsets, max(best, 0), method)

    def _arena(self, placed: list[int], size: int, method: str) -> Arena:
        offsets = [0] * len(self.buffers)
        end = 0
        for index in self.always:
            offsets[index] = end
            end += self.size[index]
        for index in self.free:
            offsets[index] = self.base + placed[index]
        return Arena(tuple(offsets), self.base + size, self.bound, self.alignment, method)

    def _greedy(self, target: int) -> Iterator[tuple[str, list[int]]]:
        """Yield offsets by each rule, those that are the best on average first."""
        orders = self._orders()
        name, first = next(orders)
        yield name, self._placed(first, _tightest)[0]
        yield "from both ends, in order of time", self._from_both_ends(target)
        for name, order in orders:
            yield name, self._placed(order, _tightest)[0]

    def _from_both_ends(self, target: int) -> list[int]:
        """Return offsets that lie by turns at the bottom and under the lower bound.

        Of a chain, where each buffer meets only the one before and the one after, it is optimal.
        """
        placed = [-1] * len(self.buffers)
        order = sorted(self.free, key=lambda i: (self.buffers[i].first, self.buffers[i].last, i))
        for turn, index in enumerate(order):
            size, taken = self.size[index], self._taken(index, placed)
            below = sorted((target - stop, target - start) for start, stop in taken)
            offset = target - size - _lowest(size, below) if turn % 2 else -1
            placed[index] = offset if offset >= 0 else _lowest(size, taken)
        return placed

    def _taken(self, index: int, placed: list[int]) -> list[tuple[int, int]]:
        """Return the places of the neighbours that have one, sorted."""
        return sorted(
            (placed[other], placed[other] + self.size[other])
            for other in self.neighbours[index]
            if placed[other] >= 0
        )

    def _orders(self) -> Iterator[tuple[str, list[int]]]:
        """Yield orders of placement; ties go by other measures."""
        span = [item.last - item.first for item in self.buffers]
        first = [item.first for item in self.buffers]
        breadth = self._breadth()
        size = self.size
        rules: dict[str, Callable[[int], tuple[int, ...]]] = {
            "largest first": lambda i: (-size[i], first[i], -span[i]),
            "widest moment first, longest first": lambda i: (-breadth[i], -span[i], first[i]),
            "widest moment first": lambda i: (-breadth[i], -size[i], first[i]),
            "largest size times life first": lambda i: (-size[i] * (span[i] + 1), first[i]),
            "largest first, longest first": lambda i: (-size[i], -span[i], first[i]),
            "longest first": lambda i: (-span[i], -size[i], first[i]),
            "in order of time": lambda i: (first[i], -span[i], -size[i]),
            "in reverse order of time": lambda i: (-self.buffers[i].last, -span[i], -size[i]),
        }
        for name, rule in rules.items():
            yield name, sorted(self.free, key=rule)

    def _breadth(self) -> list[int]:
        """Return for each buffer the most that is live at a step of its life."""
        starts = sorted({item.first for item in self.buffers})
        change = [0] * (len(starts) + 1)
        ends = [bisect.bisect_right(starts, item.last) for item in self.buffers]
        begins = [bisect.bisect_left(starts, item.first) for item in self.buffers]
        for index in self.free:
            change[begins[index]] += self.size[index]
            change[ends[index]] -= self.size[index]
        live, total = [], 0
        for delta in change[:-1]:
            total += delta
            live.append(total)
        return [max(live[a:b], default=0) for a, b in zip(begins, ends, strict=True)]

    def _placed(
        self, order: Sequence[int], fit: Fit, most: int | None = None
    ) -> tuple[list[int], int]:
        """Return the offsets if the buffers are placed in an order, and the size of the arena.

        It stops when the arena grows above `most`: the offsets are then of no use.
        """
        placed = [-1] * len(self.buffers)
        height = 0
        for index in order:
            offset = fit(self.size[index], self._taken(index, placed))
            placed[index] = offset
            height = max(height, offset + self.size[index])
            if most is not None and height > most:
                break
        return placed, height

    def _climbed(
        self, order: list[int], size: int, target: int, turns: int
    ) -> tuple[list[int], int]:
        """Return the best plan found by swapping turns, from an order of placement."""
        chance = random.Random(_SEED)
        best, kept = size, list(order)
        offsets, _ = self._placed(kept, _lowest)
        found, stuck = offsets, 0
        for _ in range(turns):
            if best == target or stuck == _PATIENCE:
                break
            tried = self._swapped(kept, offsets, best, chance)
            placed, height = self._placed(tried, _lowest, best)
            stuck += 1
            if height > best:
                continue
            if height < best:
                found, stuck = placed, 0
            best, kept, offsets = height, tried, placed
        return found, best

    def _swapped(
        self, order: list[int], offsets: list[int], size: int, chance: random.Random
    ) -> list[int]:
        """Swap the turns of two buffers that hold up one that reaches the top."""
        tops = [index for index in self.free if offsets[index] + self.size[index] == size]
        top = tops[chance.randrange(len(tops))]
        holding = self._holding(top, offsets)
        turn = {index: place for place, index in enumerate(order)}
        first = turn[holding[chance.randrange(len(holding))]]
        second = turn[holding[chance.randrange(len(holding))]]
        if first == second:
            second = chance.randrange(len(order))
        swapped = list(order)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        return swapped

    def _holding(self, top: int, offsets: list[int]) -> list[int]:
        """Return a buffer, its neighbours, and what lies right beneath any of those, down to 0."""
        found = dict.fromkeys([top, *self.neighbours[top]])
        waiting = list(found)
        while waiting:
            index = waiting.pop()
            for other in self.neighbours[index]:
                if other not in found and offsets[other] + self.size[other] == offsets[index]:
                    found[other] = None
                    waiting.append(other)
        return list(found)
