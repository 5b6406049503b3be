"""The pass ``sign-quantization``."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import array_of, is_op, nodes_of

_HALF: Final = 128
_SIGNED: Final = ir.DataType.INT8


@dataclasses.dataclass(frozen=True)
class SignQuantization(ir.passes.InPlacePass):
    """Let quantized tensors be int8 instead of uint8: integers and zero points less 128.

    Of values between a QuantizeLinear and its DequantizeLinear nodes, and of constants that only
    DequantizeLinear nodes read. Inputs and outputs of the graph stay as they are.

    Ensures: the very same real numbers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in list(nodes_of(model)):
            if not is_op(node, "QuantizeLinear", "DequantizeLinear"):
                continue
            value = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
            if value is not None and _is_inner(value) and _has_constant_zeros(value):
                _sign(edit, value)
        return edit.result(model)


def _ends(value: ir.Value) -> list[ir.Node]:
    """Return the QuantizeLinear that gives integers, if one does, and all that reads them."""
    producer = value.producer()
    return [*([producer] if producer is not None else []), *(use.node for use in value.uses())]


def _is_inner(value: ir.Value) -> bool:
    """Whether uint8 numbers are nobody's but those of QuantizeLinear and DequantizeLinear."""
    if value.dtype != ir.DataType.UINT8 or value.is_graph_output() or value.is_graph_input():
        return False
    producer = value.producer()
    given = (
        is_op(producer, "QuantizeLinear") if producer is not None else array_of(value) is not None
    )
    return given and all(
        is_op(use.node, "DequantizeLinear") and use.idx == 0 for use in value.uses()
    )


def _has_constant_zeros(value: ir.Value) -> bool:
    return all(
        len(node.inputs) < 3 or node.inputs[2] is None or array_of(node.inputs[2]) is not None
        for node in _ends(value)
    )


def _sign(edit: Editor, value: ir.Value) -> None:
    array = array_of(value)
    readers = [use.node for use in value.uses()]
    for node in _ends(value):
        scale = array_of(node.inputs[1])
        given = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
        shape = () if scale is None else scale.shape
        zeros = np.zeros(shape, np.uint8) if given is None else given
        edit.set_input(node, 2, edit.constant(node, "zero_point", _less(zeros), _SIGNED))
        if node.attributes.get_int("output_dtype", 0) and node.op_type == "QuantizeLinear":
            node.attributes.add(ir.AttrInt64("output_dtype", int(_SIGNED)))
    if array is None:
        value.type = ir.TensorType(_SIGNED)
        return
    signed = edit.constant(readers[0], "signed", _less(array), _SIGNED)
    for node in readers:
        edit.set_input(node, 0, signed)


def _less(array: np.ndarray) -> np.ndarray:
    return np.asarray(array.astype(np.int16) - _HALF).astype(np.int8)
