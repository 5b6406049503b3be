"""Quantized operators, computed exactly: integers are multiplied and added as int32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from tvm import relax, te, tirx

from ..schedules.functions import let
from .call import Call, Converter, Expr, reshaped, scalar
from .elementwise import cast
from .rounding import whole
from .tiles import Tensor, at, emit
from .windows import convolve, window_of

op = relax.op

#: Scales between this and its reciprocal give normal numbers.
_LEAST: Final = 1e-30


def _aligned(call: Call, index: int, axis: int) -> Expr:
    """Return a scale or zero point so that it broadcasts with input 0.

    It is one number, one for each position of `axis`, or one for each block along it.
    """
    shape = call.shape(index)
    if math.prod(shape) == 1:
        return reshaped(call[index], ())
    block = call.attr("block_size", 0)
    if block:
        repeated = op.repeat(call[index], block, axis)
        size = call.shape()[axis]
        return op.strided_slice(repeated, [axis], [0], [size])
    return reshaped(call[index], [-1 if k == axis else 1 for k in range(call.rank())])


def rounded(call: Call, x: Expr, zero: Expr | None, dtype: str, wide: str) -> Expr:
    """Return round(x) + zero, saturated to the range of an integer dtype; x is of dtype `wide`."""
    low, high = _limits(dtype)
    x = op.round(x)
    if zero is not None:
        x = op.add(x, zero)
    return op.astype(op.minimum(op.maximum(x, scalar(low, wide)), scalar(high, wide)), dtype)


def _quantize(call: Call) -> Expr:
    """One loop: in the default code, the quotients would be a tensor of their own."""
    known = _constants(call)
    if known is not None:
        return call.builder.emit_te(
            _quantized(call, *known), call[0], primfunc_name_hint="quantize"
        )
    axis, dtype = call.axis(1), call.out_dtype()
    given = range(1, 3 if call.has(2) else 2)
    parameters = [
        call.emit(cast(_aligned(call, index, axis), call.dtype(index), "float32"))
        for index in given
    ]
    low, high = (tirx.const(float(end), "float32") for end in _limits(dtype))

    def compute(x: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        def element(*index: Any) -> Any:
            steps = tirx.nearbyint(x(*index).astype("float32") / at(scale, index))
            moved = steps + at(zero[0], index) if zero else steps
            return tirx.min(tirx.max(moved, low), high).astype(dtype)

        return te.compute(call.out_shape(), element, name="y")

    if call.core is not None:
        return call.builder.emit_te(compute, call[0], *parameters, primfunc_name_hint="quantize")
    return emit(call, "quantize", [call[0], *parameters], compute)


def _constants(call: Call) -> tuple[np.float32, int] | None:
    """Return the scale and the zero point of a tensor if they are constants, for code on CPUs.

    Not those whose reciprocal, or products with integers of the output, are no normal numbers.
    """
    given = [value for value in call.node.inputs[1:3] if value is not None]
    if call.core is None or any(value.const_value is None for value in given):
        return None
    if any(math.prod(call.shape(index)) != 1 for index in range(1, 1 + len(given))):
        return None
    scale = np.float32(call.array(1).astype(np.float32).item())
    zero = int(call.array(2).item()) if len(given) > 1 else 0
    return (scale, zero) if _LEAST < scale < 1 / _LEAST else None


def _quantized(call: Call, scale: np.float32, zero: int) -> Callable[[Tensor], Tensor]:
    """Return round(x / scale) + zero, saturated, with quotients as exact as a division's.

    Of a quotient q that is off by a unit in the last place, x - q scale has no rounding where a
    core adds products at once, and q + (x - q scale) / scale is the right one (P. Markstein,
    "Computation of elementary functions on the IBM RISC System/6000 processor", 1990, theorem 4).
    A division takes as long as ten multiplications.
    """

    def number(value: np.float32) -> Expr:
        return tirx.const(float(value), "float32")

    dtype = call.out_dtype()
    low, high = _limits(dtype)
    least, most = (np.float32(end - zero) * scale for end in (low, high))
    each, inverse = number(-scale), number(1 / scale)

    def compute(x: Tensor) -> Tensor:
        def element(*index: Any) -> Any:
            given = x(*index).astype("float32")
            bounded = tirx.max(tirx.min(given, number(most)), number(least))
            return let(bounded, quantized)

        def quantized(x: Expr) -> Expr:
            return let(x * inverse, lambda about: exact(x, about))

        def exact(x: Expr, about: Expr) -> Expr:
            return whole((about * each + x) * inverse + about, zero).astype(dtype)

        return te.compute(call.out_shape(), element, name="y")

    return compute


def _limits(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _dequantize(call: Call) -> Expr:
    axis, dtype = call.axis(1), call.out_dtype()
    x = cast(call[0], call.dtype(), "int32")
    if call.has(2):
        x = op.subtract(x, cast(_aligned(call, 2, axis), call.dtype(2), "int32"))
    scale = cast(_aligned(call, 1, axis), call.dtype(1), "float32")
    return cast(op.multiply(op.astype(x, "float32"), scale), "float32", dtype)


def _centred(call: Call, index: int, zero: int, shape: tuple[int, ...]) -> Expr:
    """Return an integer input less its zero point, as int32; `shape` aligns a vector of them."""
    x = cast(call[index], call.dtype(index), "int32")
    if not call.has(zero):
        return x
    point = call.emit(cast(call[zero], call.dtype(zero), "int32"))
    point = reshaped(point, () if math.prod(call.shape(zero)) == 1 else shape)
    return call.emit(op.subtract(x, point))


def _along(call: Call, index: int, axis: int) -> tuple[int, ...]:
    """Return the shape that aligns a scale or zero point with an axis of a matrix (from the back).

    A vector lies along it; a point of more dimensions already broadcasts.
    """
    if not call.has(index):
        return ()
    shape = call.shape(index)
    if len(shape) != 1:
        return shape
    return (-1, 1) if axis == -2 else (-1,)


def _matmul_integer(call: Call) -> Expr:
    a = _centred(call, 0, 2, _along(call, 2, -2))
    b = _centred(call, 1, 3, _along(call, 3, -1))
    return reshaped(call.emit(op.matmul(a, b, "int32")), call.out_shape())


def _requantized(call: Call, total: Expr, factor: Expr, zero: int) -> Expr:
    """Return the int32 sums times a float32 factor as the output's integers."""
    x = op.multiply(op.astype(total, "float32"), factor)
    point = cast(reshaped(call[zero], ()), call.dtype(zero), "float32")
    return rounded(call, x, point, call.out_dtype(), "float32")


def _scale(call: Call, index: int, shape: tuple[int, ...]) -> Expr:
    scale = cast(call[index], call.dtype(index), "float32")
    return reshaped(scale, () if math.prod(call.shape(index)) == 1 else shape)


def _qlinear_matmul(call: Call) -> Expr:
    """a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero."""
    a = _centred(call, 0, 2, _along(call, 2, -2))
    b = _centred(call, 3, 5, _along(call, 5, -1))
    factor = op.divide(
        op.multiply(_scale(call, 1, _along(call, 1, -2)), _scale(call, 4, _along(call, 4, -1))),
        _scale(call, 6, ()),
    )
    total = reshaped(call.emit(op.matmul(a, b, "int32")), call.out_shape())
    return _requantized(call, total, factor, 7)


def _conv_integer(call: Call) -> Expr:
    window = window_of(call)
    x = _centred(call, 0, 2, ())
    w = _centred(call, 1, 3, (-1, *(1,) * (window.rank + 1)))
    return convolve(call, window, x, w, "int32")


def _qlinear_conv(call: Call) -> Expr:
    """x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias (int32)."""
    window = window_of(call)
    channels = (1, -1, *(1,) * window.rank)
    x = _centred(call, 0, 2, ())
    w = _centred(call, 3, 5, (-1, *(1,) * (window.rank + 1)))
    total = convolve(call, window, x, w, "int32")
    if call.has(8):
        total = op.add(total, reshaped(call[8], (1, call.shape(8)[0], *(1,) * window.rank)))
    factor = op.divide(
        op.multiply(_scale(call, 1, ()), _scale(call, 4, channels)), _scale(call, 6, ())
    )
    return _requantized(call, total, factor, 7)


QUANTIZED: dict[str, Converter] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize,
}
