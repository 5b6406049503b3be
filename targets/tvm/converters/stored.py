"""Constant weights as they are stored, in 16, 8 or 4 bits, widened where a product reads them.

What depends on constants alone TVM computes once, when it compiles: it would keep such weights as
float32. So kernels of our own take them as they are stored. Each number is widened in a register,
each time it is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import onnx_ir as ir
from tvm import relax, s_tir, te, tirx

from ....lowering.integer_constants import IntegerConstant, integer_constant
from .call import HALF, Call, Expr, Shape, constant

#: TVM has no type hints: a tensor of its tensor expressions.
Tensor: TypeAlias = Any

#: `OpPatternKind`'s kOutEWiseFusable: what is done to each element of the result joins the kernel.
_FUSABLE: Final = 4

_FOUR_BITS: Final = (ir.DataType.INT4, ir.DataType.UINT4)
_INTEGERS: Final = (*_FOUR_BITS, ir.DataType.INT8, ir.DataType.UINT8)


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A constant weight (O, ..., I): scale x (numbers - zero), float32.

    Attributes:
        numbers: float16, bfloat16, int8 or uint8; or 4 bits, two in a byte of uint8 along the last
            axis, the first in the low half.
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
    def is_packed(self) -> bool:
        return self.numbers.shape != self.shape

    @property
    def arrays(self) -> list[np.ndarray]:
        """What a kernel takes, in the order in which `widened` does."""
        return [item for item in (self.numbers, self.scale, self.zero) if item is not None]

    def widened(self, numbers: Tensor, *parameters: Tensor) -> Tensor:
        """Return the weight as float32, to be computed where it is read."""

        def element(*index: Any) -> Any:
            rest = list(parameters)
            value = self._unpacked(numbers, index) if self.is_packed else numbers(*index)
            value = value.astype("float32")
            scale = self._at(rest.pop(0), index) if self.scale is not None else None
            if self.zero is not None:
                value = value - self._at(rest.pop(0), index)
            return value if scale is None else value * scale

        return te.compute(self.shape, element, name="widened")

    def _unpacked(self, numbers: Tensor, index: Sequence[Any]) -> Any:
        *outer, last = index
        byte = numbers(*outer, tirx.floordiv(last, 2)).astype("int32")
        bits = (byte >> (tirx.floormod(last, 2) * 4)) & 15
        return (bits ^ 8) - 8 if self.signed else bits

    def _at(self, parameter: Tensor, index: Sequence[Any]) -> Any:
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
        if str(array.dtype) not in HALF:
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
    if numbers.shape[-1] % 2:
        return numbers
    nibbles = (numbers & 15).astype(np.uint8)
    return nibbles[..., ::2] | (nibbles[..., 1::2] << 4)


def emit(
    call: Call,
    name: str,
    weight: Stored,
    compute: Callable[[Tensor, Tensor], Tensor],
) -> Expr:
    """Return the call of a new kernel of input 0 and a weight, float32.

    Args:
        compute: given input 0, in the dtype that the model states, and the weight, returns what
            the kernel gives, float32.
    """
    given = [call.given(0), *map(constant, weight.arrays)]
    tensors = [
        te.placeholder(tuple(int(dim) for dim in item.ty.shape), str(item.ty.dtype), f"p{index}")
        for index, item in enumerate(given)
    ]
    result = compute(tensors[0], weight.widened(*tensors[1:]))
    schedule = s_tir.Schedule(te.create_prim_func([*tensors, result], "int64"))
    schedule.compute_inline(schedule.get_sblock("widened"))
    function = schedule.mod["main"].without_attr("global_symbol").with_attr("op_pattern", _FUSABLE)
    kernel = call.builder.add_func(function, name)
    shape = tuple(int(dim) for dim in result.shape)
    return relax.call_tir(kernel, given, relax.TensorType(shape, "float32"))


def stored_matmul(call: Call, weight: Stored) -> Expr:
    """Return input 0 x weightᵀ, for a weight (O, I)."""

    def compute(x: Tensor, w: Tensor) -> Tensor:
        *outer, depth = x.shape
        k = te.reduce_axis((0, depth), "k")
        return te.compute(
            (*outer, weight.shape[0]),
            lambda *index: te.sum(x(*index[:-1], k).astype("float32") * w(index[-1], k), axis=k),
            name="product",
        )

    return emit(call, "stored_matmul", weight, compute)
