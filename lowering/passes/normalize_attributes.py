"""The pass ``normalize-attributes``."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from ..attributes import attribute
from ..editing import Editor
from ..matching import nodes_of
from ..parameters import corrections


@dataclasses.dataclass(frozen=True)
class NormalizeAttributes(ir.passes.InPlacePass):
    """Say every parameter of every operator in one way: `lowering.parameters` says which.

    Axes are written out and count from the front, windows are written out and their pads are
    numbers, other attributes that have their default value are left out, and the axes, pads, slices
    and shapes that constant inputs give are complete. Optional inputs and outputs at the end that
    nothing uses are left out.

    Requires: static shapes. Ensures: the same numbers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        for node in nodes_of(model):
            _normalize(editor, node)
        return editor.result(model)


def _normalize(editor: Editor, node: ir.Node) -> None:
    found = corrections(node)
    if found is None:
        return
    for index, array in found.constants.items():
        editor.set_input(node, index, editor.constant(node, f"input_{index}", array))
    for name in found.absent:
        del node.attributes[name]
    for name, value in found.attributes.items():
        node.attributes.add(attribute(name, value))
    dropped = node.inputs[found.inputs :]
    node.resize_inputs(found.inputs)
    node.resize_outputs(found.outputs)
    for value in dropped:
        if value is not None:
            editor.drop_unused(value)
    editor.modified = True
