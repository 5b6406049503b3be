"""Convolutions of each channel by itself, as `schedules` makes them fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ..schedules.annotations import DEPTHWISE
from ..schedules.tile import depthwise_tile
from .call import Call, Expr, Shape, core_of
from .products import FUSABLE, Space
from .tiles import Tensor


def depthwise(call: Call, data: Expr, weight: np.ndarray, space: Space, out: Shape) -> Expr:
    """Return the convolution of channels-last data (n, space, C) with a weight (kernel, C)."""
    limits = tuple(int(dim) for dim in data.ty.shape)[1:-1]
    *places, channels = out[1:]
    reach = space.reach(places)
    tile = depthwise_tile(places, channels, space.taps, reach, core_of(call))

    def compute(x: Tensor, w: Tensor) -> Tensor:
        source = _with_pads(x, space, reach, limits) if space.is_padded else x
        taps = [te.reduce_axis((0, size), f"k{axis}") for axis, size in enumerate(space.kernel)]

        def element(*index: Any) -> Any:
            n, *place, channel = index
            where = [
                at * stride + tap * dilation
                for at, stride, tap, dilation in zip(
                    place, space.strides, taps, space.dilations, strict=True
                )
            ]
            return te.sum(source(n, *where, channel) * w(*taps, channel), taps)

        annotation = {DEPTHWISE: [len(places), tile.width, tile.channels, tile.rows]}
        return te.compute(out, element, name="sums", attrs=annotation)

    return call.builder.emit_te(
        compute,
        data,
        relax.const(np.ascontiguousarray(weight)),
        primfunc_name_hint="depthwise",
        primfunc_attrs={"op_pattern": FUSABLE},
    )


def _with_pads(x: Tensor, space: Space, reach: Shape, limits: Sequence[int]) -> Tensor:
    def element(*index: Any) -> Any:
        n, *place, channel = index
        source = [at - pad for at, pad in zip(place, space.begin, strict=True)]
        inside = [
            test for at, limit in zip(source, limits, strict=True) for test in (at >= 0, at < limit)
        ]
        value = x(n, *source, channel)
        return tirx.if_then_else(tirx.all(*inside), value, tirx.const(0.0, "float32"))

    return te.compute((x.shape[0], *reach, x.shape[-1]), element, name="packed")
