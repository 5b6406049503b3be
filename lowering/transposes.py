"""Transposes of one graph merged with each other: what the layout passes have in common."""

from __future__ import annotations

import onnx_ir as ir

from .editing import Editor
from .layouts import Layout, is_identity, permutation, source, transposed_constant
from .matching import array_of


def merge_transposes(editor: Editor, graph: ir.Graph) -> None:
    """Leave at most one Transpose between any two other nodes, and none that does nothing.

    Consecutive ones become one, equal ones of the same value are shared, and a transposed constant
    becomes a constant. One walk over the graph, in its order.
    """
    made: dict[tuple[ir.Value, Layout], ir.Value] = {}
    for node in graph:
        if permutation(node) is None:
            continue
        value = node.outputs[0]
        base, layout = source(value)
        if is_identity(layout):
            editor.bypass(value, base)
        elif (base, layout) in made:
            editor.bypass(value, made[base, layout])
        elif (array := array_of(base)) is not None:
            editor.fold(node, [ir.Tensor(transposed_constant(array, layout), base.dtype)])
        else:
            made[base, layout] = value
            if node.inputs[0] is not base:
                node.replace_input_with(0, base)
                node.attributes.add(ir.AttrInt64s("perm", layout))
                editor.modified = True
    for node in reversed(graph):
        if permutation(node) is not None:
            editor.remove_unused(node)
