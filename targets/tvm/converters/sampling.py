"""Operators of images that read at positions which are data."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import numpy as np
from tvm import relax, te, tirx

from .call import Call, Converter, Expr, constant, reshaped, scalar

op = relax.op

#: Mode -> how many neighbours along each axis, and how many of them lie before the place.
_TAPS = {"nearest": (1, 0), "linear": (2, 0), "cubic": (4, 1)}


def _grid_sample(call: Call) -> Expr:
    """Data N C ..., grid N ... (x, y, ...): the axes of the space come in reverse order.

    Each axis by itself gives neighbours and weights for every place; their products are summed.
    """
    sizes, places = call.shape()[2:], call.shape(1)[1:-1]
    count, _ = _TAPS[call.attr("mode", "linear")]
    rank = len(sizes)
    grid = call.emit(call[1])
    axes = []
    for axis, size in enumerate(sizes):
        place = functools.partial(_place, call, rank - 1 - axis, size)
        x = call.builder.emit_te(place, grid, primfunc_name_hint="grid_place")
        taps = functools.partial(_neighbours, call, size)
        axes += [call.emit(part) for part in _both(call, taps, x)]

    def weighted(data: te.Tensor, *along: te.Tensor) -> te.Tensor:
        def compute(n: tirx.Expr, c: tirx.Expr, *at: tirx.Expr) -> tirx.Expr:
            taps = [te.reduce_axis((0, count), f"tap{axis}") for axis in range(rank)]
            index = [along[2 * axis](n, *at, tap) for axis, tap in enumerate(taps)]
            weight = [along[2 * axis + 1](n, *at, tap) for axis, tap in enumerate(taps)]
            return te.sum(functools.reduce(operator.mul, weight, data(n, c, *index)), axis=taps)

        return te.compute((*call.shape()[:2], *places), compute, name="grid_sample")

    return call.builder.emit_te(
        weighted, call.emit(call[0]), *axes, primfunc_name_hint="grid_sample"
    )


def _both(call: Call, taps: Callable[..., list[te.Tensor]], x: Expr) -> list[Expr]:
    pair = call.builder.emit_te(taps, x, primfunc_name_hint="grid_neighbours")
    return [relax.TupleGetItem(pair, 0), relax.TupleGetItem(pair, 1)]


def _place(call: Call, component: int, size: int, grid: te.Tensor) -> te.Tensor:
    """Return where on an axis each output lies, inside where padding says how."""
    corners, padding = call.attr("align_corners", 0), call.attr("padding_mode", "zeros")
    mode = call.attr("mode", "linear")

    def compute(*at: tirx.Expr) -> tirx.Expr:
        x = (grid(*at, component) + 1) * _k(size - 1) / 2
        if not corners:
            x = ((grid(*at, component) + 1) * _k(size) - 1) / 2
        if mode == "nearest":
            x = tirx.nearbyint(x)
        low, high = _ends(size, corners)
        if padding == "border" and mode != "cubic":
            outside = tirx.any(x < _k(low), x > _k(high))
            x = tirx.Select(outside, tirx.min(tirx.max(x, _k(0)), _k(size - 1)), x)
        return _reflected(x, low, high) if padding == "reflection" else x

    return te.compute(grid.shape[:-1], compute, name="place")


def _k(value: float) -> tirx.Expr:
    return tirx.const(float(value), "float32")


def _ends(size: int, corners: int) -> tuple[float, float]:
    return (0.0, size - 1.0) if corners else (-0.5, size - 0.5)


def _reflected(x: tirx.Expr, low: float, high: float) -> tirx.Expr:
    """Return `x` mirrored at the ends until it lies between them."""
    span = high - low
    if span == 0:
        return _k(low)
    beyond = tirx.max(tirx.max(_k(low) - x, x - _k(high)), _k(0))
    turns = tirx.floor(beyond / _k(span))
    rest = beyond - turns * _k(span)
    turned = tirx.Cast("int32", turns) % 2 == 1
    from_low = tirx.Select(turned, _k(high) - rest, _k(low) + rest)
    from_high = tirx.Select(turned, _k(low) + rest, _k(high) - rest)
    return tirx.Select(x < _k(low), from_low, tirx.Select(x > _k(high), from_high, x))


def _neighbours(call: Call, size: int, x: te.Tensor) -> list[te.Tensor]:
    """Return index and weight of each neighbour on an axis; none lies outside any longer."""
    mode, padding = call.attr("mode", "linear"), call.attr("padding_mode", "zeros")
    count, before = _TAPS[mode]
    shape = (*x.shape, count)
    low, high = _ends(size, call.attr("align_corners", 0))

    def raw(at: tuple[tirx.Expr, ...], tap: tirx.Expr) -> tirx.Expr:
        return tirx.floor(x(*at)) + tirx.Cast("float32", tap - before)

    def index(*at: tirx.Expr) -> tirx.Expr:
        position = raw(at[:-1], at[-1])
        if padding == "reflection":
            position = _reflected(position, low, high)
        # Also a place that is no number leads to an element.
        inside = tirx.min(tirx.max(position, _k(0)), _k(size - 1))
        return tirx.min(tirx.max(tirx.Cast("int32", inside), 0), size - 1)

    def weight(*at: tirx.Expr) -> tirx.Expr:
        position = raw(at[:-1], at[-1])
        distance = tirx.abs(x(*at[:-1]) - position)
        found = {"nearest": _k(1), "linear": _k(1) - distance}.get(mode)
        found = _cubic(distance) if found is None else found
        if padding == "zeros":
            inside = tirx.all(position >= _k(0), position <= _k(size - 1))
            found = tirx.Select(inside, found, _k(0))
        return found

    return [te.compute(shape, index, name="index"), te.compute(shape, weight, name="weight")]


def _cubic(x: tirx.Expr) -> tirx.Expr:
    """Keys' cubic convolution kernel, with the parameter that ONNX fixes."""
    a = _k(-0.75)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return tirx.Select(x <= _k(1), near, far)


def _affine_grid(call: Call) -> Expr:
    """The places of the output's elements, (..., 1), times the transposed matrices theta."""
    space = call.ints(1)[2:]
    corners = bool(call.attr("align_corners", 0))
    axes = []
    for size in space:
        x = np.arange(size) * 2.0
        axes.append(x / max(1, size - 1) - 1 if corners else (x + 1) / size - 1)
    places = np.meshgrid(*axes, indexing="ij")[::-1]
    flat = np.stack([*(place.ravel() for place in places), np.ones(places[0].size)], axis=1)
    theta = op.permute_dims(call[0], (0, 2, 1))
    return reshaped(op.matmul(constant(flat.astype(call.dtype())), theta), call.out_shape())


def _roi_align(call: Call) -> Expr:
    """TVM wants (batch index, x1, y1, x2, y2) of every region."""
    dtype = call.dtype(1)
    shifted = call.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    batch = op.astype(reshaped(call[2], (call.shape(2)[0], 1)), dtype)
    scale = float(call.attr("spatial_scale", 1.0))
    # The regions are scaled here: TVM would scale after the shift of half a pixel.
    regions = op.multiply(call[1], scalar(scale, dtype))
    if shifted:
        regions = op.subtract(regions, scalar(0.5, dtype))
    return op.vision.roi_align(
        call[0],
        op.concat([batch, regions], 1),
        pooled_size=(call.attr("output_height", 1), call.attr("output_width", 1)),
        spatial_scale=1.0,
        sample_ratio=call.attr("sampling_ratio", 0),
        aligned=shifted,
        layout="NCHW",
        mode=call.attr("mode", "avg"),
    )


SAMPLING: dict[str, Converter] = {
    "AffineGrid": _affine_grid,
    "GridSample": _grid_sample,
    "RoiAlign": _roi_align,
}
