"""What the layouts of a region cost, and the cheapest ones: a minimum cut.

The cost is that of the transposes between nodes. A tensor that several nodes read in the same
layout is transposed once for all of them, and of the layouts that store the same bytes (those that
differ in axes of size 1 only) one is made by moving bytes, the others by a Reshape of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import onnx_ir as ir

from ..matching import shape_of
from .layouts import Layout, compose, identity, order_of
from .mincut import UNPAYABLE, Labelling
from .regions import Choice, Pair, ends, readers

#: A Transpose costs a pass over memory and a kernel of its own; the latter equals this many bytes.
OVERHEAD: Final = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Cost:
    """Transposes that a choice needs: how many move bytes, how many, and a sum to compare by."""

    count: int = 0
    bytes: int = 0
    weight: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.count + other.count, self.bytes + other.bytes, self.weight + other.weight)

    def improves(self, other: Cost) -> bool:
        """Whether this is less than the other, and in no respect more."""
        return (
            self.weight < other.weight and self.count <= other.count and self.bytes <= other.bytes
        )


class Region:
    """A region and the tensors in and around it, ready to be priced.

    Args:
        choices: as `regions.grow` returns them.
        position: the place of each node in the graph; of two places for a transpose that cost the
            same, the later is taken, so that transposes drift to where they meet and vanish.
    """

    def __init__(self, choices: Mapping[ir.Node, Choice], position: Mapping[ir.Node, int]) -> None:
        self.choices = choices
        self._position = position
        # A weight of 1 byte outweighs all that lateness can add up to.
        self._scale = 4 * (len(position) + 1) ** 2
        found = {end: None for node, way in choices.items() for end, _ in ends(node, way)}
        self.tensors = tuple(found)
        self._wanted = {value: self._wants(value) for value in self.tensors}

    @property
    def now(self) -> dict[ir.Node, int]:
        """The labels that leave everything as it is."""
        return {node: choice.now for node, choice in self.choices.items()}

    def cost(self, labels: Mapping[ir.Node, int]) -> Cost:
        """Return the exact cost of the transposes at the region's tensors."""
        total = Cost()
        for value in self.tensors:
            producer = value.producer()
            stored = self._given(value)[labels.get(producer, 0) if producer is not None else 0]
            layouts = {
                pair[0 if node is None else labels[node]]: None
                for node, pair in self._wanted[value]
            }
            for order, members in self._by_order(value, layouts).items():
                others = [layout for layout in members if layout != stored]
                if order != self._order(value, stored):
                    total += self._moving(value)
                    others.pop()
                for _ in others:
                    total += self._turning(value)
        return total

    def cheapest(self) -> dict[ir.Node, int]:
        """Return the labels of a minimum cut.

        Where a cut cannot express a cost, it is charged in full: the choice may then not be the
        cheapest of all, but `cost` says what it really costs.
        """
        problem = Labelling()
        items = {node: problem.add_item() for node in self.choices}
        for value in self.tensors:
            self._price(problem, items, value)
        solved = problem.solve()
        return {node: solved[problem.index(item)] for node, item in items.items()}

    def _given(self, value: ir.Value) -> Pair:
        """Return the layouts in which a tensor is stored when its producer has label 0 and 1."""
        producer, index = value.producer(), value.index()
        if producer is not None and producer in self.choices and index is not None:
            first, second = self.choices[producer].moves
            return first.outputs[index], second.outputs[index]
        same = identity(len(shape_of(value) or ()))
        return same, same

    def _wants(self, value: ir.Value) -> list[tuple[ir.Node | None, Pair]]:
        """Return the readers of a tensor, and the layouts each wants when its label is 0 and 1."""
        found: list[tuple[ir.Node | None, Pair]] = []
        for node, index, alias in readers(value):
            if node is None or node not in self.choices:
                found.append((None, (alias, alias)))
                continue
            ways = [way.inputs[index] for way in self.choices[node].moves]
            layouts = [alias if way is None else compose(alias, way) for way in ways]
            found.append((node, (layouts[0], layouts[1])))
        return found

    def _order(self, value: ir.Value, layout: Layout) -> Layout:
        return order_of(shape_of(value) or (), layout)

    def _by_order(self, value: ir.Value, layouts: Collection[Layout]) -> dict[Layout, list[Layout]]:
        """Return layouts of a tensor by the order in which they store its bytes."""
        found: dict[Layout, list[Layout]] = {}
        for layout in layouts:
            found.setdefault(self._order(value, layout), []).append(layout)
        return found

    def _lateness(self, value: ir.Value) -> int:
        producer = value.producer()
        return len(self._position) - (self._position[producer] if producer is not None else -1)

    def _moving(self, value: ir.Value) -> Cost:
        """Return the cost of a Transpose that moves a tensor's bytes."""
        width = value.dtype.itemsize if value.dtype is not None else 4
        count = math.ceil(math.prod(shape_of(value) or ()) * width)
        return Cost(1, count, (OVERHEAD + count) * self._scale + self._lateness(value))

    def _turning(self, value: ir.Value) -> Cost:
        """Return the cost of one that only moves axes of size 1: a Reshape, hardly any."""
        return Cost(0, 0, self._scale + self._lateness(value))

    def _price(self, problem: Labelling, items: Mapping[ir.Node, int], value: ir.Value) -> None:
        """Charge the transposes of one tensor."""
        given = self._given(value)
        own = [self._order(value, stored) for stored in given]
        layouts = {layout: None for _, pair in self._wanted[value] for layout in pair}
        for order, members in self._by_order(value, layouts).items():
            moving = self._moving(value).weight
            costs = [0 if order == other else moving for other in own]
            self._share(problem, items, value, members, costs)
            turning = self._turning(value).weight
            for layout in members:
                costs = [
                    turning if layout != stored and (order == other or len(members) > 1) else 0
                    for stored, other in zip(given, own, strict=True)
                ]
                self._share(problem, items, value, [layout], costs)

    def _share(
        self,
        problem: Labelling,
        items: Mapping[ir.Node, int],
        value: ir.Value,
        layouts: Collection[Layout],
        costs: Sequence[int],
    ) -> None:
        """Charge once for all the readers that want a tensor in one of some layouts.

        `costs` are those for the labels of the tensor's producer.
        """
        if not any(costs):
            return
        producer = value.producer()
        giver = items.get(producer) if producer is not None else None
        wanting: tuple[list[int], list[int]] = ([], [])
        for node, pair in self._wanted[value]:
            labels = [label for label in (0, 1) if pair[label] in layouts]
            if len(labels) == 2:
                if giver is not None:
                    for label in (0, 1):
                        problem.cost_of_label(giver, label, costs[label])
                return
            if labels and node is not None:
                wanting[labels[0]].append(items[node])
        for label in (0, 1):
            if wanting[label]:
                _charge(problem, giver, costs, label, wanting[label])


def _charge(
    problem: Labelling,
    giver: int | None,
    costs: Sequence[int],
    label: int,
    wanting: Sequence[int],
) -> None:
    """Charge one layout of one tensor if any of the items `wanting` it has the label.

    An item of its own stands for the layout being needed. `costs` depend on the giver's label:
    expressible in a cut if the layout is cheaper to have when the giver has the same label;
    else the larger one is charged.
    """
    needed = problem.add_item()
    for item in wanting:
        if label:
            problem.cost_of_pair(needed, item, UNPAYABLE)
        else:
            problem.cost_of_pair(item, needed, UNPAYABLE)
    if giver is None or costs[label] >= costs[1 - label]:
        problem.cost_of_label(needed, label, max(costs))
        return
    problem.cost_of_label(needed, label, costs[label])
    extra = costs[1 - label] - costs[label]
    if label:
        problem.cost_of_pair(giver, needed, extra)
    else:
        problem.cost_of_pair(needed, giver, extra)
