"""Convolutions and matrix products with constant weights, as `schedules` makes them fast.

The weights are packed here, once, in the order in which a tile uses them; the input is where that
pays, by the kernel itself. What each kernel is made of has a name, and the block of its sums says
in an annotation how it is tiled: that is all that a schedule sees once TVM has fused the kernel
with what follows it.

    packed (n, blocks, rows..., depth)     the input with its pads, a block of channels together
    partial (parts, ..., tiles, lanes)     sums over one group of blocks, where there are several
    sums (..., tiles, lanes)               the sums of all
    product (..., channels)                the same without what fills the last vector

Channels are counted in words: as many numbers as an instruction takes at once for each lane.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from tvm import relax, te, tirx

from ..schedules.annotations import PAIRED, PRODUCT, WORKLOAD, numbered
from ..schedules.arithmetic import FLOATS, Arithmetic
from ..schedules.choices import chosen, tile_and_blocks
from ..schedules.core import Core
from ..schedules.tile import Blocks, Tile
from ..schedules.workload import Workload
from .call import Call, Expr, Shape, core_of
from .joined_rows import are_joined, joined_rows, joined_weight, joined_window
from .storage import Storage
from .tiles import Index, Tensor
from .window import Window, taps_of

#: `OpPatternKind`'s kOutEWiseFusable: TVM fuses it with what is done to each of its numbers.
FUSABLE: Final = 4


#: The window of a matrix product, whose only axis has windows of one number.
POINT: Final = Window((1,), (1,), (1,), (0,), (0,), channels_last=True)


def product(call: Call, data: Expr, weight: np.ndarray, window: Window, out: Shape) -> Expr:
    """Return the product of channels-last data with a weight; float32, or float16.

    Args:
        data: (..., space, groups x I); of what precedes the space, each is taken by itself.
        weight: (kernel, I, O); of a window with groups, the inputs of output channel o are those
            from (o // (O / groups)) x I on.
        out: (..., space, O).
    """
    dtype = str(data.ty.dtype)
    return _emit(call, data, weight, window, out, Storage(FLOATS[dtype], dtype))


def integer_product(
    call: Call, data: Expr, weight: np.ndarray, window: Window, out: Shape, zero: int
) -> tuple[Expr, np.ndarray]:
    """Return the sums of data as `Storage` has it times an int8 weight, and what they lack.

    Args:
        data, weight, out: as of `product`; int8 or uint8.
        zero: point of the data, which pads have.

    Returns:
        int32 sums, and int32 (O) to be added to them for the sums of (data - zero) x weight.
    """
    *_, inputs, outputs = weight.shape
    uses = window.taps * outputs // window.group
    arithmetic = core_of(call).integers_for(out[-2], inputs, uses)
    storage = Storage(arithmetic, str(data.ty.dtype), zero)
    if are_joined(window, weight.shape[-2], storage):
        rows, start = joined_rows(call, data, window, out, storage)
        run, over = joined_weight(weight), joined_window(window, weight.shape[-2])
        plain = Storage(storage.arithmetic, storage.arithmetic.data, storage.zero)
        sums = _emit(call, rows, run, over, out, plain, start)
    else:
        sums = _emit(call, data, weight, window, out, storage)
    return sums, storage.lacking(weight)


def _emit(
    call: Call,
    data: Expr,
    weight: np.ndarray,
    window: Window,
    out: Shape,
    storage: Storage,
    start: int | None = None,
) -> Expr:
    shape = tuple(int(dim) for dim in data.ty.shape)
    plan = Plan.of(window, weight.shape, shape, out, storage, core_of(call), start)

    def compute(x: Tensor, w: Tensor) -> Tensor:
        return plan.compute(x, lambda outer, *index: w(*index))

    return call.builder.emit_te(
        compute,
        data,
        relax.const(plan.packed(weight)),
        primfunc_name_hint="product",
        primfunc_attrs={"op_pattern": FUSABLE},
    )


#: What reads the weights: (outer place, tile, block, taps..., channel in block, lane).
Weights: TypeAlias = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """One product and how it is computed.

    Attributes:
        shape, out: of the data and of the product, channels last; or `joined_rows`, without.
        inputs: channels of a group.
        start: of `joined_rows`: where the first window begins.
    """

    window: Window
    shape: Shape
    out: Shape
    inputs: int
    storage: Storage
    work: Workload
    tile: Tile
    blocks: Blocks
    start: int | None

    @classmethod
    def of(
        cls,
        window: Window,
        weight: Shape,
        shape: Shape,
        out: Shape,
        storage: Storage,
        core: Core,
        start: int | None = None,
        kind: Literal["product", "dynamic"] = "product",
        taps: int | None = None,
    ) -> Plan:
        """Return the plan of one product.

        Args:
            weight: the shape (..., I, O).
            taps: how many numbers of each channel an output is over, if not all of the window.
        """
        *_, inputs, outputs = weight
        places = out[-1 - window.rank : -1]
        words, together = storage.arithmetic.words(inputs), storage.arithmetic.together
        rest = words * together != inputs
        pairs = storage.arithmetic.rows > 1
        copied = window.is_padded or not storage.is_plain or rest or pairs
        work = Workload(
            kind="paired" if pairs else kind,
            dtype=storage.dtype,
            images=math.prod(out[: -1 - window.rank]),
            places=places,
            reach=places if window.taps == 1 else window.reach(places),
            strides=window.strides,
            taps=window.taps if taps is None else taps,
            inputs=words,
            outputs=outputs,
            group=window.group,
            copies="never" if start is not None else "always" if copied else "maybe",
        )
        tile, blocks = tile_and_blocks(work, chosen(work, core), core)
        return cls(window, shape, out, inputs, storage, work, tile, blocks, start)

    @property
    def _arithmetic(self) -> Arithmetic:
        return self.storage.arithmetic

    @property
    def _pairs(self) -> bool:
        """Whether sums lie by pairs of places, and of channels."""
        return self._arithmetic.rows > 1

    @property
    def count(self) -> int:
        """Blocks of input channels of one group."""
        return self._arithmetic.words(self.inputs) // self.blocks.depth

    @property
    def _depth(self) -> int:
        """Input channels of a block."""
        return self.blocks.depth * self._arithmetic.together

    @property
    def tiles(self) -> int:
        """The last one may be partly outside."""
        return -(-self.out[-1] // self.tile.channels)

    @property
    def _outer(self) -> Shape:
        return self.out[: -1 - self.window.rank]

    @property
    def _places(self) -> Shape:
        return self.out[len(self._outer) : -1]

    @property
    def _width(self) -> int:
        """Places along the last axis in whole tiles: sums that are outside are not used."""
        return -(-self._places[-1] // self.tile.width) * self.tile.width

    def packed(self, weight: np.ndarray) -> np.ndarray:
        """Return the weight as (tiles, blocks, kernel, depth, lanes, numbers of a word).

        Zeros fill spare lanes, words and channels. Words of one number have no axis.
        """
        rank, tile, depth, kernel = (
            self.window.rank,
            self.tile,
            self.blocks.depth,
            weight.shape[:-2],
        )
        together = self._arithmetic.together
        spare = self.count * self._depth - self.inputs
        outside = self.tiles * tile.channels - weight.shape[-1]
        widths = [(0, 0)] * rank + [(0, spare), (0, outside)]
        filled = np.pad(weight, widths) if spare or outside else weight
        parts = filled.reshape(*kernel, self.count, depth, together, self.tiles, tile.channels)
        order = (rank + 3, rank, *range(rank), rank + 1, rank + 4, rank + 2)
        shape = (self.tiles, self.count, *kernel, depth, tile.lanes, together)
        result = np.zeros(shape, self._arithmetic.weight)
        result[..., : tile.channels, :] = parts.transpose(order)
        return result if together > 1 else result[..., 0]

    def compute(self, x: Tensor, weights: Weights) -> Tensor:
        """Return the tensor ``product``."""
        read, strides = self.reader(x)
        sums = self.sums(weights, read, strides, self.window)
        return te.compute(self.out, lambda *index: self.of_tile(sums, index), name="product")

    def of_tile(self, sums: Tensor, index: Index) -> Any:
        """Return the sum that belongs to a place and a channel."""
        *place, channel = index
        channels = self.tile.channels
        tile, lane = tirx.floordiv(channel, channels), tirx.floormod(channel, channels)
        if not self._pairs:
            return sums(*place, tile, lane).astype(self._arithmetic.sum)
        *place, last = place
        return sums(*place, last // 2, tile, lane // 2, last % 2, lane % 2)

    def reader(self, x: Tensor) -> tuple[Callable[..., Any], Shape]:
        """Return what reads (outer, block, place in space, channel in block), and the strides."""
        window, before = self.window, len(self._outer)
        if not self.blocks.packs:

            def read(outer: Index, block: Any, place: Index, inner: Any) -> Any:
                return x(*outer, *place, block * self._depth + inner)

            def read_run(outer: Index, block: Any, place: Index, inner: Any) -> Any:
                *rows, at = place
                return x(*outer, *rows, at + self.start + block * self._depth + inner)

            return read if self.start is None else read_run, window.strides
        # Windows of one number read what they need only: strides are over after packing.
        steps = window.strides if window.taps == 1 else (1,) * len(window.strides)
        places = (*self._places[:-1], self._width) if self._pairs else self._places
        reach = places if window.taps == 1 else window.reach(places)
        limits = self.shape[before:-1]

        def copied(*index: Any) -> Any:
            outer, block, place, inner = (
                index[:before], index[before], index[before + 1 : -1], index[-1]
            )  # fmt: skip
            source = [
                at * step - pad for at, step, pad in zip(place, steps, window.begin, strict=True)
            ]
            channel, tests = self._channel(block, inner)
            if window.is_padded:
                for at, limit in zip(source, limits, strict=True):
                    tests += [at >= 0, at < limit]
            elif self._width != self._places[-1] and self._pairs:
                tests += [source[-1] < limits[-1]]
            value = self.storage.stored(x(*outer, *source, channel))
            return tirx.if_then_else(tirx.all(*tests), value, self.storage.pad) if tests else value

        blocks = self.count * self.window.group
        packed = te.compute((*self._outer, blocks, *reach, self._depth), copied, name="packed")

        def read_packed(outer: Index, block: Any, place: Index, inner: Any) -> Any:
            return packed(*outer, block, *place, inner)

        return read_packed, (1,) * len(reach) if window.taps == 1 else window.strides

    def _channel(self, block: Any, inner: Any) -> tuple[Any, list[Any]]:
        """Return the channel of the input that is in a block, and when there is one."""
        if self.count * self._depth == self.inputs:
            return block * self._depth + inner, []
        own = tirx.floormod(block, self.count) * self._depth + inner
        return tirx.floordiv(block, self.count) * self.inputs + own, [own < self.inputs]

    def sums(
        self,
        weights: Weights,
        read: Callable[..., Any],
        strides: Shape,
        window: Window,
        number: int = 0,
        **said: Any,
    ) -> Tensor:
        """Return the tensor ``sums`` over a window.

        Args:
            read, strides: as `reader` returns them.
            number: of one kernel's tensors of sums; the names of all but the first end in it.
            said: more annotations of the first.
        """
        tile, blocks = self.tile, self.blocks
        arithmetic, together = self._arithmetic, self._arithmetic.together
        parts = self.count // blocks.group
        before, each = len(self._outer), self.tiles // self.window.group

        group = te.reduce_axis((0, blocks.group), "block")
        depth = te.reduce_axis((0, blocks.depth), "depth")
        member = [te.reduce_axis((0, together), "member")] if together > 1 else []
        taps = taps_of(window)

        def total(part: Any, *index: Any) -> Any:
            if self._pairs:
                *place, pair, tile_at, lanes, row, lane = index
                place, lane = [*place, pair * 2 + row], lanes * 2 + lane
            else:
                *place, tile_at, lane = index
            if not self._pairs and self._width != self._places[-1]:
                # Nothing is read from outside, and no test stops the sums.
                place[-1] = tirx.min(place[-1], self._places[-1] - 1)
            block = part * blocks.group + group
            where = [
                at * stride + tap * dilation
                for at, stride, tap, dilation in zip(
                    place[before:], strides, taps, window.dilations, strict=True
                )
            ]
            first = tirx.floordiv(tile_at, each) * self.count if self.window.group > 1 else 0
            inner = depth * together + member[0] if member else depth
            value = read(place[:before], first + block, where, inner).astype(arithmetic.sum)
            weight = weights(place[:before], tile_at, block, *taps, depth, lane, *member)
            weighted = value * weight.astype(arithmetic.sum)
            return te.sum(weighted, [group, *taps, depth, *member])

        shape: Shape = (*self.out[:-2], self._width, self.tiles, tile.lanes)
        if self._pairs:
            shape = (*self.out[:-2], self._width // 2, self.tiles, tile.lanes // 2, 2, 2)
        annotation: dict[str, Any] = {
            PRODUCT: [len(self._places), tile.height, tile.width, tile.channels, blocks.rows],
            WORKLOAD: self.work.key,
            **said,
        }
        if self._pairs:
            annotation[PAIRED] = strides[-1]
        name, annotation = numbered("sums", number), {} if number else annotation
        if parts == 1 and tile.lanes == tile.channels:
            return te.compute(shape, lambda *index: total(0, *index), name=name, attrs=annotation)
        partial = te.compute((parts, *shape), total, name=numbered("partial", number))
        part = te.reduce_axis((0, parts), "part")
        return te.compute(
            shape,
            lambda *index: te.sum(partial(part, *index).astype(arithmetic.total), [part]),
            name=name,
            attrs=annotation,
        )
