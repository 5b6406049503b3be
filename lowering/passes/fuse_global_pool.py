"""Recognise pooling over the whole of space."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import ints_of, is_op, nodes_of, shape_of
from ..spatial import window_attributes

#: What takes the mean or maximum -> the global pooling that does so over all of space.
_GLOBAL: Final = {
    "AveragePool": "GlobalAveragePool",
    "MaxPool": "GlobalMaxPool",
    "ReduceMax": "GlobalMaxPool",
    "ReduceMean": "GlobalAveragePool",
}

#: The dtypes for which the reference, ONNX Runtime, has a global pooling.
_DTYPES: Final = (ir.DataType.FLOAT, ir.DataType.FLOAT16)

#: Operators that mark their input or output as laid out in space.
_SPATIAL: Final = ("AveragePool", "Conv", "ConvTranspose", "MaxPool")

#: How many operators between a convolution and a mean over a sequence are looked through.
_STEPS: Final = 8


@dataclasses.dataclass(frozen=True)
class FuseGlobalPool(ir.passes.InPlacePass):
    """Turn means and maxima over all spatial axes into GlobalAveragePool and GlobalMaxPool.

    These are ReduceMean and ReduceMax over axes 2 and up of a value N×C×space, also one that a
    Transpose has put channels-last, and AveragePool and MaxPool whose window is the whole map,
    without pads. Where the spatial axes are not kept, a Reshape follows. A value of three axes
    counts as spatial only if it comes from a convolution or pooling, by elementwise operators:
    others are sequences, whose mean is part of a normalization.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            if is_op(node, *_GLOBAL) and node.outputs[0].dtype in _DTYPES:
                _fuse(node, edit)
        return edit.result(model)


def _fuse(node: ir.Node, edit: Editor) -> None:
    pooled = _windowed_input(node) if node.op_type.endswith("Pool") else _reduced_input(node)
    shape, wanted = shape_of(pooled), shape_of(node.outputs[0])
    if pooled is None or shape is None or wanted is None or 0 in shape:
        return
    op_type, result = _GLOBAL[node.op_type], shape[:2] + (1,) * (len(shape) - 2)
    before = node.inputs[0].producer() if node.inputs[0] is not None else None
    if wanted == result:
        edit.replace(node, op_type, [pooled])
    else:
        value = edit.insert(
            node, op_type, [pooled], name="pooled", dtype=pooled.dtype, shape=result
        )
        target = edit.constant(node, "shape", np.array(wanted, np.int64))
        edit.replace(node, "Reshape", [value, target])
    if before is not None:
        edit.remove_unused(before)


def _windowed_input(node: ir.Node) -> ir.Value | None:
    """Return the input of a pooling if its one window is the whole map."""
    shape, wanted = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    window = window_attributes(node)
    if shape is None or wanted is None or window is None or any(v.name for v in node.outputs[1:]):
        return None
    ones = (1,) * len(shape[2:])
    is_whole = window["kernel_shape"] == shape[2:] and window["dilations"] == ones
    is_one = wanted[2:] == ones and not any(np.ravel(window["pads"]))
    return node.inputs[0] if is_whole and is_one else None


def _reduced_input(node: ir.Node) -> ir.Value | None:
    """Return the value N×C×space whose space the node reduces, before any Transpose."""
    value = node.inputs[0]
    shape, axes = shape_of(value), ints_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if value is None or shape is None or axes is None or len(shape) < 3:
        return None
    rank = len(shape)
    reduced = sorted(axis % rank for axis in axes)
    layout = tuple(range(rank))
    producer = value.producer()
    if producer is not None and is_op(producer, "Transpose"):
        value = producer.inputs[0]
        layout = tuple(producer.attributes.get_ints("perm", layout[::-1]))
    kept = [layout[axis] for axis in range(rank) if axis not in reduced]
    if value is None or kept != [0, 1] or (rank == 3 and not _is_spatial(value)):
        return None
    return value


def _is_spatial(value: ir.Value) -> bool:
    """Whether a value comes from a convolution or pooling by operators that keep its shape."""
    shape, current = shape_of(value), value
    for _ in range(_STEPS):
        node = current.producer()
        if node is None or is_op(node, *_SPATIAL):
            return node is not None
        alike = [item for item in node.inputs if item is not None and shape_of(item) == shape]
        if not alike or is_op(node, "Transpose", "MatMul"):
            return False
        current = alike[0]
    return False
