"""Regions of nodes that may change their layout together, and the cheapest choice in a region.

Every node of a region has two layouts to choose from: the one it has, and the one that would do
without some transposes at the region's border. What a choice costs is the transposes that it needs
between the nodes; the cheapest choice is a minimum cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from .layout_rows import move, reference_for_output, reference_rank
from .layouts import (
    Layout,
    Move,
    compose,
    identity,
    invert,
    is_identity,
    keeps_order,
    order_of,
    permutation,
    permuted,
    source,
)
from .matching import array_of, shape_of
from .mincut import UNPAYABLE, Labelling

#: A Transpose costs a pass over memory and a kernel of its own; the latter equals this many bytes.
OVERHEAD = 64 * 1024

Pair = tuple[Layout, Layout]


@dataclasses.dataclass(frozen=True)
class Choice:
    """The two ways a node may work, by label, and the label of the way it works now."""

    moves: tuple[Move, Move]
    now: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """Transposes that a choice needs: how many, their bytes, and a sum to compare choices by."""

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


def readers(value: ir.Value) -> Iterator[tuple[ir.Node | None, int, Layout]]:
    """Yield what reads a value, also through transposes: node, input, and the layout it reads.

    The node is None for an output of the graph.
    """
    pending = [(value, identity(len(shape_of(value) or ())))]
    while pending:
        found, layout = pending.pop()
        if found.is_graph_output():
            yield None, 0, layout
        for use in found.uses():
            step = permutation(use.node)
            if step is None:
                yield use.node, use.idx, layout
            else:
                pending.append((use.node.outputs[0], compose(layout, step)))


def grow(node: ir.Node, layout: Layout) -> dict[ir.Node, Choice]:
    """Return the region around a node that might work in a reference layout: empty if it cannot.

    The choice spreads to whatever reads or gives the same tensors, for as long as each node can
    work in both layouts and now works in one of them.
    """
    region: dict[ir.Node, Choice] = {}
    pending = [(node, (identity(len(layout)), layout))]
    while pending:
        node, pair = pending.pop()
        if node in region:
            continue
        choice = _choice(node, pair)
        if choice is None:
            continue
        region[node] = choice
        for value, stored in _ends(node, choice):
            if stored[0] != stored[1]:
                pending.extend(_neighbours(value, stored))
    return region


def _choice(node: ir.Node, pair: Pair) -> Choice | None:
    now = next((label for label in (0, 1) if is_identity(pair[label])), None)
    if now is None or pair[0] == pair[1]:
        return None
    moves = move(node, pair[0]), move(node, pair[1])
    if moves[0] is None or moves[1] is None:
        return None
    return Choice((moves[0], moves[1]), now)


def _ends(node: ir.Node, choice: Choice) -> Iterator[tuple[ir.Value, Pair]]:
    """Yield the tensors at a node, constants left out, and the layouts each label stores them in.

    A tensor that the node reads through transposes is the one before them.
    """
    for index, value in enumerate(node.inputs):
        if value is not None and array_of(value) is None:
            base, alias = source(value)
            wanted = [way.inputs[index] for way in choice.moves]
            stored = [alias if layout is None else compose(alias, layout) for layout in wanted]
            yield base, (stored[0], stored[1])
    for index, value in enumerate(node.outputs):
        yield value, (choice.moves[0].outputs[index], choice.moves[1].outputs[index])


def _neighbours(value: ir.Value, stored: Pair) -> Iterator[tuple[ir.Node, Pair]]:
    """Yield the nodes at a tensor, with the reference layouts that agree with how it is stored."""
    producer = value.producer()
    if producer is not None:
        given = [reference_for_output(producer, layout) for layout in stored]
        if given[0] is not None and given[1] is not None:
            yield producer, (given[0], given[1])
    for node, index, alias in readers(value):
        if node is None or len(alias) != reference_rank(node):
            continue
        read = compose(invert(alias), stored[0]), compose(invert(alias), stored[1])
        if all((way := move(node, ref)) and way.inputs[index] == ref for ref in read):
            yield node, read


class Region:
    """A region and its border, ready to be priced.

    Args:
        choices: as `grow` returns them.
        position: the place of each node in the graph; of two places for a transpose that cost the
            same, the later is taken, so that transposes drift to where they meet and vanish.
    """

    def __init__(self, choices: Mapping[ir.Node, Choice], position: Mapping[ir.Node, int]) -> None:
        self.choices = choices
        self._position = position
        found = {end: None for node, way in choices.items() for end, _ in _ends(node, way)}
        #: The tensors in and around the region.
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
            given, wanted = self._given(value), self._wanted[value]
            producer = value.producer()
            label = labels.get(producer, 0) if producer is not None else 0
            layouts = {
                layouts[0 if node is None else labels[node]]: None for node, layouts in wanted
            }
            # Of layouts that store the same bytes, one is made by moving them, the others from it.
            shape, stored = shape_of(value) or (), given[label]
            made = {order_of(shape, stored): stored}
            for layout in layouts:
                order = order_of(shape, layout)
                total += self._transpose(value, made.get(order, stored), layout)
                made[order] = layout
        return total

    def cheapest(self) -> dict[ir.Node, int]:
        """Return the labels that a minimum cut gives; see `cost_of_layout` for what it counts."""
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

    def _transpose(self, value: ir.Value, stored: Layout, wanted: Layout) -> Cost:
        """Return the cost of having a tensor in another layout than the one it is stored in."""
        if stored == wanted:
            return Cost()
        shape = shape_of(value) or ()
        size = 1
        for length in shape:
            size *= length
        producer = value.producer()
        lateness = len(self._position) - (self._position[producer] if producer else -1)
        scale = 4 * (len(self._position) + 1) ** 2
        if keeps_order(permuted(shape, stored), compose(invert(stored), wanted)):
            return Cost(0, 0, scale + lateness)  # a Reshape, which moves nothing
        count = size * (value.dtype.itemsize if value.dtype is not None else 4)
        return Cost(1, int(count), (OVERHEAD + int(count)) * scale + lateness)

    def _price(self, problem: Labelling, items: Mapping[ir.Node, int], value: ir.Value) -> None:
        """Charge the transposes of one tensor, each once for all the readers of its layout."""
        wanted = self._wanted[value]
        producer = value.producer()
        giver = items.get(producer) if producer is not None else None
        given = self._given(value)
        for layout in {layout: None for _, pair in wanted for layout in pair}:
            costs = [self._transpose(value, stored, layout).weight for stored in given]
            sides: tuple[list[int], list[int]] = ([], [])
            always = False
            for node, pair in wanted:
                if node is None or pair[0] == pair[1]:
                    always |= pair[0] == layout
                else:
                    for label in (0, 1):
                        if pair[label] == layout:
                            sides[label].append(items[node])
            if always:
                sides = ([], [])
                if giver is not None:
                    for label in (0, 1):
                        problem.cost_of_label(giver, label, costs[label])
            for label in (0, 1):
                if sides[label]:
                    _charge(problem, giver, costs, label, sides[label])


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
    else the larger one is charged, which can only make the region look dearer than it is.
    """
    needed = problem.add_item()
    for item in wanting:
        if label:
            problem.cost_of_pair(needed, item, UNPAYABLE)
        else:
            problem.cost_of_pair(item, needed, UNPAYABLE)
    if giver is None or costs[label] >= costs[1 - label]:
        problem.cost_of_label(needed, label, max(costs) if giver is not None else costs[0])
        return
    problem.cost_of_label(needed, label, costs[label])
    extra = costs[1 - label] - costs[label]
    if label:
        problem.cost_of_pair(giver, needed, extra)
    else:
        problem.cost_of_pair(needed, giver, extra)
