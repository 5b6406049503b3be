"""The one form of changing a shape: Reshape to a constant shape, never two in a row."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .editing import Editor
from .matching import ints_of, is_op, shape_of


def is_canonical_reshape(node: ir.Node) -> bool:
    """Whether a Reshape says its output's shape in full, in a constant without 0 or -1.

    A 0 stands only where the output is empty, under ``allowzero``.
    """
    shape = shape_of(node.outputs[0])
    wanted = ints_of(node.inputs[1])
    return wanted == shape and node.attributes.get_int("allowzero", 0) == int(0 in (shape or ()))


def reshape_instead(editor: Editor, node: ir.Node) -> None:
    """Put the canonical Reshape for a node that keeps the order of its input's elements."""
    shape = shape_of(node.outputs[0])
    if shape is None:
        return
    target = editor.constant(node, "shape", np.array(shape, np.int64))
    editor.replace(
        node, "Reshape", [node.inputs[0], target], {"allowzero": 1} if 0 in shape else None
    )


def merge_reshapes(editor: Editor, graph: ir.Graph) -> None:
    """Let every Reshape read the value before all reshapes; remove those that change nothing."""
    for node in graph:
        if not is_op(node, "Reshape"):
            continue
        base = node.inputs[0]
        while base is not None and (before := base.producer()) and is_op(before, "Reshape"):
            base = before.inputs[0]
        if base is None:
            continue
        if shape_of(base) is not None and shape_of(base) == shape_of(node.outputs[0]):
            editor.bypass(node.outputs[0], base)
        elif base is not node.inputs[0] and is_canonical_reshape(node):
            node.replace_input_with(0, base)
            editor.modified = True
    for node in reversed(graph):
        if is_op(node, "Reshape"):
            editor.remove_unused(node)
