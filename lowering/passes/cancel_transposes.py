"""The pass ``cancel-transposes``."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from ..editing import Editor
from ..layout.layouts import keeps_order, permutation
from ..layout.transposes import merge_transposes
from ..matching import shape_of
from ..reshapes import merge_reshapes, reshape_instead


@dataclasses.dataclass(frozen=True)
class CancelTransposes(ir.passes.InPlacePass):
    """Remove the transposes that undo each other, or that move no data.

    Consecutive transposes become one or none, equal ones are shared, those of constants are done
    now, and one that only moves axes of size 1 becomes a Reshape, which merges with its neighbours.

    Requires: static shapes. Ensures: no two transposes or reshapes in a row.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        merge_transposes(editor, model.graph)
        for node in model.graph:
            layout, shape = permutation(node), shape_of(node.inputs[0]) if node.inputs else None
            if layout is not None and shape is not None and keeps_order(shape, layout):
                reshape_instead(editor, node)
        merge_reshapes(editor, model.graph)
        return editor.result(model)
