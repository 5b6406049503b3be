"""Transposes of one graph merged with each other: what the layout passes have in common."""

from __future__ import annotations

import onnx_ir as ir

from ..attributes import attribute
from ..editing import Editor
from ..matching import array_of, shape_of
from .layouts import (
    Layout,
    compose,
    identity,
    invert,
    is_identity,
    keeps_order,
    order_of,
    permutation,
    transposed_constant,
)

#: A value, and a layout of it.
_View = tuple[ir.Value, Layout]


def merge_transposes(editor: Editor, graph: ir.Graph) -> None:
    """Let every Transpose read the value before all transposes; share equal ones, drop idle ones.

    A transposed constant becomes a constant. Of several layouts of a value that store the same
    bytes, the first is made by moving them, and the others from it: they only move axes of size 1.
    """
    views = _views(graph)
    needed = {view for value, view in views.items() if _is_read(value)}
    equal: dict[_View, ir.Value] = {}
    first: dict[_View, ir.Value] = {}
    for node in graph:
        value = node.outputs[0] if node.outputs else None
        if value is None or value not in views:
            continue
        base, layout = views[value]
        if is_identity(layout):
            editor.bypass(value, base)
        elif (base, layout) in equal:
            editor.bypass(value, equal[base, layout])
        elif (array := array_of(base)) is not None:
            editor.fold(node, [ir.Tensor(transposed_constant(array, layout), base.dtype)])
        else:
            equal[base, layout] = value
            near, shape = base, shape_of(base) or ()
            if (base, layout) in needed and not keeps_order(shape, layout):
                near = first.setdefault((base, order_of(shape, layout)), value)
            near = base if near is value else near
            given = views[near][1] if near is not base else identity(len(layout))
            _read(editor, node, near, compose(invert(given), layout))
    for node in reversed(graph):
        if permutation(node) is not None:
            editor.remove_unused(node)


def _views(graph: ir.Graph) -> dict[ir.Value, _View]:
    """Return what every Transpose gives, as a layout of the value before all transposes."""
    found: dict[ir.Value, _View] = {}
    for node in graph:
        step = permutation(node)
        before = node.inputs[0] if step is not None else None
        if step is not None and before is not None:
            base, layout = found.get(before, (before, identity(len(step))))
            found[node.outputs[0]] = base, compose(layout, step)
    return found


def _is_read(value: ir.Value) -> bool:
    """Whether more than transposes read the value."""
    return value.is_graph_output() or any(permutation(use.node) is None for use in value.uses())


def _read(editor: Editor, node: ir.Node, value: ir.Value, layout: Layout) -> None:
    """Let a Transpose give a layout of a value."""
    if node.inputs[0] is not value:
        node.replace_input_with(0, value)
        node.attributes.add(attribute("perm", layout))
        editor.modified = True
