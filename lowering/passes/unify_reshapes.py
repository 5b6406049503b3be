"""The pass ``unify-reshapes``."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from ..editing import Editor
from ..matching import is_op, nodes_of
from ..reshapes import is_canonical_reshape, merge_reshapes, reshape_instead


@dataclasses.dataclass(frozen=True)
class UnifyReshapes(ir.passes.InPlacePass):
    """Write Flatten, Squeeze and Unsqueeze as Reshape, and merge reshapes in a row.

    The shape is a constant that gives every size in full, without 0 (copy) or -1 (the rest); a
    Reshape that changes nothing is removed.

    Requires: static shapes. Ensures: the same numbers; no two reshapes in a row.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        for node in nodes_of(model):
            other = is_op(node, "Flatten", "Squeeze", "Unsqueeze")
            if other or (is_op(node, "Reshape") and not is_canonical_reshape(node)):
                reshape_instead(editor, node)
        for graph in tuple(model.graphs()):
            merge_reshapes(editor, graph)
        return editor.result(model)
