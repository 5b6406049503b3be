"""Resize, axis after axis: each output is the weighted sum of a few inputs.

Coordinates, weights and neighbours are those of ONNX's specification of Resize. Which of two
neighbours at the same distance is nearest depends on the precision of coordinates: single where
scales or a region are given, else double, as ONNX Runtime has it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from .matching import array_of, shape_of


@dataclasses.dataclass(frozen=True)
class Axis:
    """How one axis is resized; `start` and `end` are the region of interest, from 0 to 1.

    `real` is the precision of coordinates.
    """

    axis: int
    size: int
    out: int
    scale: float
    start: float
    end: float
    real: type[np.floating[Any]]


def mode_of(node: ir.Node) -> str:
    """Return how coordinates are transformed."""
    return node.attributes.get_string("coordinate_transformation_mode", "half_pixel")


def axes_of(node: ir.Node) -> list[Axis]:
    """Return the axes of a Resize of static shapes whose region, scales and sizes are constants."""
    shape, result = shape_of(node.inputs[0]) or (), shape_of(node.outputs[0]) or ()
    rank = len(shape)
    axes = [axis % rank for axis in node.attributes.get_ints("axes", tuple(range(rank)))]
    sizes = [shape[axis] for axis in axes]
    outs = [result[axis] for axis in axes]
    cropped = mode_of(node) == "tf_crop_and_resize"
    given = _array(node, 2)
    real = np.float32 if cropped or given is not None else np.float64
    if given is not None:
        scales = [float(scale) for scale in given]
    else:
        wanted = _array(node, 3)
        lengths = outs if wanted is None else [int(length) for length in wanted]
        scales = [out / size for out, size in zip(lengths, sizes, strict=True)]
        policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            choose = min if policy == "not_larger" else max
            scales = [choose(scales)] * len(scales)
    region = _array(node, 1) if cropped else None
    if region is None:
        region = np.repeat([0.0, 1.0], len(axes))
    return [
        Axis(axis, size, out, scale, float(region[k]), float(region[k + len(axes)]), real)
        for k, (axis, size, out, scale) in enumerate(zip(axes, sizes, outs, scales, strict=True))
    ]


def broken_length(node: ir.Node) -> float | None:
    """Return the length that scales lead to, where it is not whole and coordinates depend on it.

    Runtimes disagree there whether coordinates follow the length or its whole part.
    """
    scales = _array(node, 2)
    if mode_of(node) not in ("align_corners", "tf_crop_and_resize") or scales is None:
        return None
    shape = shape_of(node.inputs[0]) or ()
    axes = node.attributes.get_ints("axes", tuple(range(len(shape))))
    lengths = (float(shape[axis] * scale) for axis, scale in zip(axes, scales, strict=True))
    return next((length for length in lengths if not length.is_integer()), None)


def _array(node: ir.Node, index: int) -> np.ndarray | None:
    """Return a constant input with elements."""
    found = array_of(node.inputs[index]) if index < len(node.inputs) else None
    return found if found is not None and found.size else None


def coordinates(node: ir.Node, axis: Axis) -> Any:
    """Return where in the input each output lies: an array of ``axis.real``."""
    x = np.arange(axis.out, dtype=axis.real)
    one, half, scale = axis.real(1), axis.real(0.5), axis.real(axis.scale)
    size, out = axis.real(axis.size), axis.real(axis.out)
    start, end = axis.real(axis.start), axis.real(axis.end)
    centred = (x + half) / scale - half
    match mode_of(node):
        case "half_pixel":
            return centred
        case "half_pixel_symmetric":
            return size / 2 * (one - out / (scale * size)) + centred
        case "pytorch_half_pixel":
            return centred if axis.out > 1 else np.full_like(x, -0.5)
        case "asymmetric":
            return x / scale
        case "align_corners":
            return x * (size - one) / (out - one) if axis.out > 1 else np.zeros_like(x)
        case "tf_crop_and_resize":
            if axis.out > 1:
                return start * (size - one) + x * (end - start) * (size - one) / (out - one)
            return np.full_like(x, half * (start + end) * (size - one))
        case mode:
            raise ValueError(f"coordinate_transformation_mode {mode!r} is not known")


_NEAREST: Final[dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def taps(node: ir.Node, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Return the input index and the weight of every tap of every output: (out, taps) each."""
    x = coordinates(node, axis)
    mode = node.attributes.get_string("mode", "nearest")
    if mode == "nearest":
        index = _NEAREST[node.attributes.get_string("nearest_mode", "round_prefer_floor")](x)
        return _inside(index[:, None], axis.size), np.ones((axis.out, 1))
    x = x.astype(np.float64)
    reach = 1 if mode == "linear" else 2
    # Antialiasing widens the filter when the image shrinks.
    stretch = min(axis.scale, 1.0) if node.attributes.get_int("antialias", 0) else 1.0
    first = math.floor(-reach / stretch) + 1
    # The left neighbour of an integer coordinate is the one before it, at distance 1.
    left = np.ceil(x)[:, None] - 1
    index = left + np.arange(first, 2 - first)
    distance = np.abs(index - x[:, None]) * stretch
    if mode == "linear":
        weights = np.maximum(0, 1 - distance)
    else:
        weights = _cubic(distance, node.attributes.get_float("cubic_coeff_a", -0.75))
    excluded = bool(node.attributes.get_int("exclude_outside", 0))
    if excluded:
        weights = np.where((index < 0) | (index >= axis.size), 0, weights)
    if excluded or stretch != 1.0:
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    return _inside(index, axis.size), weights


def matrix(node: ir.Node, axis: Axis) -> np.ndarray:
    """Return what an axis is multiplied by, (out, size), in double precision."""
    index, weights = taps(node, axis)
    found = np.zeros((axis.out, axis.size))
    np.add.at(found, (np.arange(axis.out)[:, None], index), weights)
    return found


def _inside(index: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(np.clip(index, 0, size - 1), np.int32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
