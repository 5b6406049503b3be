"""Images of few channels for instructions for integers: words of neighbours with their channels.

A word holds several numbers, and a pixel of such an image has fewer, or a rest. But along a row the
channels of neighbours follow each other: what a row of a window reads is one run of numbers. So the
kernel is as wide as one pixel, whose channels are that run, and windows overlap.

    rows (n, rows..., numbers)      the data with its pads, the last axis of the space and the
                                    channels as one
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from tvm import te, tirx

from ..schedules.annotations import VECTOR
from ..schedules.loops import longest_vector
from .call import Call, Expr, Shape, core_of, reshaped
from .storage import Storage
from .tiles import OPAQUE, Tensor
from .window import Window


def are_joined(window: Window, inputs: int, storage: Storage) -> bool:
    """Whether rows of a window are better read as runs of numbers."""
    together = storage.arithmetic.together
    if storage.arithmetic.rows > 1:
        return False
    alone = window.group == 1 and window.kernel[-1] > 1 and window.dilations[-1] == 1
    return alone and inputs % together > 0


def joined_weight(weight: np.ndarray) -> np.ndarray:
    """Return a weight (kernel, I, O) as (kernel without its last axis, 1, run, O)."""
    *rows, width, inputs, outputs = weight.shape
    return weight.reshape(*rows, 1, width * inputs, outputs)


def joined_window(window: Window, inputs: int) -> Window:
    """Return the window over rows that have their pads."""
    none = (0,) * window.rank
    return dataclasses.replace(
        window,
        kernel=(*window.kernel[:-1], 1),
        strides=(*window.strides[:-1], window.strides[-1] * inputs),
        begin=none,
        end=none,
    )


def joined_rows(
    call: Call, data: Expr, window: Window, out: Shape, storage: Storage
) -> tuple[Expr, int]:
    """Return the rows of channels-last data (n, space, I) for a window and an output.

    They are stored as `storage` says, and long enough for whole words. All of them, pads as well,
    consist of vectors, so that what is data does not depend on the lane.

    Returns:
        the rows, and where in each the first window begins.
    """
    batch, *space, inputs = (int(dim) for dim in data.ty.shape)
    limits = (*space[:-1], space[-1] * inputs)
    vector = longest_vector(limits[-1], core_of(call).lanes)
    before = -(-window.begin[-1] * inputs // vector) * vector
    start = before - window.begin[-1] * inputs
    run = storage.arithmetic.words(window.kernel[-1] * inputs) * storage.arithmetic.together
    end = start + (out[-2] - 1) * window.strides[-1] * inputs + run
    *reach, _ = window.reach(out[1:-1])
    shape = (batch, *reach, -(-end // vector) * vector)

    def compute(x: Tensor) -> Tensor:
        def stored(*index: Any) -> Any:
            image, *rows, at = index
            source = [row - low for row, low in zip(rows, window.begin[:-1], strict=True)]
            inside = [
                test
                for row, limit in zip(source, limits[:-1], strict=True)
                for test in (row >= 0, row < limit)
            ]
            part = tirx.floordiv(at, vector)
            inside += [part >= before // vector, part < (before + limits[-1]) // vector]
            value = storage.stored(x(image, *source, at - before))
            return tirx.if_then_else(tirx.all(*inside), value, storage.pad)

        return te.compute(shape, stored, name="rows", attrs={VECTOR: vector})

    flat = call.emit(reshaped(data, (batch, *limits)))
    # By itself: a transpose before it would be read number by number.
    attributes = {"op_pattern": OPAQUE}
    rows = call.builder.emit_te(compute, flat, primfunc_name_hint="rows", primfunc_attrs=attributes)
    return rows, start
