"""Convolutions of each channel by itself, as `schedules` makes them fast."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te

from ..schedules.annotations import DEPTHWISE
from ..schedules.arithmetic import FLOAT
from ..schedules.tile import depthwise_tile
from .call import Call, Expr, core_of
from .products import FUSABLE
from .tiles import Tensor
from .window import Window, read_window, taps_of, with_pads


def depthwise(call: Call, data: Expr, weight: np.ndarray, window: Window) -> Expr:
    """Return the convolution of channels-last data (n, space, C) with a weight (kernel, C)."""
    out = call.out_shape()
    images, *places, channels = out
    core, reach = core_of(call), window.reach(places)
    tile = depthwise_tile(places, channels, window.taps, reach, images, core, FLOAT)
    annotation = {DEPTHWISE: [window.rank, tile.width, tile.channels, tile.rows]}

    def compute(x: Tensor, w: Tensor) -> Tensor:
        source, taps = with_pads(x, window), taps_of(window)

        def element(*index: Any) -> Any:
            value = read_window(source, window, index, index[-1], taps)
            return te.sum(value * w(*taps, index[-1]), taps)

        return te.compute(out, element, name="sums", attrs=annotation)

    return call.builder.emit_te(
        compute,
        data,
        relax.const(np.ascontiguousarray(weight)),
        primfunc_name_hint="depthwise",
        primfunc_attrs={"op_pattern": FUSABLE},
    )
