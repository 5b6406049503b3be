"""Convolutions of each channel by itself, of integers, for vectors without words of neighbours.

Products of two integers of 8 bits have 16, and so have sums of few of them: as many numbers again
fit a register as of 32 bits, and one instruction adds a register of them to sums of 32 bits. So the
taps of a window fall into runs, whose sums have 16 bits whatever the data is.

    padded (n, rows..., columns, C)             the data with its pads, int8
    sums (n, space, C)                          written out: of all runs
"""

from __future__ import annotations

import functools
import itertools
import operator
from typing import Any, Final

import numpy as np
from tvm import relax, te, tirx

from ..schedules.arithmetic import SHORT
from .call import Call, Expr, core_of
from .depthwise import annotated, depthwise_work
from .products import FUSABLE
from .storage import Storage
from .tiles import Tensor
from .window import Window, read_window, with_pads

#: The largest sum of absolute weights whose products with int8 cannot leave 16 bits.
_MOST: Final = 255


def short_depthwise(
    call: Call, data: Expr, weight: np.ndarray, window: Window, zero: int
) -> tuple[Expr, np.ndarray]:
    """Return the sums of data as `Storage` has it times an int8 weight, and what they lack.

    Args:
        data: (n, space, C), int8 or uint8.
        weight: (kernel, C).
        zero: point of the data, which pads have.

    Returns:
        int32 sums, and int32 (C) to be added to them for the sums of (data - zero) x weight.
    """
    storage = Storage(SHORT, str(data.ty.dtype), zero)
    out = call.out_shape()
    work = depthwise_work(window, out, storage.dtype, window.reach(out[1:-1]), window.taps)
    annotation = annotated(work, core_of(call))
    taps = list(itertools.product(*map(range, window.kernel)))
    runs = _runs([weight[tap] for tap in taps])

    def compute(x: Tensor, w: Tensor) -> Tensor:
        source = with_pads(x, window, zero)

        def term(index: Any, at: int) -> Any:
            tap = [tirx.const(place, "int32") for place in taps[at]]
            value = storage.stored(read_window(source, window, index, index[-1], tap))
            return value.astype("int16") * w(at, index[-1]).astype("int16")

        def element(*index: Any) -> Any:
            parts = [
                functools.reduce(operator.add, (term(index, at) for at in run)) for run in runs
            ]
            return functools.reduce(operator.add, (part.astype("int32") for part in parts))

        return te.compute(out, element, name="sums", attrs=annotation)

    sums = call.builder.emit_te(
        compute,
        data,
        relax.const(np.ascontiguousarray(weight.reshape(len(taps), -1))),
        primfunc_name_hint="depthwise",
        primfunc_attrs={"op_pattern": FUSABLE},
    )
    return sums, storage.lacking(weight)


def _runs(weights: list[np.ndarray]) -> list[list[int]]:
    """Return taps, by number, that are summed with 16 bits, given int8 (C) for each."""
    found: list[list[int]] = []
    total: Any = np.inf
    for at, weight in enumerate(weights):
        size = np.abs(weight.astype(np.int32))
        if np.max(total + size) > _MOST:
            found.append([])
            total = np.zeros_like(size)
        found[-1].append(at)
        total = total + size
    return found
