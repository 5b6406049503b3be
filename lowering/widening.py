"""Say half precision by float32 and explicit rounding, so that any runtime computes it alike.

ONNX Runtime's CPU provider has few kernels for 16-bit floats. It computes half precision in
float32 and leaves the rounding between such nodes out, so that nothing overflows that would on a
device; for bfloat16 it fails.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import onnx_ir as ir

from .editing import Editor
from .matching import array_of, has_body, is_op, nodes_of, shape_of

_HALF: Final = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

#: Operators that say their output's dtype themselves, or need the bits of their input.
_TYPED: Final = (
    "BitCast", "BlackmanWindow", "Cast", "Constant", "ConstantOfShape", "EyeLike",
    "HammingWindow", "HannWindow",
)  # fmt: skip


def has_half(model: ir.Model) -> bool:
    """Whether a node computes in half precision or bfloat16: more than a Cast."""
    return any(
        value is not None and value.dtype in _HALF
        for node in nodes_of(model)
        if not _is_left(node)
        for value in (*node.inputs, *node.outputs)
    )


def widened(model: ir.Model) -> ir.Model:
    """Return a copy in which every node computes in float32, and every 16-bit result is rounded.

    That is what a processor does that stores 16 bits and computes with 32. Two Casts, which the
    runtime must keep, round a result. Inputs and outputs of the graph have the dtypes they had.
    """
    model = model.clone()
    edit = Editor(model)
    wide: _Wide = {}
    for node in list(nodes_of(model)):
        if _is_left(node):
            continue
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype in _HALF:
                edit.set_input(node, index, _read(value, node, wide, edit))
        for value in node.outputs:
            if value.name and value.dtype in _HALF:
                _round(value, node, edit)
    return model


#: 16-bit values, and the graph that reads them, to the same as float32 there.
_Wide: TypeAlias = dict[tuple[ir.Value, ir.Graph | None], ir.Value]


def _is_left(node: ir.Node) -> bool:
    """Whether a node stays as it is: those in its body are what computes."""
    return is_op(node, *_TYPED) or has_body(node)


def _read(value: ir.Value, node: ir.Node, wide: _Wide, edit: Editor) -> ir.Value:
    """Return a 16-bit value or constant as float32."""
    key = value, node.graph
    if key not in wide:
        array = array_of(value)
        if array is not None:
            wide[key] = edit.constant(node, "wide", array.astype(np.float32))
        else:
            attributes = {"to": int(ir.DataType.FLOAT)}
            dtype, shape = ir.DataType.FLOAT, shape_of(value)
            wide[key] = edit.insert(
                node, "Cast", [value], attributes, name="wide", dtype=dtype, shape=shape
            )
    return wide[key]


def _round(value: ir.Value, node: ir.Node, edit: Editor) -> None:
    """Let a node give float32, and a Cast behind it what it gave before."""
    if "output_dtype" in node.attributes:  # of a DequantizeLinear
        node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", int(ir.DataType.FLOAT))
    attributes = {"to": int(value.dtype or ir.DataType.FLOAT16)}
    name, shape = f"{node.name}/rounded", shape_of(value)
    edit.interpose(value, "Cast", attributes, name=name, shape=shape)
    value.type = ir.TensorType(ir.DataType.FLOAT)
