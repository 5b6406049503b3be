"""Convolutions and poolings, channels first (ONNX) and channels last (our own domain)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ....lowering.dialect import DOMAIN
from ....lowering.layout.nhwc import SUFFIXES
from ....lowering.spatial import window_attributes
from ..schedules.arithmetic import FLOATS
from .call import Call, Converter, Expr, constant, reshaped, scalar
from .depthwise import depthwise
from .products import product
from .reductions import extreme
from .stored import Stored, emit_product, stored_weight
from .tiles import Index, Tensor
from .window import SPACE, Window, read_window, taps_of, with_pads
from .winograd import winograd

op = relax.op

Pools = Mapping[int, Callable[..., Expr]]

_CONVOLUTIONS = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}
_MAX_POOLS = {1: op.nn.max_pool1d, 2: op.nn.max_pool2d, 3: op.nn.max_pool3d}
_AVERAGE_POOLS = {1: op.nn.avg_pool1d, 2: op.nn.avg_pool2d, 3: op.nn.avg_pool3d}


def window_of(call: Call) -> Window:
    """Return the window of a convolution or pooling, in either domain."""
    node = call.node
    if node.domain == DOMAIN:
        return _own_window(call)
    found: Mapping[str, Any] | None = window_attributes(node)
    if found is None:
        raise ValueError(f"the window of {node.op_type} does not give its output's shape")
    rank = len(found["kernel_shape"])
    return Window(
        kernel=found["kernel_shape"],
        strides=found["strides"],
        dilations=found["dilations"],
        begin=found["pads"][:rank],
        end=found["pads"][rank:],
        group=found.get("group", 1),
    )


def _own_window(call: Call) -> Window:
    kernel = tuple(call.attr("kernel_shape", call.shape(1)[2:] if call.has(1) else ()))
    rank = len(kernel)
    pads = tuple(call.attr("pads", (0,) * 2 * rank))
    return Window(
        kernel=kernel,
        strides=tuple(call.attr("strides", (1,) * rank)),
        dilations=tuple(call.attr("dilations", (1,) * rank)),
        begin=pads[:rank],
        end=pads[rank:],
        group=call.attr("group", 1),
        channels_last=True,
    )


def convolve(
    call: Call, window: Window, data: Expr, weight: Expr | np.ndarray, out_dtype: str | None = None
) -> Expr:
    """Return the convolution of `data` with an OIHW `weight`, in the window's data layout.

    A constant weight is repacked here, once; another one by the generated code.
    """
    space = SPACE[window.rank]
    kernel_layout = f"{space}IO" if window.channels_last else f"OI{space}"
    order = (*range(2, 2 + window.rank), 1, 0)
    if isinstance(weight, np.ndarray):
        kernel = constant(weight.transpose(order) if window.channels_last else weight)
    else:
        kernel = op.permute_dims(weight, order) if window.channels_last else weight
    return _CONVOLUTIONS[window.rank](
        data,
        kernel,
        strides=window.strides,
        padding=(*window.begin, *window.end),
        dilation=window.dilations,
        groups=window.group,
        data_layout=window.layout,
        kernel_layout=kernel_layout,
        out_dtype=out_dtype,
    )


def _convolve_stored(call: Call, window: Window, weight: Stored) -> Expr:
    """Return the convolution of input 0 with a weight (kernel, I, O), plus the bias."""
    *_, depth, outputs = weight.shape
    each = outputs // window.group  # output channels of a group

    def channel_of(index: Index) -> Any:
        return index[-1] if window.channels_last else index[1]

    def compute(x: Tensor, *stored: Tensor) -> Tensor:
        data, taps, inner = with_pads(x, window), taps_of(window), te.reduce_axis((0, depth), "ci")

        def element(*index: Any) -> Any:
            channel = channel_of(index)
            source = inner if window.group == 1 else tirx.floordiv(channel, each) * depth + inner
            value = read_window(data, window, index, source, taps).astype("float32")
            return te.sum(value * weight.at(stored, (*taps, inner, channel)), [*taps, inner])

        return te.compute(call.out_shape(), element, name="sums")

    alike = each if window.channels_last and each > 1 and window.group > 1 else None
    return emit_product(call, "stored_conv", weight, compute, channel_of, alike)


def weight_of(call: Call, index: int = 1) -> Expr | np.ndarray:
    """Return the weight as an array if it is constant, else as an expression."""
    value = call.node.inputs[index]
    return call[index] if value is None or value.const_value is None else call.array(index)


def add_bias(call: Call, window: Window, result: Expr, bias: Expr) -> Expr:
    """Add one number for each channel."""
    if window.channels_last:
        return op.add(result, bias)
    return op.add(result, reshaped(bias, (1, call.out_shape()[1], *(1,) * window.rank)))


def _conv(call: Call) -> Expr:
    window = window_of(call)
    if is_scheduled(call.native, window) and isinstance(weight_of(call.native), np.ndarray):
        call = call.native
    stored = stored_weight(call, (*range(2, 2 + window.rank), 1, 0))
    if stored is not None:
        return _convolve_stored(call, window, stored)
    weight = weight_of(call)
    fast = is_scheduled(call, window) and isinstance(weight, np.ndarray)
    result = (scheduled if fast else convolve)(call, window, call[0], weight)
    return add_bias(call, window, result, call[2]) if call.has(2) else result


def is_scheduled(call: Call, window: Window) -> bool:
    """Whether `schedules` knows how to compute a convolution whose weight is constant."""
    return call.core is not None and window.is_known and call.dtype() in FLOATS


def scheduled(call: Call, window: Window, data: Expr, weight: np.ndarray) -> Expr:
    """Return the convolution with a constant OIHW `weight`, as `schedules` computes it."""
    ordered = weight.transpose(*range(2, 2 + window.rank), 1, 0)
    if window.group > 1 and weight.shape[:2] == (window.group, 1):
        return depthwise(call, data, ordered[..., 0, :], window)
    fewer = winograd(call, data, ordered, window, call.out_shape())
    return product(call, data, ordered, window, call.out_shape()) if fewer is None else fewer


def _reaching(call: Call, window: Window) -> Window:
    """Return the window with end pads that make a plain pooling give the output's shape.

    With ``ceil_mode`` the last window may reach beyond the pads.
    """
    sizes = window.space(call.shape())
    outs = window.space(call.out_shape())
    end = tuple(
        (out - 1) * stride + extent - size - low
        for out, stride, extent, size, low in zip(
            outs, window.strides, window.extents, sizes, window.begin, strict=True
        )
    )
    # A window that does not reach the end needs no pad; a negative one is allowed to be 0.
    return dataclasses.replace(window, end=tuple(max(0, pad) for pad in end))


def _pool(call: Call, pools: Pools, window: Window, data: Expr, **more: bool) -> Expr:
    reaching = _reaching(call, window)
    return pools[window.rank](
        data,
        pool_size=window.kernel,
        strides=window.strides,
        padding=(*reaching.begin, *reaching.end),
        dilation=window.dilations,
        layout=window.layout,
        **more,
    )


def _max_pool(call: Call) -> Expr:
    return _pool(call, _MAX_POOLS, window_of(call), call[0])


def _average_pool(call: Call) -> Expr:
    window = window_of(call)
    mean = _pool(call, _AVERAGE_POOLS, window, call[0], count_include_pad=True)
    counts = _counts(call, window, bool(call.attr("count_include_pad", 0)))
    taps = math.prod(window.kernel)
    if (counts == taps).all():
        return mean
    return op.multiply(mean, constant((taps / counts).astype(call.dtype())))


def _counts(call: Call, window: Window, with_pads: bool) -> np.ndarray:
    """Return how many elements each mean is of; its shape broadcasts with the output's."""
    counts = np.ones((1,) * (window.rank + 2))
    first = 1 if window.channels_last else 2
    axes = zip(
        window.space(call.shape()), window.space(call.out_shape()), window.kernel, window.strides,
        window.dilations, window.begin, window.end, strict=True,
    )  # fmt: skip
    for axis, (size, out, kernel, stride, dilation, low, high) in enumerate(axes):
        taps = np.arange(out)[:, None] * stride - low + np.arange(kernel)[None, :] * dilation
        first_valid, end_valid = (-low, size + high) if with_pads else (0, size)
        valid = ((taps >= first_valid) & (taps < end_valid)).sum(axis=1)
        shape = [-1 if k == first + axis else 1 for k in range(window.rank + 2)]
        counts = counts * np.maximum(valid, 1).reshape(shape)
    return counts


def _lp_pool(call: Call) -> Expr:
    """(sum |x|^p)^(1/p), through the mean."""
    window, p = window_of(call), call.attr("p", 2)
    power = op.power(op.abs(call[0]), scalar(p, call.dtype()))
    mean = _pool(call, _AVERAGE_POOLS, window, power, count_include_pad=True)
    total = op.multiply(mean, scalar(math.prod(window.kernel), call.dtype()))
    return op.power(total, scalar(1 / p, call.dtype()))


def _space_axes(call: Call) -> list[int]:
    rank = call.rank()
    return list(range(1, rank - 1)) if call.node.domain == DOMAIN else list(range(2, rank))


def _global_lp_pool(call: Call) -> Expr:
    p, dtype = call.attr("p", 2), call.dtype()
    power = op.power(op.abs(call[0]), scalar(p, dtype))
    return op.power(op.sum(power, _space_axes(call), keepdims=True), scalar(1 / p, dtype))


def _global_average(call: Call) -> Expr:
    return op.mean(call[0], _space_axes(call), keepdims=True)


def _global_max(call: Call) -> Expr:
    return extreme(call, call[0], _space_axes(call), largest=True)


WINDOWS: dict[str, Converter] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "GlobalAveragePool": _global_average,
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": _global_max,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}

#: The operators of our own domain: the same, with data channels-last.
CHANNELS_LAST: dict[str, Converter] = {
    f"{name}{layout}": WINDOWS[name]
    for name in ("AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
    for layout in SUFFIXES.values()
}
