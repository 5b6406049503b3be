"""ConvTranspose, which the canonical form has channels-first: through channels-last and back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..call import Call, Constant, Converter, NotSaidError


def conv_transpose(call: Call) -> None:
    """The whole reach of every window by TRANSPOSE_CONV, of which the pads cut the borders off."""
    kernel = _kernel(call)
    group = int(call.attr("group", 1))
    n, channels, *space = call.shape()
    height, width = _lead(space, 1)
    strides, extra = _pair(call, "strides", 1), _pair(call, "output_padding", 0)
    pads = tuple(call.attr("pads", (0,) * 2 * len(space)))
    half = len(pads) // 2
    begins, ends = _lead(pads[:half], 0), _lead(pads[half:], 0)
    data = call.transpose(call.reshape(call.input(), (n, channels, height, width)), (0, 2, 3, 1))
    full = [
        (size - 1) * stride + reach + more
        for size, stride, reach, more in zip(
            (height, width), strides, kernel.array.shape[2:], extra, strict=True
        )
    ]
    parts = [
        _part(call, item, index, kernel, (n, *full), strides)
        for index, item in enumerate(_groups(call, data, group))
    ]
    made = parts[0] if group == 1 else _joined(call, parts)
    if any((*begins, *ends)):
        sizes = [whole - a - b for whole, a, b in zip(full, begins, ends, strict=True)]
        made = _cut(call, made, (0, *begins, 0), (n, *sizes, call.shape_of(made)[3]))
    if call.has(2) and not call.integer:
        made = _biased(call, made)
    if call.activation != "NONE":
        bounded = call.temporary(call.shape_of(made), made, "bounded")
        call.emit(call.activation, [made], bounded)
        made = bounded
    if len(space) == 2:
        call.transpose(made, (0, 3, 1, 2), call.output())
    else:
        call.reshape(call.transpose(made, (0, 3, 1, 2)), call.out_shape(), call.output())


def _kernel(call: Call) -> Constant:
    """Return the weights, input x output x height x width, with zeros where they are dilated."""
    found = call.constant(1)
    if found is None:
        raise NotSaidError("its weights are not constant")
    if not call.integer:
        found = Constant(found.reals())
    if found.array.ndim == 3:
        rows, columns, size = found.array.shape
        found = found.reshaped((rows, columns, 1, size), 1)
    return Constant(_spread(found.array, _pair(call, "dilations", 1)), found.quantization)


def _biased(call: Call, data: int) -> int:
    """Add the bias, which TRANSPOSE_CONV takes from its third version on."""
    found = call.constant(2)
    if found is None:
        raise NotSaidError("its bias is not constant")
    biased = call.temporary(call.shape_of(data), data, "biased")
    options = ("AddOptions", {"fusedActivationFunction": 0})
    call.emit("ADD", [data, call.weights(Constant(found.reals()))], biased, options)
    return biased


def _cut(call: Call, data: int, begin: tuple[int, ...], shape: tuple[int, ...]) -> int:
    cut = call.temporary(shape, data, "cut")
    inputs = [data, call.int32(begin, "begin"), call.int32(shape, "size")]
    call.emit("SLICE", inputs, cut, ("SliceOptions", {}))
    return cut


def _lead(values: Any, filling: int) -> tuple[int, int]:
    """Return two numbers: of a signal, what holds for its height first."""
    found = tuple(map(int, values))
    return (filling, found[0]) if len(found) == 1 else (found[0], found[1])


def _pair(call: Call, name: str, default: int) -> tuple[int, int]:
    return _lead(call.attr(name, (default,) * (call.rank() - 2)), default)


def _spread(weight: np.ndarray, dilations: tuple[int, int]) -> np.ndarray:
    """Return the kernel with zeros between its numbers: TRANSPOSE_CONV has no dilations."""
    sizes = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    found = np.zeros((*weight.shape[:2], *sizes), weight.dtype)
    found[:, :, :: dilations[0], :: dilations[1]] = weight
    return found


def _groups(call: Call, data: int, group: int) -> list[int]:
    if group == 1:
        return [data]
    shape = call.shape_of(data)
    small = (*shape[:3], shape[3] // group)
    parts = [call.temporary(small, data, f"group_{index}") for index in range(group)]
    axis = call.make(np.array(3, np.int32), "axis")
    call.emit("SPLIT", [axis, data], parts, ("SplitOptions", {"numSplits": group}))
    return parts


def _part(
    call: Call,
    data: int,
    index: int,
    kernel: Constant,
    size: tuple[int, ...],
    strides: tuple[int, int],
) -> int:
    """Return the whole reach of the windows of one group of channels."""
    depth, count = call.shape_of(data)[3], kernel.array.shape[1]
    weight = Constant(kernel.array[index * depth : (index + 1) * depth], kernel.quantization)
    made = call.temporary((*size, count), call.output(), f"reach_{index}")
    weights = call.make(weight.transposed((1, 2, 3, 0)), "weights")
    inputs = [call.int32((*size, count), "shape"), weights, data]
    bias = call.constant(2) if call.has(2) else None
    if call.integer and bias is not None:
        inputs.append(call.make(bias.part(index * count, (index + 1) * count), "bias"))
    fields = {"padding": schema.Padding.VALID, "strideH": strides[0], "strideW": strides[1]}
    call.emit("TRANSPOSE_CONV", inputs, made, ("TransposeConvOptions", fields))
    return made


def _joined(call: Call, parts: list[int]) -> int:
    shape = call.shape_of(parts[0])
    made = call.temporary((*shape[:3], shape[3] * len(parts)), parts[0], "joined")
    fields = {"axis": 3, "fusedActivationFunction": 0}
    call.emit("CONCATENATION", parts, made, ("ConcatenationOptions", fields))
    return made


TRANSPOSED: Final[dict[str, Converter]] = {"ConvTranspose": conv_transpose}
