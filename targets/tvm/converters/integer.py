"""Our integer operators (`lowering.integer`): int8 or uint8 in, int32 sums, requantized at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ....lowering.integer import Operator, operators
from ..schedules.lookups import LOOKUP
from .call import Call, Converter, Expr, Shape, core_of
from .integer_depthwise import integer_depthwise
from .products import POINT, integer_product
from .rounding import whole
from .short_depthwise import short_depthwise
from .tiles import OPAQUE, Index, Tensor, at, emit
from .window import Window, read_window, taps_of, with_pads
from .windows import window_of


def _operator(call: Call) -> Operator:
    return operators()[call.node.op_type]


def _wide(value: Any) -> Any:
    return value.astype("int32")


def _scaled(
    call: Call, sums: Callable[[Index], Any], multiplier: Any, shape: Shape | None = None
) -> Tensor:
    """Return float32(sums) x multiplier, rounded and bounded unless the operator gives floats.

    Args:
        multiplier: a tensor, or one number.
        shape: of the sums, where it is not that of the output.
    """
    floats = _operator(call).floats
    dtype = call.out_dtype()
    low, high = int(call.attr("low", 0)), int(call.attr("high", 0))
    zero = 0 if floats else int(call.array(len(call.inputs) - 1))

    def element(*index: Any) -> Any:
        factor = at(multiplier, index) if isinstance(multiplier, te.Tensor) else multiplier
        real = sums(index).astype("float32") * factor
        return real if floats else _rounded(real, low, high, zero).astype(dtype)

    return te.compute(shape or call.out_shape(), element, name="y")


def _rounded(real: Any, low: int, high: int, zero: int) -> Any:
    """Return clip(round(real) + zero, low, high) as int32.

    Between bounds that are whole, it does not matter whether a number is rounded or bounded first.
    """
    least, most = (tirx.const(float(end - zero), "float32") for end in (low, high))
    return whole(tirx.max(tirx.min(real, most), least), zero)


def _biased(call: Call, sums: Tensor, bias: Tensor, multiplier: Tensor) -> Tensor:
    shape = tuple(int(dim) for dim in sums.shape)
    return _scaled(call, lambda index: sums(*index) + at(bias, index), multiplier, shape)


def _centre(call: Call, index: int) -> Any:
    """Return the integer that is input `index`, a zero point or a factor, as a constant."""
    return tirx.const(int(call.array(index)), "int32")


def _window(call: Call) -> Window:
    return dataclasses.replace(window_of(call), channels_last=_operator(call).rank is not None)


def _conv(call: Call) -> Expr:
    """x, w (O x I/group x kernel), bias, multiplier, x_zero_point."""
    window, zero = _window(call), _centre(call, 4)
    weight = call.array(1)
    ordered = weight.transpose(*range(2, 2 + window.rank), 1, 0)
    if _is_product(call, window):
        return _product(call, ordered, window)
    if _is_depthwise(call, window):
        kernel = ordered[..., 0, :]
        made = integer_depthwise if core_of(call).alone.together > 1 else short_depthwise
        sums, lacking = made(call, call[0], kernel, window, int(call.array(4)))
        return _requantized(call, sums, call.array(2) + lacking, call.array(3))
    outputs, depth = weight.shape[:2]
    each = outputs // window.group  # output channels of a group

    def compute(x: Tensor, w: Tensor, bias: Tensor, multiplier: Tensor) -> Tensor:
        data = with_pads(x, window, int(call.array(4)))
        taps, inner = taps_of(window), te.reduce_axis((0, depth), "ci")

        def element(*index: Any) -> Any:
            channel = index[-1] if window.channels_last else index[1]
            source = inner if window.group == 1 else tirx.floordiv(channel, each) * depth + inner
            value = _wide(read_window(data, window, index, source, taps)) - zero
            return te.sum(value * _wide(w(*taps, inner, channel)), axis=[*taps, inner])

        return _biased(call, te.compute(call.out_shape(), element, name="sums"), bias, multiplier)

    order = (*range(2, weight.ndim), 1, 0)
    arguments = [call[0], np.ascontiguousarray(weight.transpose(order)), call[2], call[3]]
    alike = each if window.channels_last and each > 1 and window.group > 1 else None
    return emit(call, "integer_conv", arguments, compute, alike)


def _is_product(call: Call, window: Window) -> bool:
    """Whether `schedules` knows how to compute a convolution."""
    if call.core is None or not window.is_known:
        return False
    outputs, inputs = call.shape(1)[:2]
    if window.group == 1:
        return True
    return inputs > 1 and outputs // window.group % call.core.integers.least_lanes == 0


def _is_depthwise(call: Call, window: Window) -> bool:
    """Whether `schedules` knows how to compute a convolution of each channel by itself."""
    if call.core is None or not window.is_known:
        return False
    arithmetic, each_alone = call.core.alone, call.shape(1)[:2] == (window.group, 1)
    if arithmetic.together > 1:
        each_alone = each_alone and window.dilations[-1] == 1
    return each_alone and window.group % arithmetic.least_lanes == 0


def _product(call: Call, weight: np.ndarray, window: Window) -> Expr:
    """Return the requantized product of channels-last data with a weight (kernel, I, O).

    Output channels are added where the shortest vectors would not be full, and cut off at the end.
    """
    *lead, channels = call.out_shape()
    spare = -channels % core_of(call).integers.least_lanes

    def filled(array: np.ndarray) -> np.ndarray:
        """Return an array, by output channels, with zeros for those that are added."""
        along = np.broadcast_to(array, (*array.shape[:-1], channels))
        return np.pad(along, [(0, 0)] * (along.ndim - 1) + [(0, spare)])

    shape = (*lead, channels + spare)
    point = int(call.array(4))
    sums, lacking = integer_product(call, call[0], filled(weight), window, shape, point)
    bias, multiplier = (filled(np.atleast_1d(call.array(index))) for index in (2, 3))

    y = _requantized(call, sums, bias + lacking, multiplier)
    return relax.op.strided_slice(y, [len(lead)], [0], [channels]) if spare else y


def _requantized(call: Call, sums: Expr, bias: np.ndarray, multiplier: np.ndarray) -> Expr:
    """Return the sums of a kernel with a bias as the operator's output; TVM fuses it with them."""

    def compute(*tensors: Tensor) -> Tensor:
        return _biased(call, *tensors)

    parameters = (relax.const(bias), relax.const(multiplier))
    return call.builder.emit_te(compute, sums, *parameters, primfunc_name_hint="requantize")


def _matmul(call: Call) -> Expr:
    """x, w (K x N), bias, multiplier, x_zero_point."""
    zero = _centre(call, 4)
    if call.core is not None and call.rank() > 1:
        return _product(call, call.array(1)[None], POINT)

    def compute(x: Tensor, w: Tensor, bias: Tensor, multiplier: Tensor) -> Tensor:
        k = te.reduce_axis((0, call.shape(1)[0]), "k")

        def element(*index: Any) -> Any:
            return te.sum((_wide(x(*index[:-1], k)) - zero) * _wide(w(k, index[-1])), axis=[k])

        return _biased(call, te.compute(call.out_shape(), element, name="sums"), bias, multiplier)

    return emit(call, "integer_matmul", [call[0], call[1], call[2], call[3]], compute)


def _average_pool(call: Call) -> Expr:
    """x, multiplier (which divides by the count), x_zero_point; no window is partly outside."""
    window, zero = _window(call), _centre(call, 2)

    def compute(x: Tensor, multiplier: Tensor) -> Tensor:
        data = with_pads(x, window, int(call.array(2)))
        taps = taps_of(window)

        def element(*index: Any) -> Any:
            channel = index[-1] if window.channels_last else index[1]
            return te.sum(_wide(read_window(data, window, index, channel, taps)) - zero, axis=taps)

        sums = te.compute(call.out_shape(), element, name="sums")
        return _scaled(call, lambda index: sums(*index), multiplier)

    return emit(call, "integer_average", [call[0], call[1]], compute)


def _elementwise(
    call: Call,
    name: str,
    count: int,
    multiplier: int,
    total: Callable[[Sequence[Tensor], Index], Any],
) -> Expr:
    """Return the call of a kernel that computes each number from those at the same place.

    Args:
        count: of inputs that are tensors.
        multiplier: the input that is the multiplier. One number is part of the kernel, which TVM
            can fuse then with the kernel before.
        total: returns an int32 of the tensors, and of the index of an element.
    """
    scale = call.array(multiplier)
    is_number = scale.size == 1
    arguments = [call[index] for index in (*range(count), *(() if is_number else (multiplier,)))]

    def compute(*tensors: Tensor) -> Tensor:
        factor = tirx.const(float(scale.item()), "float32") if is_number else tensors[-1]
        return _scaled(call, lambda index: total(tensors, index), factor)

    if call.core is None:
        return emit(call, name, arguments, compute)
    return call.builder.emit_te(compute, *arguments, primfunc_name_hint=name)


def _at(call: Call, tensor: Tensor, index: Index) -> Any:
    """Return the element of an input that belongs to an index of the output.

    TVM takes it for no broadcasting only if the index is the very same.
    """
    is_alike = tuple(int(dim) for dim in tensor.shape) == call.out_shape()
    return tensor(*index) if is_alike else at(tensor, index)


def _add(call: Call) -> Expr:
    """a, b, bias, multiplier, a_factor, b_factor."""
    first, second, bias = (_centre(call, index) for index in (4, 5, 2))

    def total(tensors: Sequence[Tensor], index: Index) -> Any:
        a, b = (_wide(_at(call, tensor, index)) for tensor in tensors[:2])
        return a * first + b * second + bias

    return _elementwise(call, "integer_add", 2, 3, total)


def _mul(call: Call) -> Expr:
    """a, b, multiplier, a_zero_point, b_zero_point."""
    zeros = [_centre(call, index) for index in (3, 4)]

    def total(tensors: Sequence[Tensor], index: Index) -> Any:
        a, b = (
            _wide(_at(call, tensor, index)) - zero
            for tensor, zero in zip(tensors[:2], zeros, strict=True)
        )
        return a * b

    return _elementwise(call, "integer_mul", 2, 2, total)


def _rescale(call: Call) -> Expr:
    """x, multiplier, x_zero_point."""
    zero = _centre(call, 2)
    return _elementwise(
        call, "integer_rescale", 1, 1, lambda tensors, index: _wide(tensors[0](*index)) - zero
    )


def _table(call: Call) -> Expr:
    """x, table (in the order of integers modulo 256)."""

    def compute(x: Tensor, table: Tensor) -> Tensor:
        return te.compute(call.out_shape(), lambda *index: table(_wide(x(*index)) & 255), name="y")

    if call.core is None:
        return emit(call, "integer_table", [call[0], call[1]], compute)
    # By itself: with whatever it follows, vectors would be those of sums, of fewer numbers.
    attributes: dict[str, Any] = {"op_pattern": OPAQUE}
    if call.core.lookup:
        attributes[LOOKUP] = call.core.lookup
    return call.builder.emit_te(
        compute, call[0], call[1], primfunc_name_hint="table", primfunc_attrs=attributes
    )


_KINDS: dict[str, Converter] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "Conv": _conv,
    "MatMul": _matmul,
    "Mul": _mul,
    "Rescale": _rescale,
    "Table": _table,
}

#: The operators of our own domain that `lowering.integer` defines.
INTEGER: dict[str, Converter] = {name: _KINDS[item.base] for name, item in operators().items()}
