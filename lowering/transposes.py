"""Transposes of one graph merged with each other: what the layout passes have in common."""

from __future__ import annotations

import onnx_ir as ir

from .editing import Editor
from .layouts import (
    Layout,
    compose,
    invert,
    is_identity,
    keeps_order,
    order_of,
    permutation,
    source,
    transposed_constant,
)
from .matching import array_of, shape_of

#: A value, and a layout of it.
_View = tuple[ir.Value, Layout]


def merge_transposes(editor: Editor, graph: ir.Graph) -> None:
    """Let every Transpose read the value before all transposes; share equal ones, drop idle ones.

    A transposed constant becomes a constant. Of several layouts of a value that store the same
    bytes, the first is made by moving them, and the others from it: they only move axes of size 1.
    """
    needed = {
        source(node.outputs[0])
        for node in graph
        if permutation(node) is not None and _is_read(node.outputs[0])
    }
    equal: dict[_View, ir.Value] = {}
    first: dict[_View, ir.Value] = {}
    for node in graph:
        if permutation(node) is None:
            continue
        value = node.outputs[0]
        base, layout = source(value)
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
                order = order_of(shape, layout)
                near = first.setdefault((base, order), value)
            _read(editor, node, base if near is value else near)
    for node in reversed(graph):
        if permutation(node) is not None:
            editor.remove_unused(node)


def _is_read(value: ir.Value) -> bool:
    """Whether more than transposes read the value."""
    return value.is_graph_output() or any(permutation(use.node) is None for use in value.uses())


def _read(editor: Editor, node: ir.Node, value: ir.Value) -> None:
    """Let a Transpose give the same from another value of the same base."""
    if node.inputs[0] is value:
        return
    layout, given = source(node.outputs[0])[1], source(value)[1]
    node.replace_input_with(0, value)
    node.attributes.add(ir.AttrInt64s("perm", compose(invert(given), layout)))
    editor.modified = True
