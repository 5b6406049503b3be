"""ConvTranspose, which the canonical form has channels-first: through channels-last and back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..call import Call, Converter, NotSaidError


def conv_transpose(call: Call) -> None:
    """The whole reach of every window by TRANSPOSE_CONV, of which the pads cut the borders off."""
    weight = call.constant(1)
    if weight is None:
        raise NotSaidError("its weights are not constant")
    array = _spread(_as_image(weight.reals()), _pair(call, "dilations", 1))
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
            (height, width), strides, array.shape[2:], extra, strict=True
        )
    ]
    parts = [
        _part(call, item, kernel, full, strides, index)
        for index, (item, kernel) in enumerate(
            zip(_groups(call, data, group), np.split(array, group), strict=True)
        )
    ]
    made = parts[0] if group == 1 else _joined(call, parts)
    if any((*begins, *ends)):
        sizes = [whole - a - b for whole, a, b in zip(full, begins, ends, strict=True)]
        shape = (n, *sizes, call.shape_of(made)[3])
        cut = call.temporary(shape, made, "cut")
        inputs = [made, call.int32((0, *begins, 0), "begin"), call.int32(shape, "size")]
        call.emit("SLICE", inputs, cut, ("SliceOptions", {}))
        made = cut
    if call.has(2):
        shape = call.shape_of(made)
        biased = call.temporary(shape, made, "biased")
        options = ("AddOptions", {"fusedActivationFunction": 0})
        call.emit("ADD", [made, call.weights(_reals(call, 2))], biased, options)
        made = biased
    if len(space) == 2:
        call.transpose(made, (0, 3, 1, 2), call.output())
    else:
        call.reshape(call.transpose(made, (0, 3, 1, 2)), call.out_shape(), call.output())


def _reals(call: Call, index: int) -> Any:
    found = call.constant(index)
    if found is None:
        raise NotSaidError("its bias is not constant")
    return type(found)(found.reals())


def _lead(values: Any, filling: int) -> tuple[int, int]:
    """Return two numbers: of a signal, what holds for its height first."""
    found = tuple(map(int, values))
    return (filling, found[0]) if len(found) == 1 else (found[0], found[1])


def _pair(call: Call, name: str, default: int) -> tuple[int, int]:
    return _lead(call.attr(name, (default,) * (call.rank() - 2)), default)


def _as_image(weight: np.ndarray) -> np.ndarray:
    return weight[:, :, None, :] if weight.ndim == 3 else weight


def _spread(weight: np.ndarray, dilations: tuple[int, int]) -> np.ndarray:
    """Return the kernel with zeros between its numbers: TRANSPOSE_CONV has no dilations."""
    sizes = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    found = np.zeros((*weight.shape[:2], *sizes), np.float32)
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
    call: Call, data: int, kernel: np.ndarray, full: list[int], strides: tuple[int, int], index: int
) -> int:
    shape = (call.shape_of(data)[0], *full, kernel.shape[1])
    made = call.temporary(shape, data, f"reach_{index}")
    weights = call.make(np.ascontiguousarray(kernel.transpose(1, 2, 3, 0)), "weights")
    fields = {"padding": schema.Padding.VALID, "strideH": strides[0], "strideW": strides[1]}
    inputs = [call.int32(shape, "shape"), weights, data]
    call.emit("TRANSPOSE_CONV", inputs, made, ("TransposeConvOptions", fields))
    return made


def _joined(call: Call, parts: list[int]) -> int:
    shape = call.shape_of(parts[0])
    made = call.temporary((*shape[:3], shape[3] * len(parts)), parts[0], "joined")
    fields = {"axis": 3, "fusedActivationFunction": 0}
    call.emit("CONCATENATION", parts, made, ("ConcatenationOptions", fields))
    return made


TRANSPOSED: Final[dict[str, Converter]] = {"ConvTranspose": conv_transpose}
