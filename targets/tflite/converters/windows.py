"""Convolutions and poolings, channels last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..activations import activation_code
from ..call import Call, Constant, Converter, NotSaidError, Said

_SAME: Final = schema.Padding.SAME
_VALID: Final = schema.Padding.VALID

Ints = Sequence[int]


class Window:
    """The window of a Conv or pooling over images; of signals, as images of height 1."""

    def __init__(self, call: Said) -> None:
        self.is_signal = call.rank() == 3
        lead = (1,) if self.is_signal else ()
        zeros = (0,) if self.is_signal else ()
        pads = tuple(call.attr("pads"))
        half = len(pads) // 2
        self.kernel = lead + tuple(call.attr("kernel_shape"))
        self.strides = lead + tuple(call.attr("strides"))
        self.dilations = lead + tuple(call.attr("dilations"))
        self.begins = zeros + pads[:half]
        self.ends = zeros + pads[half:]
        self.input = self.image(call.shape())
        self.output = self.image(call.out_shape())

    def image(self, shape: Ints) -> tuple[int, ...]:
        return (shape[0], 1, *shape[1:]) if self.is_signal else tuple(shape)

    def data(self, call: Call) -> int:
        """Return the input as images."""
        return call.reshape(call.input(), self.input)

    def is_same(self) -> bool:
        """Whether the padding is what TFLite computes for SAME."""
        for axis in range(2):
            size, count = self.input[1 + axis], self.output[1 + axis]
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            total = max((count - 1) * self.strides[axis] + reach - size, 0)
            if -(-size // self.strides[axis]) != count:
                return False
            if (self.begins[axis], self.ends[axis]) != (total // 2, total - total // 2):
                return False
        return True

    def is_dilated(self) -> bool:
        return any(size != 1 for size in self.dilations)

    def missing(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return what must be added on each side so that VALID sees what the node sees.

        With ``ceil_mode`` the last window may reach further than the padding.
        """
        found = []
        for axis in range(2):
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            needed = (self.output[1 + axis] - 1) * self.strides[axis] + reach
            end = needed - self.input[1 + axis] - self.begins[axis]
            found.append((self.begins[axis], max(end, 0)))
        return found[0], found[1]

    def padded(self, call: Call, value: float | None = None) -> tuple[int, int]:
        """Return the input, padded if it must be, and the Padding that remains.

        Args:
            value: what to pad with; None: zero.
        """
        if self.is_same():
            return self.data(call), _SAME
        return self.widened(call, value), _VALID

    def widened(self, call: Call, value: float | None = None) -> int:
        """Return the input with its padding as data."""
        data, missing = self.data(call), self.missing()
        if not any(map(any, missing)):
            return data
        return pad(call, data, [(0, 0), *missing, (0, 0)], value)

    def fields(self, call: Call, padding: int) -> dict[str, Any]:
        return {
            "padding": padding,
            "strideH": self.strides[0],
            "strideW": self.strides[1],
            "fusedActivationFunction": activation_code(call.activation),
        }

    def emit(
        self, call: Call, operator: str, inputs: Ints, options: tuple[str, dict[str, Any]] | None
    ) -> None:
        """Add the operator; of a signal, give its result the signal's shape again."""
        output = call.output()
        if not self.is_signal:
            call.emit(operator, inputs, output, options)
            return
        image = call.temporary(self.output, output, "image")
        call.emit(operator, inputs, image, options)
        call.reshape(image, call.out_shape(), output)


def pad(
    call: Call, data: int, amounts: Sequence[tuple[int, int]], value: float | None = None
) -> int:
    """Pad a tensor; of integers, the value is a real number that they must be able to hold."""
    shape = [size + sum(pair) for size, pair in zip(call.shape_of(data), amounts, strict=True)]
    output = call.temporary(shape, data, "padded")
    sizes = call.make(np.array(amounts, np.int32), "pads")
    if value is None:
        call.emit("PAD", [data, sizes], output, ("PadOptions", {}))
    else:
        filling = filling_of(call, data, value)
        call.emit("PADV2", [data, sizes, filling], output, ("PadV2Options", {}))
    return output


def filling_of(call: Call, data: int, value: float) -> int:
    """Return a scalar in the dtype and with the meaning of a tensor's numbers.

    Args:
        value: a real number; where the node itself is one on integers, such an integer.
    """
    known = call.writer.tensors[data]
    if known.quantization is None or not call.integer:
        return call.make(Constant(np.array(value, known.dtype), known.quantization), "filling")
    limits = np.iinfo(known.dtype)
    scale, zero = float(known.quantization.scale[0]), int(known.quantization.zero_point[0])
    stored = np.clip(np.rint(value / scale) + zero, limits.min, limits.max)
    return call.make(Constant(np.array(stored, known.dtype), known.quantization), "filling")


def conv(call: Call) -> None:
    window = Window(call)
    weight = call.constant(1)
    out, inner = call.shape(1)[:2]
    if window.is_signal and weight is not None:
        weight = weight.reshaped((out, inner, 1, call.shape(1)[2]), 0)
    group, channels = int(call.attr("group")), window.input[3]
    data, padding = window.padded(call)
    dilation = {"dilationHFactor": window.dilations[0], "dilationWFactor": window.dilations[1]}
    fields = {**window.fields(call, padding), **dilation}
    deep = group == channels and inner == 1
    perm = (1, 2, 3, 0) if deep else (0, 2, 3, 1)
    if weight is None:
        images = call.reshape(call.input(1), (out, inner, *window.kernel))
        kernel = call.transpose(images, perm)
    else:
        kernel = call.weights(weight.transposed(perm))
    inputs = [data, kernel, _bias(call, weight, out)]
    if deep:
        fields["depthMultiplier"] = out // channels
        window.emit(call, "DEPTHWISE_CONV_2D", inputs, ("DepthwiseConv2DOptions", fields))
        return
    window.emit(call, "CONV_2D", inputs, ("Conv2DOptions", fields))


def _bias(call: Call, weight: Constant | None, count: int) -> int:
    """Return the bias; kernels want one."""
    if not call.has(2):
        return no_bias(call, weight, count)
    found = call.constant(2)
    return call.input(2) if found is None else call.weights(found)


def no_bias(call: Call, weight: Constant | None, count: int) -> int:
    """Return a bias of zeros; beside integers, with the scale of their sums."""
    if weight is None or weight.quantization is None or not call.integer:
        return call.make(np.zeros(count, np.float32), "bias")
    data = call.writer.tensors[call.input()].quantization
    if data is None:
        raise NotSaidError("its input has no scale")
    scale = (data.scale.astype(np.float64) * weight.quantization.scale).astype(np.float32)
    quantization = type(data)(scale, np.zeros(scale.shape, np.int64), 0)
    return call.make(Constant(np.zeros(count, np.int32), quantization), "bias")


def max_pool(call: Call) -> None:
    window = Window(call)
    known = call.writer.tensors[call.input()]
    # What pads the map must never be the largest number.
    if window.is_dilated() or (known.dtype != "float32" and known.quantization is None):
        _slide(call, window, _least(call))
        return
    data, padding = window.padded(call, _least(call))
    _pool(call, window, "MAX_POOL_2D", data, padding)


def _least(call: Call) -> float:
    known = call.writer.tensors[call.input()]
    if known.dtype == "float32":
        return float(np.finfo(np.float32).min)
    low = int(np.iinfo(known.dtype).min)
    if known.quantization is None or not call.integer:
        return low
    return float((low - int(known.quantization.zero_point[0])) * known.quantization.scale[0])


def average_pool(call: Call) -> None:
    window = Window(call)
    if not is_even(call):
        _uneven(call, window)
    elif _is_same_mean(call, window):
        _pool(call, window, "AVERAGE_POOL_2D", window.data(call), _SAME)
    else:
        _pool(call, window, "AVERAGE_POOL_2D", window.widened(call), _VALID)


def _is_same_mean(call: Said, window: Window) -> bool:
    """Whether SAME says it: TFLite leaves the padding of SAME out of the mean."""
    pads = any(map(any, window.missing()))
    return window.is_same() and not (pads and call.attr("count_include_pad", 0))


def is_even(call: Said) -> bool:
    """Whether AVERAGE_POOL_2D computes the mean, with its padding as SAME, data, or not at all."""
    window = Window(call)
    if window.is_dilated():
        return False
    missing = window.missing()
    if _is_same_mean(call, window) or not any(map(any, missing)):
        return True
    beyond = any(pair[1] > end for pair, end in zip(missing, window.ends, strict=True))
    return bool(call.attr("count_include_pad", 0)) and not beyond


def _uneven(call: Call, window: Window) -> None:
    """Take means over windows of different sizes, or of gaps: sums, times a constant map."""
    counts = _counts(window, counts_padding=bool(call.attr("count_include_pad", 0)))
    data, output = window.widened(call), call.output()
    if window.is_dilated():
        total, size = slid(call, window, data, "ADD"), 1
    else:
        total, size = call.temporary(window.output, output, "mean"), math.prod(window.kernel)
        fields = {**window.fields(call, _VALID), "filterHeight": window.kernel[0]}
        fields |= {"filterWidth": window.kernel[1], "fusedActivationFunction": 0}
        call.emit("AVERAGE_POOL_2D", [data], total, ("Pool2DOptions", fields))
    factor = call.make((size / counts).astype(np.float32)[None, :, :, None], "factors")
    options = {"fusedActivationFunction": activation_code(call.activation)}
    window.emit(call, "MUL", [total, factor], ("MulOptions", options))


def _counts(window: Window, *, counts_padding: bool) -> np.ndarray:
    """Return how many numbers each window takes the mean of, height x width."""
    counts = []
    for axis, (begin, end) in enumerate(window.missing()):
        size, kernel, dilation = window.input[1 + axis], window.kernel[axis], window.dilations[axis]
        inside = np.zeros(begin + size + end)
        inside[begin : begin + size] = 1
        if counts_padding:
            inside[: begin + size + window.ends[axis]] = 1
        starts = np.arange(window.output[1 + axis]) * window.strides[axis]
        places = starts[:, None] + np.arange(kernel) * dilation
        counts.append(inside[places].sum(axis=1))
    return np.asarray(counts[0][:, None] * counts[1][None, :])


def slid(call: Call, window: Window, data: int, operator: str, output: int | None = None) -> int:
    """Combine what windows see in steps of their dilation, along one axis and then the other.

    Args:
        data: with its padding.
        operator: MAXIMUM or ADD.
        output: the tensor of the result; None: a new one.
    """
    options = ("AddOptions", {"fusedActivationFunction": 0})
    named = options if operator == "ADD" else ("MaximumMinimumOptions", dict[str, Any]())
    for axis in (1, 2):
        stride, count = window.strides[axis - 1], window.output[axis]
        shape = list(call.shape_of(data))
        begin, end, steps = [0] * 4, list(shape), [1] * 4
        shape[axis], steps[axis] = count, stride
        total, taps = None, window.kernel[axis - 1]
        for tap in range(taps):
            begin[axis] = tap * window.dilations[axis - 1]
            end[axis] = begin[axis] + (count - 1) * stride + 1
            given = map(call.int32, (begin, end, steps), ("begin", "end", "strides"))
            last = output if axis == 2 and tap == taps - 1 else None
            made = call.temporary(shape, data, f"taps_{axis}_{tap}") if last is None else last
            part = made if total is None else call.temporary(shape, data, f"tap_{axis}_{tap}")
            call.emit("STRIDED_SLICE", [data, *given], part, ("StridedSliceOptions", {}))
            if total is not None:
                call.emit(operator, [total, part], made, named)
            total = made
        data = data if total is None else total
    return data


def _slide(call: Call, window: Window, filling: float) -> None:
    """Take maxima over windows that MAX_POOL_2D has no kernel for."""
    data, plain = window.widened(call, filling), call.activation == "NONE"
    if plain and not window.is_signal:
        slid(call, window, data, "MAXIMUM", call.output())
        return
    found = slid(call, window, data, "MAXIMUM")
    if not plain:
        window.emit(call, call.activation, [found], None)
        return
    call.reshape(found, call.out_shape(), call.output())


def _pool(call: Call, window: Window, operator: str, data: int, padding: int) -> None:
    fields = window.fields(call, padding)
    fields |= {"filterHeight": window.kernel[0], "filterWidth": window.kernel[1]}
    window.emit(call, operator, [data], ("Pool2DOptions", fields))


def _global(operator: str) -> Converter:
    def convert(call: Call) -> None:
        axes = call.int32(range(1, call.rank() - 1), "axes")
        call.emit(operator, [call.input(), axes], None, ("ReducerOptions", {"keepDims": True}))

    return convert


WINDOWS: Final[dict[str, Converter]] = {
    f"{name}{suffix}": converter
    for suffix in ("Nhwc", "Nwc")
    for name, converter in {
        "AveragePool": average_pool,
        "Conv": conv,
        "GlobalAveragePool": _global("MEAN"),
        "GlobalMaxPool": _global("REDUCE_MAX"),
        "MaxPool": max_pool,
    }.items()
}
