"""Convolutions of each channel by itself, of integers, as `schedules` makes them fast.

An instruction for integers wants several numbers for each lane: here neighbours of one channel
along the last axis, put together in a word. So a row of a window is one word or two.

    padded (n, rows..., columns, C)             the data with its pads
    packed (n, rows..., places, C)              words of neighbours, int32
    sums (n, space, C)                          over rows of the window and the words of a row
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ..schedules.arithmetic import Arithmetic
from ..schedules.instructions import member_of
from .call import Call, Expr, Shape, core_of
from .depthwise import annotated, depthwise_work
from .products import FUSABLE
from .storage import Storage
from .tiles import Tensor
from .window import Window, taps_of


def integer_depthwise(
    call: Call, data: Expr, weight: np.ndarray, window: Window, zero: int
) -> tuple[Expr, np.ndarray]:
    """Return the sums of data as `Storage` has it times an int8 weight, and what they lack.

    Args:
        data: (n, space, C), int8 or uint8; channels fill the shortest vectors.
        weight: (kernel, C), not dilated along its last axis.
        zero: point of the data, which pads have.

    Returns:
        int32 sums, and int32 (C) to be added to them for the sums of (data - zero) x weight.
    """
    core = core_of(call)
    storage = Storage(core.alone, str(data.ty.dtype), zero)
    words = _Words(window, call.out_shape(), storage)
    reach = (*window.reach(words.out[1:-1])[:-1], words.places)
    work = depthwise_work(window, words.out, storage.dtype, reach, words.taps)
    annotation = annotated(work, core)

    def compute(x: Tensor, w: Tensor) -> Tensor:
        return words.sums(words.packed(x), w, annotation)

    sums = call.builder.emit_te(
        compute,
        data,
        relax.const(words.of_weight(weight)),
        primfunc_name_hint="depthwise",
        primfunc_attrs={"op_pattern": FUSABLE},
    )
    return sums, storage.lacking(weight)


@dataclasses.dataclass(frozen=True)
class _Words:
    """How numbers lie in words.

    Attributes:
        out: (n, space, C).
    """

    window: Window
    out: Shape
    storage: Storage

    @property
    def _arithmetic(self) -> Arithmetic:
        return self.storage.arithmetic

    @property
    def _count(self) -> int:
        """Words of a row of the window."""
        return self._arithmetic.words(self.window.kernel[-1])

    @property
    def _step(self) -> int:
        """How far words are apart: as far as windows, if that meets all words of a row."""
        stride = self.window.strides[-1]
        return stride if self._count == 1 or self._arithmetic.together % stride == 0 else 1

    @property
    def places(self) -> int:
        """Words of a row of the data."""
        last = (self.out[-2] - 1) * self.window.strides[-1] + (
            self._count - 1
        ) * self._arithmetic.together
        return last // self._step + 1

    @property
    def taps(self) -> int:
        """Words of a window."""
        return math.prod(self.window.kernel[:-1]) * self._count

    def of_weight(self, weight: np.ndarray) -> np.ndarray:
        """Return a weight (kernel, C) as (kernel without its last axis, words, C, together)."""
        *rows, width, channels = weight.shape
        together = self._arithmetic.together
        spare = self._count * together - width
        filled = np.pad(weight, [(0, 0)] * len(rows) + [(0, spare), (0, 0)])
        parts = filled.reshape(*rows, self._count, together, channels)
        return np.ascontiguousarray(np.moveaxis(parts, -1, -2)).astype(self._arithmetic.weight)

    def packed(self, x: Tensor) -> Tensor:
        """Return the words of data with pads; numbers beyond the window are any."""
        window, together = self.window, self._arithmetic.together
        extents = [*window.reach(self.out[1:-1])[:-1], (self.places - 1) * self._step + together]
        limits = [int(dim) for dim in x.shape[1:-1]]

        def stored(*index: Any) -> Any:
            batch, *place, channel = index
            source = [at - pad for at, pad in zip(place, window.begin, strict=True)]
            inside = [at >= 0 for at, pad in zip(source, window.begin, strict=True) if pad]
            inside += [
                at < limit
                for at, limit, pad, extent in zip(
                    source, limits, window.begin, extents, strict=True
                )
                if extent - pad > limit
            ]
            value = self.storage.stored(x(batch, *source, channel))
            pad = self.storage.pad
            return tirx.if_then_else(tirx.all(*inside), value, pad) if inside else value

        batch, channels = self.out[0], self.out[-1]
        padded = te.compute((batch, *extents, channels), stored, name="padded")

        bits = self._arithmetic.bits
        mask = tirx.const((1 << bits) - 1, "int32")

        def word(*index: Any) -> Any:
            *place, last, channel = index
            numbers = [
                padded(*place, last * self._step + at, channel).astype("int32") & mask
                for at in range(together)
            ]
            moved = [
                tirx.shift_left(number, tirx.const(bits * at, "int32"))
                for at, number in enumerate(numbers)
            ]
            return functools.reduce(operator.or_, moved)

        return te.compute((batch, *extents[:-1], self.places, channels), word, name="packed")

    def sums(self, packed: Tensor, w: Tensor, annotation: dict[str, Any]) -> Tensor:
        """Return the tensor ``sums``, int32."""
        window, arithmetic = self.window, self._arithmetic
        *taps, _ = taps_of(window)
        word = te.reduce_axis((0, self._count), "word")
        stride, apart = window.strides[-1] // self._step, arithmetic.together // self._step

        def element(*index: Any) -> Any:
            batch, *rows, place, channel = index
            source = [
                at * step + tap * dilation
                for at, step, tap, dilation in zip(
                    rows, window.strides, taps, window.dilations, strict=False
                )
            ]
            found = packed(batch, *source, place * stride + word * apart, channel)
            products = [
                member_of(found, at, arithmetic) * w(*taps, word, channel, at).astype("int32")
                for at in range(arithmetic.together)
            ]
            return te.sum(functools.reduce(operator.add, products), [*taps, word])

        return te.compute(self.out, element, name="sums", attrs=annotation)
