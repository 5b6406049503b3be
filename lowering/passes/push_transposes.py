"""The pass ``push-transposes``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import onnx_ir as ir

from ..editing import Editor
from ..layout.costs import Region
from ..layout.layouts import Layout, Move, apply, invert, is_identity, permutation, source
from ..layout.regions import Choice, grow, readers
from ..layout.rows import reference_for_output, reference_rank
from ..layout.transposes import merge_transposes


@dataclasses.dataclass(frozen=True)
class PushTransposes(ir.passes.InPlacePass):
    """Move transposes through the operators that work in any layout, to where they cost least.

    Wherever a Transpose touches operators with a row in `lowering.layout.rows`, the region of such
    operators around it chooses, by a minimum cut over the bytes that would be transposed, which of
    them change their layout. Transposes that meet are merged. A choice is taken if it needs no more
    transposes and no more bytes than before, and less of one of them; or as much, but later in the
    graph. So the pass ends, and never makes a model worse.

    Requires: static shapes. Ensures: the same numbers; no two transposes in a row.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        merge_transposes(editor, model.graph)
        while moves := _improvements(model.graph):
            for node, way in moves:
                apply(editor, node, way)
            merge_transposes(editor, model.graph)
        return editor.result(model)


def _improvements(graph: ir.Graph) -> list[tuple[ir.Node, Move]]:
    """Return the moves of every region that has a cheaper choice; no tensor is in two of them."""
    others = [node for node in graph if permutation(node) is None]
    position = {node: place for place, node in enumerate(others)}
    tried: set[tuple[ir.Node, Layout]] = set()
    busy: set[ir.Value] = set()
    moves: list[tuple[ir.Node, Move]] = []
    for node, layout in _seeds(graph):
        if (node, layout) in tried:
            continue
        choices = grow(node, layout)
        tried.add((node, layout))
        tried.update((member, _other(choice)) for member, choice in choices.items())
        region = Region(choices, position)
        if not choices or not busy.isdisjoint(region.tensors):
            continue
        labels = region.cheapest()
        if region.cost(labels).improves(region.cost(region.now)):
            busy.update(region.tensors)
            moves += [
                (member, choice.moves[labels[member]])
                for member, choice in choices.items()
                if labels[member] != choice.now
            ]
    return moves


def _other(choice: Choice) -> Layout:
    """Return the reference layout that a node may change to."""
    way = choice.moves[1 - choice.now]
    return next((layout for layout in way.inputs if layout is not None), way.outputs[0])


def _seeds(graph: ir.Graph) -> Iterator[tuple[ir.Node, Layout]]:
    """Yield nodes beside a Transpose, with the layout in which they would do without it."""
    for node in graph:
        if permutation(node) is None:
            continue
        base, layout = source(node.outputs[0])
        if is_identity(layout):
            continue
        for reader, _, _ in readers(node.outputs[0]):
            if reader is not None and reference_rank(reader) == len(layout):
                yield reader, invert(layout)
        producer = base.producer()
        if producer is not None and (wanted := reference_for_output(producer, layout)) is not None:
            yield producer, wanted
