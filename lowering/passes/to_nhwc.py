"""The pass ``to-nhwc``."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from .. import own_operators
from ..editing import Editor
from ..layout import nhwc
from ..layout.layouts import Move, apply
from ..matching import shape_of
from ..opset import DOMAIN
from ..spatial import is_windowed, window_attributes


@dataclasses.dataclass(frozen=True)
class ToNhwc(ir.passes.InPlacePass):
    """Put convolutions and poolings in channels-last layout, between transposes.

    Conv, MaxPool, AveragePool, GlobalAveragePool and GlobalMaxPool over signals and images become
    the operators of `lowering.layout.nhwc`, whose definitions are added to the model. Left alone:
    a MaxPool whose indices are used (they count elements in channels-first order).

    Requires: static shapes. Ensures: the same numbers. ``push-transposes`` then moves the
    transposes to where they cancel.

    Attributes:
        transposed: ConvTranspose, too, for which not every runtime has kernels channels-last.
        volumes: data of rank 5, too; as above.
    """

    transposed: bool = False
    volumes: bool = False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        for node in model.graph:
            operator = self._operator(node)
            if operator is not None and not _gives_indices(node):
                _convert(editor, node, operator)
        changed = own_operators.define_used(model)
        return ir.passes.PassResult(model, editor.modified or changed)

    def _operator(self, node: ir.Node) -> nhwc.Operator | None:
        """Return what a node is to become; None where it stays."""
        data = shape_of(node.inputs[0]) if node.inputs and node.domain == "" else None
        found = None if data is None else nhwc.operator_for(node.op_type, len(data))
        if found is None or (found.standard == "ConvTranspose" and not self.transposed):
            return None
        return found if self.volumes or found.rank < 5 else None


def _gives_indices(node: ir.Node) -> bool:
    return any(value.uses() or value.is_graph_output() for value in node.outputs[1:])


def _convert(editor: Editor, node: ir.Node, operator: nhwc.Operator) -> None:
    window = window_attributes(node) if is_windowed(node) else {}
    if window is None:
        return
    if operator.standard == "AveragePool":
        window["count_include_pad"] = node.attributes.get_int("count_include_pad", 0)
    node.resize_outputs(1)
    layout = nhwc.CHANNELS_LAST[operator.rank]
    node.attributes.clear()
    node.domain, node.op_type = DOMAIN, operator.name
    inputs = (layout, *(None for _ in node.inputs[1:]))
    apply(editor, node, Move(inputs, (layout,), window))
