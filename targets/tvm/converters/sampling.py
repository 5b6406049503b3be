"""Operators of images that read at positions which are data."""

from __future__ import annotations

import numpy as np
from tvm import relax

from .call import Call, Converter, Expr, constant, reshaped, scalar

op = relax.op

_METHODS = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}


def _grid_sample(call: Call) -> Expr:
    """Data N C ..., grid N ... (x, y, ...); TVM wants the coordinates as the grid's channels."""
    rank = call.rank()
    grid = op.permute_dims(call[1], (0, rank - 1, *range(1, rank - 1)))
    return op.image.grid_sample(
        call[0],
        grid,
        method=_METHODS[call.attr("mode", "linear")],
        layout="NCHW" if rank == 4 else "NCDHW",
        padding_mode=call.attr("padding_mode", "zeros"),
        align_corners=bool(call.attr("align_corners", 0)),
    )


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
