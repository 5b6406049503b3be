"""The pass ``sign-quantization``."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import array_of, is_op, nodes_of

_HALF: Final = 128
_INT8, _UINT8 = ir.DataType.INT8, ir.DataType.UINT8


@dataclasses.dataclass(frozen=True)
class SignQuantization(ir.passes.InPlacePass):
    """Let quantized tensors be int8 instead of uint8: integers and zero points less 128.

    Of values between a QuantizeLinear and its DequantizeLinear nodes, and of constants that only
    DequantizeLinear nodes read. Inputs and outputs of the graph stay as they are.

    Ensures: the very same real numbers.

    Attributes:
        signed: False: the other way round, and constants stay as they are, too: where instructions
            multiply data without sign by weights with one.
    """

    signed: bool = True

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in list(nodes_of(model)):
            if not is_op(node, "QuantizeLinear", "DequantizeLinear"):
                continue
            value = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
            if value is not None and self._is_inner(value) and _has_constant_zeros(value):
                _change(edit, value, _INT8 if self.signed else _UINT8)
        return edit.result(model)

    def _is_inner(self, value: ir.Value) -> bool:
        """Whether numbers are nobody's but those of QuantizeLinear and DequantizeLinear."""
        if value.dtype != (_UINT8 if self.signed else _INT8):
            return False
        if value.is_graph_output() or value.is_graph_input():
            return False
        producer = value.producer()
        given = (
            is_op(producer, "QuantizeLinear")
            if producer is not None
            else self.signed and array_of(value) is not None
        )
        return given and all(
            is_op(use.node, "DequantizeLinear") and use.idx == 0 for use in value.uses()
        )


def _ends(value: ir.Value) -> list[ir.Node]:
    """Return the QuantizeLinear that gives integers, if one does, and all that reads them."""
    producer = value.producer()
    return [*([producer] if producer is not None else []), *(use.node for use in value.uses())]


def _has_constant_zeros(value: ir.Value) -> bool:
    return all(
        len(node.inputs) < 3 or node.inputs[2] is None or array_of(node.inputs[2]) is not None
        for node in _ends(value)
    )


def _change(edit: Editor, value: ir.Value, dtype: ir.DataType) -> None:
    array = array_of(value)
    readers = [use.node for use in value.uses()]
    for node in _ends(value):
        scale = array_of(node.inputs[1])
        given = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
        shape = () if scale is None else scale.shape
        zeros = np.zeros(shape, np.uint8) if given is None else given
        edit.set_input(node, 2, edit.constant(node, "zero_point", _moved(zeros, dtype), dtype))
        if node.attributes.get_int("output_dtype", 0) and node.op_type == "QuantizeLinear":
            node.attributes.add(ir.AttrInt64("output_dtype", int(dtype)))
    if array is None:
        value.type = ir.TensorType(dtype)
        return
    signed = edit.constant(readers[0], "signed", _moved(array, dtype), dtype)
    for node in readers:
        edit.set_input(node, 0, signed)


def _moved(array: np.ndarray, dtype: ir.DataType) -> np.ndarray:
    by = -_HALF if dtype == _INT8 else _HALF
    return np.asarray(array.astype(np.int16) + by).astype(dtype.numpy())
