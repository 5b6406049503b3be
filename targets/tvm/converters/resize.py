"""Resize: along one axis after the other, each output the weighted sum of a few inputs.

Coordinates, weights and neighbours are those of ONNX's specification of Resize, computed here; the
generated code only gathers and multiplies. Which of two neighbours at the same distance is nearest
depends on the precision of coordinates: single where scales or a region are given, else double, as
ONNX Runtime has it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from .call import Call, Converter, Expr, Shape, constant, is_float, scalar
from .elementwise import cast

op = relax.op


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


def _resize(call: Call) -> Expr:
    result, dtype = call[0], call.dtype()
    wide = dtype if dtype in ("float32", "float64") or not is_float(dtype) else "float32"
    shape = call.shape()
    outside = []
    for axis in _axes(call):
        positions = _coordinates(call, axis)
        taps, weights = _taps(call, axis, positions)
        if call.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
            outside.append((axis, (positions < 0) | (positions > axis.size - 1)))
        if (axis.size, weights.shape[1]) == (axis.out, 1) and (
            taps[:, 0] == np.arange(axis.out)
        ).all():
            continue
        if result is call[0]:
            result = cast(result, dtype, wide)
        result, shape = _interpolated(call, result, shape, axis.axis, taps, weights, wide)
    result = cast(result, wide, dtype) if result is not call[0] else result
    for axis, mask in outside:
        if mask.any():
            aligned = mask.reshape([-1 if k == axis.axis else 1 for k in range(call.rank())])
            fill = scalar(call.attr("extrapolation_value", 0.0), dtype)
            result = op.where(constant(aligned), fill, result)
    return result


def _axes(call: Call) -> list[Axis]:
    rank = call.rank()
    axes = [axis % rank for axis in call.attr("axes", range(rank))]
    sizes = [call.shape()[axis] for axis in axes]
    outs = [call.out_shape()[axis] for axis in axes]
    cropped = call.attr("coordinate_transformation_mode") == "tf_crop_and_resize"
    real = np.float32 if cropped or _given(call, 2) else np.float64
    if _given(call, 2):
        scales = [float(scale) for scale in call.array(2)]
    else:
        wanted = call.ints(3)
        scales = [out / size for out, size in zip(wanted, sizes, strict=True)]
        policy = call.attr("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            choose = min if policy == "not_larger" else max
            scales = [choose(scales)] * len(scales)
    roi = call.array(1) if cropped else np.repeat([0.0, 1.0], len(axes))
    return [
        Axis(axis, size, out, scale, float(roi[k]), float(roi[k + len(axes)]), real)
        for k, (axis, size, out, scale) in enumerate(zip(axes, sizes, outs, scales, strict=True))
    ]


def _given(call: Call, index: int) -> bool:
    return call.has(index) and call.shape(index) != (0,)


def _coordinates(call: Call, axis: Axis) -> Any:
    """Return where in the input each output lies: an array of ``axis.real``."""
    x = np.arange(axis.out, dtype=axis.real)
    one, half, scale = axis.real(1), axis.real(0.5), axis.real(axis.scale)
    size, out = axis.real(axis.size), axis.real(axis.out)
    start, end = axis.real(axis.start), axis.real(axis.end)
    centred = (x + half) / scale - half
    match call.attr("coordinate_transformation_mode", "half_pixel"):
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


_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _taps(call: Call, axis: Axis, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the input index and the weight of every tap of every output: (out, taps) each."""
    mode = call.attr("mode", "nearest")
    if mode == "nearest":
        index = _NEAREST[call.attr("nearest_mode", "round_prefer_floor")](x)
        return _inside(index[:, None], axis.size), np.ones((axis.out, 1))
    x = x.astype(np.float64)
    reach = 1 if mode == "linear" else 2
    # Antialiasing widens the filter when the image shrinks.
    stretch = min(axis.scale, 1.0) if call.attr("antialias", 0) else 1.0
    first = math.floor(-reach / stretch) + 1
    # The left neighbour of an integer coordinate is the one before it, at distance 1.
    left = np.ceil(x)[:, None] - 1
    index = left + np.arange(first, 2 - first)
    distance = np.abs(index - x[:, None]) * stretch
    if mode == "linear":
        weights = np.maximum(0, 1 - distance)
    else:
        weights = _cubic(distance, call.attr("cubic_coeff_a", -0.75))
    if call.attr("exclude_outside", 0):
        weights = np.where((index < 0) | (index >= axis.size), 0, weights)
    if call.attr("exclude_outside", 0) or stretch != 1.0:
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    return _inside(index, axis.size), weights


def _inside(index: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(np.clip(index, 0, size - 1), np.int32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _interpolated(
    call: Call, x: Expr, shape: Shape, axis: int, taps: np.ndarray, weights: np.ndarray, dtype: str
) -> tuple[Expr, Shape]:
    out, count = taps.shape
    target = (*shape[:axis], out, *shape[axis + 1 :])

    def source(data: te.Tensor, index: tuple[tirx.Expr, ...], tap: tirx.Expr) -> tirx.Expr:
        return data(*index[:axis], tap, *index[axis + 1 :])

    def nearest(data: te.Tensor, at: te.Tensor) -> te.Tensor:
        return te.compute(target, lambda *i: source(data, i, at[i[axis], 0]), name="resize")

    def weighted(data: te.Tensor, at: te.Tensor, by: te.Tensor) -> te.Tensor:
        def compute(*i: tirx.Expr) -> tirx.Expr:
            tap = te.reduce_axis((0, count), "tap")
            return te.sum(source(data, i, at[i[axis], tap]) * by[i[axis], tap], axis=tap)

        return te.compute(target, compute, name="resize")

    emit = call.builder.emit_te
    if count == 1 and (weights == 1).all():
        return emit(nearest, call.emit(x), constant(taps)), target
    return emit(weighted, call.emit(x), constant(taps), constant(weights.astype(dtype))), target


RESIZE: dict[str, Converter] = {"Resize": _resize}
