"""Resize: by TFLite's own operators where they have the same coordinates, else axis by axis.

Nearest neighbours are then gathered, and weighted ones are a product with a constant matrix.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from ....lowering import resizing
from ....lowering.resizing import Axis
from ..call import Call, Converter, NotSaidError, Said

#: Options of RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR.
_OPTIONS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"halfPixelCenters": True},
    {"alignCorners": True},
)


def resize(call: Call) -> None:
    node = call.node
    if resizing.mode_of(node) == "tf_crop_and_resize":
        raise NotSaidError("tf_crop_and_resize, which fills what is outside, has no operator")
    nearest = _is_nearest(node)
    axes = _moving(node)
    if not axes:
        call.reshape(call.input(), call.out_shape(), call.output())
        return
    options = _equal(node, axes)
    if options is not None:
        _by_operator(call, axes, nearest, options)
        return
    data = call.input()
    for index, axis in enumerate(axes):
        output = call.output() if index == len(axes) - 1 else None
        data = (_gathered if nearest else _multiplied)(call, data, axis, output)


def has_operator(said: Said) -> bool:
    """Whether neighbours are picked, or an operator of TFLite interpolates between them."""
    axes = _moving(said.node)
    return _is_nearest(said.node) or not axes or _equal(said.node, axes) is not None


def _is_nearest(node: ir.Node) -> bool:
    return node.attributes.get_string("mode", "nearest") == "nearest"


def _moving(node: ir.Node) -> list[Axis]:
    """Return the axes that do not keep every number."""
    return [
        axis
        for axis in resizing.axes_of(node)
        if axis.size != axis.out
        or not np.allclose(resizing.matrix(node, axis), np.eye(axis.size), atol=1e-7)
    ]


def _equal(node: ir.Node, axes: list[Axis]) -> dict[str, Any] | None:
    """Return the options with which an operator of TFLite does the same; None: it cannot."""
    places = sorted(axis.axis for axis in axes)
    if len(places) > 2 or (len(places) == 2 and places[1] != places[0] + 1):
        return None
    make = _nearest if _is_nearest(node) else _bilinear
    for options in _OPTIONS:
        if all(
            np.allclose(resizing.matrix(node, axis), make(axis, options), atol=1e-6)
            for axis in axes
        ):
            return options
    return None


def _steps(axis: Axis, options: dict[str, Any]) -> np.ndarray:
    """Return the coordinates as the runtime computes them, in single precision."""
    x = np.arange(axis.out, dtype=np.float32)
    if options.get("alignCorners") and axis.out > 1:
        return np.asarray(x * (np.float32(axis.size - 1) / np.float32(axis.out - 1)))
    scale = np.float32(axis.size) / np.float32(axis.out)
    if options.get("halfPixelCenters"):
        return np.asarray((x + np.float32(0.5)) * scale)
    return np.asarray(x * scale)


def _nearest(axis: Axis, options: dict[str, Any]) -> np.ndarray:
    steps = _steps(axis, options)
    # Rounded away from zero; numpy would round to even.
    index = np.floor(steps + np.float32(0.5)) if options.get("alignCorners") else np.floor(steps)
    return np.asarray(np.eye(axis.size)[np.minimum(index.astype(int), axis.size - 1)])


def _bilinear(axis: Axis, options: dict[str, Any]) -> np.ndarray:
    steps = _steps(axis, options)
    if options.get("halfPixelCenters"):
        steps = steps - np.float32(0.5)
    lower = np.maximum(np.floor(steps), 0).astype(int)
    upper = np.minimum(np.ceil(steps), axis.size - 1).astype(int)
    share = np.clip(steps - lower, 0, 1)[:, None]
    unit = np.eye(axis.size)
    return np.asarray(unit[np.minimum(lower, axis.size - 1)] * (1 - share) + unit[upper] * share)


def _by_operator(call: Call, axes: list[Axis], nearest: bool, options: dict[str, Any]) -> None:
    """Resize two neighbouring axes as height and width; what is around them is batch and depth."""
    first = min(axis.axis for axis in axes)
    first = max(first - 1, 0) if len(axes) == 1 and first == call.rank() - 1 else first
    shape, result = call.shape(), call.out_shape()
    around = (math.prod(shape[:first]), math.prod(shape[first + 2 :]))
    inner = (*shape[first : first + 2], 1)[:2]
    outer = (*result[first : first + 2], 1)[:2]
    data = call.reshape(call.input(), (around[0], *inner, around[1]))
    full = (around[0], *outer, around[1])
    output = call.output()
    made = output if full == result else call.temporary(full, output, "image")
    name = "RESIZE_NEAREST_NEIGHBOR" if nearest else "RESIZE_BILINEAR"
    table = "ResizeNearestNeighborOptions" if nearest else "ResizeBilinearOptions"
    call.emit(name, [data, call.int32(outer, "size")], made, (table, options))
    if made != output:
        call.reshape(made, result, output)


def _resized(call: Call, data: int, axis: Axis) -> list[int]:
    shape = list(call.shape_of(data))
    shape[axis.axis] = axis.out
    return shape


def _gathered(call: Call, data: int, axis: Axis, output: int | None) -> int:
    if output is None:
        output = call.temporary(_resized(call, data, axis), data, f"resized_{axis.axis}")
    where = call.int32(resizing.taps(call.node, axis)[0].reshape(-1).tolist(), "nearest")
    call.emit("GATHER", [data, where], output, ("GatherOptions", {"axis": axis.axis}))
    return output


def _multiplied(call: Call, data: int, axis: Axis, output: int | None) -> int:
    """Multiply along an axis, which is last meanwhile."""
    rank = call.rank()
    perm = [index for index in range(rank) if index != axis.axis] + [axis.axis]
    last = axis.axis == rank - 1
    moved = data if last else call.transpose(data, perm)
    weights = call.make(resizing.matrix(call.node, axis).astype(np.float32), f"by_{axis.axis}")
    bias = call.make(np.zeros(axis.out, np.float32), "bias")
    shape = (*call.shape_of(moved)[:-1], axis.out)
    if last and output is not None:
        made = output
    else:
        made = call.temporary(shape, data, f"product_{axis.axis}")
    options = ("FullyConnectedOptions", {"keepNumDims": True})
    call.emit("FULLY_CONNECTED", [moved, weights, bias], made, options)
    if last:
        return made
    return call.transpose(made, [perm.index(index) for index in range(rank)], output)


RESIZE: Final[dict[str, Converter]] = {"Resize": resize}
