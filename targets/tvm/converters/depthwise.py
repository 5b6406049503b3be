"""Convolutions of each channel by itself, as `schedules` makes them fast."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from tvm import relax, te

from ..schedules.annotations import DEPTHWISE, WORKLOAD
from ..schedules.choices import chosen
from ..schedules.core import Core
from ..schedules.tile import skips_pads
from ..schedules.workload import Workload
from .call import Call, Expr, Shape, core_of
from .products import FUSABLE
from .tiles import Tensor
from .window import Window, read_window, taps_of, with_pads


def depthwise(call: Call, data: Expr, weight: np.ndarray, window: Window) -> Expr:
    """Return the convolution of channels-last data (n, space, C) with a weight (kernel, C)."""
    out = call.out_shape()
    work = depthwise_work(window, out, call.dtype(), window.reach(out[1:-1]), window.taps)
    if skips_pads(window.kernel[-1]):
        work = dataclasses.replace(work, copies="never")
    annotation = annotated(work, core_of(call))

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


def depthwise_work(window: Window, out: Shape, dtype: str, reach: Shape, taps: int) -> Workload:
    """Return the workload of an output (n, space, C); of integers, `reach` and `taps` are words."""
    images, *places, channels = out
    return Workload(
        kind="depthwise",
        dtype=dtype,
        images=images,
        places=tuple(places),
        reach=reach,
        strides=window.strides,
        taps=taps,
        inputs=1,
        outputs=channels,
        group=channels,
        copies="always" if window.is_padded else "maybe",
    )


def annotated(work: Workload, core: Core) -> dict[str, Any]:
    """Return what the block ``sums`` says of itself."""
    choice = chosen(work, core)
    tile = [len(work.places), choice.width, choice.channels, choice.rows]
    return {DEPTHWISE: tile, WORKLOAD: work.key}
