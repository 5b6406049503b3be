"""Resize: along one axis after the other, each output the weighted sum of a few inputs.

Neighbours and weights are computed here (`lowering.resizing`); the generated code only gathers and
multiplies.
"""

from __future__ import annotations

import numpy as np
from tvm import relax, te, tirx

from ....lowering import resizing
from .call import Call, Converter, Expr, Shape, constant, is_float, scalar
from .elementwise import cast

op = relax.op


def _resize(call: Call) -> Expr:
    result, dtype = call[0], call.dtype()
    wide = dtype if dtype in ("float32", "float64") or not is_float(dtype) else "float32"
    shape = call.shape()
    outside = []
    for axis in resizing.axes_of(call.node):
        taps, weights = resizing.taps(call.node, axis)
        if resizing.mode_of(call.node) == "tf_crop_and_resize":
            positions = resizing.coordinates(call.node, axis)
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
