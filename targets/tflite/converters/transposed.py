"""Transposed convolutions, channels last."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..call import Call, Constant, Converter, Shape
from .windows import pad

#: Writes what it makes of a tensor into another.
_Step = Callable[[Call, int, int], None]


def conv_transpose(call: Call) -> None:
    """The whole reach of every window by TRANSPOSE_CONV, of which the pads cut the borders off."""
    kernel = _Kernel(call)
    n, *space, channels = call.shape()
    size = _lead(space, 1)
    strides, extra = _pair(call, "strides", 1), _pair(call, "output_padding", 0)
    pads = tuple(call.attr("pads"))
    begins, ends = _lead(pads[: len(space)], 0), _lead(pads[len(space) :], 0)
    reach = tuple(
        (pixels - 1) * stride + taps + more
        for pixels, stride, taps, more in zip(size, strides, kernel.size, extra, strict=True)
    )
    count = call.out_shape()[-1]
    full: Shape = (n, *reach, count)
    image: Shape = (n, *(a - b - c for a, b, c in zip(reach, begins, ends, strict=True)), count)
    steps: list[tuple[_Step, Shape]] = [(functools.partial(_reached, kernel, strides), full)]
    if image != full:
        steps.append((functools.partial(_cut, (0, *begins, 0)), image))
    if call.has(2) and not call.integer:
        steps.append((_biased, image))
    if call.activation != "NONE":
        steps.append((_bounded, image))
    if len(space) == 1:
        steps.append((_as_signal, call.out_shape()))
    data = call.reshape(call.input(), (n, *size, channels))
    for number, (step, shape) in enumerate(steps, 1):
        last = number == len(steps)
        made = call.output() if last else call.temporary(shape, call.output(), f"step_{number}")
        step(call, data, made)
        data = made


class _Kernel:
    """The weights: input x output x height x width, with zeros where they are dilated."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._dilations = _pair(call, "dilations", 1)
        self._shape: Shape = (*call.shape(1)[:2], *_lead(call.shape(1)[2:], 1))
        self._constant = call.constant(1)
        if self._constant is not None:
            found = self._constant
            if not call.integer and found.quantization is not None:
                found = Constant(found.reals())
            found = found.reshaped(self._shape, 1)
            self._constant = Constant(_spread(found.array, self._dilations), found.quantization)
        self.size = tuple(
            (k - 1) * d + 1 for k, d in zip(self._shape[2:], self._dilations, strict=True)
        )

    def of_group(self, index: int, depth: int) -> int:
        """Return the weights of a group of channels, output x height x width x input."""
        call = self._call
        if self._constant is not None:
            array = self._constant.array[index * depth : (index + 1) * depth]
            part = Constant(array, self._constant.quantization)
            return call.weights(part.transposed((1, 2, 3, 0)))
        weights = call.reshape(call.input(1), self._shape)
        for axis in (2, 3):
            weights = self._apart(weights, axis)
        if depth != self._shape[0]:
            part_of = call.temporary(
                (depth, *call.shape_of(weights)[1:]), weights, f"weights_{index}"
            )
            _cut((index * depth, 0, 0, 0), call, weights, part_of)
            weights = part_of
        return call.transpose(weights, (1, 2, 3, 0))

    def _apart(self, weights: int, axis: int) -> int:
        """Put zeros between computed weights along an axis, as many as it is dilated by."""
        call, step, size = self._call, self._dilations[axis - 2], self.size[axis - 2]
        if step == 1:
            return weights
        shape = call.shape_of(weights)
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        rows = call.reshape(weights, (outer, shape[axis], 1, inner))
        wide = pad(call, rows, [(0, 0), (0, 0), (0, step - 1), (0, 0)])
        flat = call.reshape(wide, (outer, shape[axis] * step, inner))
        cut = call.temporary((outer, size, inner), flat, f"apart_{axis}")
        _cut((0, 0, 0), call, flat, cut)
        return call.reshape(cut, (*shape[:axis], size, *shape[axis + 1 :]))


def _lead(values: Any, filling: int) -> tuple[int, int]:
    """Return two numbers: of a signal, what holds for its height first."""
    found = tuple(map(int, values))
    return (filling, found[0]) if len(found) == 1 else (found[0], found[1])


def _pair(call: Call, name: str, default: int) -> tuple[int, int]:
    return _lead(call.attr(name), default)


def _spread(weight: np.ndarray, dilations: tuple[int, int]) -> np.ndarray:
    """Return the kernel with zeros between its numbers: TRANSPOSE_CONV has no dilations."""
    sizes = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    found = np.zeros((*weight.shape[:2], *sizes), weight.dtype)
    found[:, :, :: dilations[0], :: dilations[1]] = weight
    return found


def _reached(kernel: _Kernel, strides: tuple[int, int], call: Call, data: int, made: int) -> None:
    """Let every window reach as far as it does, group by group."""
    group = int(call.attr("group"))
    if group == 1:
        _group(call, data, made, 0, kernel, strides)
        return
    given, wanted = call.shape_of(data), call.shape_of(made)
    sources, results = (
        [
            call.temporary((*shape[:3], shape[3] // group), like, f"{name}_{index}")
            for index in range(group)
        ]
        for shape, like, name in ((given, data, "group"), (wanted, made, "reach"))
    )
    axis = call.make(np.array(3, np.int32), "axis")
    call.emit("SPLIT", [axis, data], sources, ("SplitOptions", {"numSplits": group}))
    for index, (source, result) in enumerate(zip(sources, results, strict=True)):
        _group(call, source, result, index, kernel, strides)
    fields = {"axis": 3, "fusedActivationFunction": 0}
    call.emit("CONCATENATION", results, made, ("ConcatenationOptions", fields))


def _group(
    call: Call, data: int, made: int, index: int, kernel: _Kernel, strides: tuple[int, int]
) -> None:
    shape = call.shape_of(made)
    depth, count = call.shape_of(data)[3], shape[3]
    inputs = [call.int32(shape, "shape"), kernel.of_group(index, depth), data]
    bias = call.constant(2) if call.has(2) else None
    if call.integer and bias is not None:
        inputs.append(call.make(bias.part(index * count, (index + 1) * count), "bias"))
    fields = {"padding": schema.Padding.VALID, "strideH": strides[0], "strideW": strides[1]}
    call.emit("TRANSPOSE_CONV", inputs, made, ("TransposeConvOptions", fields))


def _cut(begin: Shape, call: Call, data: int, made: int) -> None:
    inputs = [data, call.int32(begin, "begin"), call.int32(call.shape_of(made), "size")]
    call.emit("SLICE", inputs, made, ("SliceOptions", {}))


def _biased(call: Call, data: int, made: int) -> None:
    """Add the bias, which TRANSPOSE_CONV takes from its third version on."""
    found = call.constant(2)
    bias = call.input(2) if found is None else call.weights(Constant(found.reals()))
    call.emit("ADD", [data, bias], made, ("AddOptions", {"fusedActivationFunction": 0}))


def _bounded(call: Call, data: int, made: int) -> None:
    call.emit(call.activation, [data], made)


def _as_signal(call: Call, data: int, made: int) -> None:
    call.reshape(data, call.shape_of(made), made)


TRANSPOSED: Final[dict[str, Converter]] = dict.fromkeys(
    ("ConvTransposeNhwc", "ConvTransposeNwc"), conv_transpose
)
