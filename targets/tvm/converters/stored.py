"""Constant weights as they are stored, in 16, 8 or 4 bits, widened where a product reads them.

What depends on constants alone TVM computes once, when it compiles: it would keep such weights as
float32. So kernels of our own take them as they are stored. Each number is widened in a register,
each time it is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from tvm import te, tirx

from ....lowering.integer_constants import IntegerConstant, integer_constant
from .call import HALF, Call, Expr, Shape, dtype_of
from .tiles import Index, Tensor, emit

_FOUR_BITS: Final = (ir.DataType.INT4, ir.DataType.UINT4)
_INTEGERS: Final = (*_FOUR_BITS, ir.DataType.INT8, ir.DataType.UINT8)


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A constant weight (..., I, O): scale x (numbers - zero), float32.

    Attributes:
        numbers: float16, bfloat16, int8 or uint8; or 4 bits, two in a byte of uint8 along the axis
            I, the first in the low half.
        scale, zero: of the rank of the weight, along each axis as long, or 1, or one for each
            block; None: 1 and 0.
        block: how many neighbours share a scale where there are blocks.
        shape: of the weight.
        signed: whether numbers of 4 bits are from -8 to 7, not from 0 to 15.
    """

    numbers: np.ndarray
    shape: Shape
    scale: np.ndarray | None = None
    zero: np.ndarray | None = None
    block: int = 1
    signed: bool = True

    @property
    def arrays(self) -> list[np.ndarray]:
        """What a kernel takes."""
        return [item for item in (self.numbers, self.scale, self.zero) if item is not None]

    def at(self, arrays: Sequence[Tensor], index: Index) -> Any:
        """Return an element as float32; the kernel's tensors stand for `self.arrays`."""
        numbers, *parameters = arrays
        packed = self.numbers.shape != self.shape
        value = self._unpacked(numbers, index) if packed else numbers(*index)
        value = value.astype("float32")
        if self.zero is not None:
            value = value - self._parameter(parameters[-1], index)
        return value if self.scale is None else value * self._parameter(parameters[0], index)

    def _unpacked(self, numbers: Tensor, index: Index) -> Any:
        *outer, depth, channel = index
        byte = numbers(*outer, tirx.floordiv(depth, 2), channel).astype("int32")
        bits = (byte >> (tirx.floormod(depth, 2).astype("int32") * 4)) & 15
        return (bits ^ 8) - 8 if self.signed else bits

    def _parameter(self, parameter: Tensor, index: Index) -> Any:
        """Return the scale or zero point of an element, as float32."""
        extents = [int(extent) for extent in parameter.shape]
        places = [
            0 if extent == 1 else place if extent == size else tirx.floordiv(place, self.block)
            for place, extent, size in zip(index, extents, self.shape, strict=True)
        ]
        return parameter(*places).astype("float32")


def stored_weight(call: Call, order: Sequence[int], index: int = 1) -> Stored | None:
    """Return input `index` with its axes in another order, if it is a constant in fewer bits.

    It is one of float16 or bfloat16 that the node computes with in float32, or the float32 that a
    DequantizeLinear makes of constant integers.
    """
    value = call.node.inputs[index]
    if value is None:
        return None
    if value.const_value is not None:
        array = value.const_value.numpy()
        if str(array.dtype) not in HALF or str(array.dtype) == call.dtype():
            return None
        numbers = np.ascontiguousarray(array.transpose(order))
        return Stored(numbers, numbers.shape)
    found = integer_constant(value)
    integers = None if found is None else found.node.inputs[0]
    if found is None or integers is None or value.dtype != ir.DataType.FLOAT:
        return None
    if integers.dtype not in _INTEGERS:
        return None
    signed = integers.dtype in (ir.DataType.INT4, ir.DataType.INT8)
    dtype = np.dtype(np.int8 if signed else np.uint8)
    numbers = np.ascontiguousarray(found.integers.transpose(order).astype(dtype))
    scale, zero = found.scale, found.zero
    return Stored(
        numbers=_packed(numbers) if integers.dtype in _FOUR_BITS else numbers,
        shape=numbers.shape,
        scale=_along(
            found, scale if scale.dtype == np.float16 else scale.astype(np.float32), order
        ),
        zero=None if zero is None or not zero.any() else _along(found, zero.astype(dtype), order),
        block=found.node.attributes.get_int("block_size", 0) or 1,
        signed=signed,
    )


def _along(weight: IntegerConstant, parameter: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Return scales or zero points with the rank and the order of the weight."""
    rank = weight.integers.ndim
    if parameter.ndim != rank:
        parameter = parameter.reshape([-1 if axis == weight.axis else 1 for axis in range(rank)])
    return np.ascontiguousarray(parameter.transpose(order))


def _packed(numbers: np.ndarray) -> np.ndarray:
    """Put two numbers of 4 bits in a byte; where not all have one to go with, leave them."""
    if numbers.shape[-2] % 2:
        return numbers
    nibbles = (numbers & 15).astype(np.uint8)
    return nibbles[..., ::2, :] | (nibbles[..., 1::2, :] << 4)


def emit_product(
    call: Call,
    name: str,
    weight: Stored,
    compute: Callable[..., Tensor],
    channel_of: Callable[[Index], Any],
    lanes: int | None = None,
) -> Expr:
    """Return the call of a kernel: sums of input 0 times the weight, plus input 2.

    Args:
        compute: given input 0 in the dtype that the model states, and the weight's arrays, returns
            the tensor ``sums``, float32.
        channel_of: returns of the index of an output its channel, which has a bias.
        lanes: as `tiles.emit` takes it.
    """
    given = [call.given(0), *weight.arrays]
    if call.has(2):
        given.append(call.given(2))

    def biased(x: Tensor, *rest: Tensor) -> Tensor:
        count = len(weight.arrays)
        sums, dtype = compute(x, *rest[:count]), dtype_of(call.node.outputs[0])

        def element(*index: Any) -> Any:
            total = sums(*index)
            if rest[count:]:
                total = total + rest[count](channel_of(index)).astype("float32")
            return total.astype(dtype)

        return te.compute(call.out_shape(), element, name="y")

    return call.emit(emit(call, name, given, biased, lanes))


def multiply_stored(call: Call, weight: Stored) -> Expr:
    """Return input 0 x the weight (K, N), plus input 2, which is one number for each column."""

    def compute(x: Tensor, *stored: Tensor) -> Tensor:
        k = te.reduce_axis((0, weight.shape[0]), "k")

        def element(*index: Any) -> Any:
            value = x(*index[:-1], k).astype("float32")
            return te.sum(value * weight.at(stored, (k, index[-1])), axis=k)

        return te.compute(call.out_shape(), element, name="sums")

    return emit_product(call, "stored_matmul", weight, compute, lambda index: index[-1])
