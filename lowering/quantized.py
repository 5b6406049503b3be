"""Quantized tensors as passes meet them: between QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import onnx_ir as ir

from .matching import is_op, shape_of
from .scales import scales_of

#: Dtypes of the tensors that integer kernels read and write.
NARROW: Final = (ir.DataType.INT8, ir.DataType.UINT8)


@dataclasses.dataclass(frozen=True, eq=False)
class Quantized:
    """Integers, and the constants that say what real numbers they stand for.

    Attributes:
        node: the QuantizeLinear that gives the integers or the DequantizeLinear that reads them.
        integers: the integers; their real numbers are scale x (integer - zero).
        scale: float32, of shape () or (channels,).
        zero: int32, of the scale's shape.
        axis: where the channels lie; None for one scale.
    """

    node: ir.Node
    integers: ir.Value
    scale: np.ndarray
    zero: np.ndarray
    axis: int | None

    @property
    def dtype(self) -> ir.DataType:
        return self.integers.dtype or ir.DataType.UNDEFINED

    @property
    def is_narrow(self) -> bool:
        """Whether these are int8 or uint8 with one scale, as activations are."""
        return self.axis is None and self.dtype in NARROW

    def is_like(self, other: Quantized) -> bool:
        """Whether equal integers stand for equal numbers in both."""
        return (
            (self.dtype, self.axis) == (other.dtype, other.axis)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero, other.zero)
        )


def dequantized(value: ir.Value | None) -> Quantized | None:
    """Return the integers that a float32 value is made from; None if it is not."""
    node = None if value is None else value.producer()
    if value is None or node is None or not is_op(node, "DequantizeLinear"):
        return None
    return _of(node, node.inputs[0], value)


def quantized(node: ir.Node | None) -> Quantized | None:
    """Return the integers that a QuantizeLinear makes of a float32 value; None if it is none."""
    if node is None or not is_op(node, "QuantizeLinear"):
        return None
    return _of(node, node.outputs[0], node.inputs[0])


def meaning_of(value: ir.Value) -> Quantized | None:
    """Return what an input or output of a graph means, if it is integers; None if that is unsaid.

    Of an input, all that reads it makes the same real numbers of it.
    """
    producer = value.producer()
    if producer is not None:
        return quantized(producer)
    found = [dequantized(use.node.outputs[0]) for use in value.uses()]
    first = found[0] if found else None
    same = first is not None and all(item is not None and item.is_like(first) for item in found)
    return first if same else None


def _of(node: ir.Node, integers: ir.Value | None, reals: ir.Value | None) -> Quantized | None:
    found = scales_of(node)
    if integers is None or reals is None or found is None or found.block:
        return None
    scale, zero = found.scale, np.zeros((), np.int32) if found.zero is None else found.zero
    if reals.dtype != ir.DataType.FLOAT or scale.dtype != np.float32:
        return None
    if not (np.isfinite(scale) & (scale > 0)).all():
        return None
    dims = shape_of(integers) or ()
    shape = () if found.axis is None else (dims[found.axis],)
    try:
        scale, zero = (
            np.broadcast_to(array.reshape(() if array.size == 1 else array.shape), shape)
            for array in (scale, zero)
        )
    except ValueError:
        return None
    return Quantized(node, integers, scale, zero.astype(np.int32), found.axis)
