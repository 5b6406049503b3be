"""Regions of nodes that may change their layout together.

Every node of a region has two layouts to choose from: the one it has, and the one that would do
without some transposes at the region's border. `lowering.layout.costs` makes the choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import onnx_ir as ir

from ..matching import array_of, shape_of
from .layouts import (
    Layout,
    Move,
    compose,
    identity,
    invert,
    is_identity,
    permutation,
    source,
)
from .rows import move, reference_for_output, reference_rank

Pair = tuple[Layout, Layout]


@dataclasses.dataclass(frozen=True)
class Choice:
    """The two ways a node may work, by label, and the label of the way it works now."""

    moves: tuple[Move, Move]
    now: int


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
    seen: set[tuple[ir.Value, Pair]] = set()
    pending = [(node, (identity(len(layout)), layout))]
    while pending:
        node, pair = pending.pop()
        if node in region:
            continue
        choice = _choice(node, pair)
        if choice is None:
            continue
        region[node] = choice
        for end in ends(node, choice):
            value, stored = end
            if stored[0] != stored[1] and end not in seen:
                seen.add(end)
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


def ends(node: ir.Node, choice: Choice) -> Iterator[tuple[ir.Value, Pair]]:
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
