"""Minimum cut: two labels for every item, at the least sum of costs.

Dinic's algorithm (E. A. Dinic, Soviet Math. Doklady 11, 1970): maximum flow by shortest augmenting
paths, in phases. Here capacities are integers of any size.
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: A capacity that no cut can pay.
UNPAYABLE: Final = 1 << 200

_SOURCE: Final = 0
_SINK: Final = 1


class Labelling:
    """Items that get label 0 or 1, and what choices cost."""

    def __init__(self) -> None:
        # Arcs come in pairs: arc `i ^ 1` is the reverse of arc `i`.
        self._heads: list[int] = []
        self._capacities: list[int] = []
        self._arcs: list[list[int]] = [[], []]

    def add_item(self) -> int:
        """Return a new item."""
        self._arcs.append([])
        return len(self._arcs) - 1

    def cost_of_label(self, item: int, label: int, cost: int) -> None:
        """Charge `cost` (not negative) if the item gets this label."""
        if label:
            self._arc(_SOURCE, item, cost)
        else:
            self._arc(item, _SINK, cost)

    def cost_of_pair(self, zero: int, one: int, cost: int) -> None:
        """Charge `cost` (not negative) if item `zero` gets label 0 and item `one` label 1."""
        self._arc(zero, one, cost)

    def solve(self) -> list[int]:
        """Return the label of every item at the least cost; index 0 is the first item.

        Of several such labellings, the one with the fewest zeros.
        """
        while (levels := self._levels())[_SINK] >= 0:
            self._augment(levels)
        return [0 if level >= 0 else 1 for level in levels[2:]]

    def index(self, item: int) -> int:
        """Return the place of an item in what `solve` returns."""
        return item - 2

    def _arc(self, tail: int, head: int, capacity: int) -> None:
        for start, end, room in ((tail, head, capacity), (head, tail, 0)):
            self._arcs[start].append(len(self._heads))
            self._heads.append(end)
            self._capacities.append(room)

    def _levels(self) -> list[int]:
        """Return the distance of every node from the source over arcs with room; -1: none."""
        levels = [-1] * len(self._arcs)
        levels[_SOURCE] = 0
        queue = deque([_SOURCE])
        while queue:
            node = queue.popleft()
            for arc in self._arcs[node]:
                head = self._heads[arc]
                if self._capacities[arc] and levels[head] < 0:
                    levels[head] = levels[node] + 1
                    queue.append(head)
        return levels

    def _augment(self, levels: list[int]) -> None:
        """Push a blocking flow: depth first, without recursion, each arc abandoned once."""
        nexts = [0] * len(self._arcs)
        path: list[int] = []
        node = _SOURCE
        while True:
            if node == _SINK:
                room = min(self._capacities[arc] for arc in path)
                for arc in path:
                    self._capacities[arc] -= room
                    self._capacities[arc ^ 1] += room
                full = next(i for i, arc in enumerate(path) if not self._capacities[arc])
                node = self._heads[path[full] ^ 1]
                del path[full:]
            elif (usable := self._usable(node, levels, nexts)) is not None:
                path.append(usable)
                node = self._heads[usable]
            elif path:
                levels[node] = -1
                node = self._heads[path.pop() ^ 1]
            else:
                return

    def _usable(self, node: int, levels: list[int], nexts: list[int]) -> int | None:
        arcs = self._arcs[node]
        while nexts[node] < len(arcs):
            arc = arcs[nexts[node]]
            if self._capacities[arc] and levels[self._heads[arc]] == levels[node] + 1:
                return arc
            nexts[node] += 1
        return None
