"""Convolutions and matrix products with constant weights, as `schedules` makes them fast.

The weights are packed here, once, in the order in which a tile uses them; the input is where that
pays, by the kernel itself. What each kernel is made of has a name, and the block of its sums says
in an annotation how it is tiled: that is all that a schedule sees once TVM has fused the kernel
with what follows it.

    packed (n, blocks, rows..., depth)     the input with its pads, a block of channels together
    partial (parts, ..., tiles, lanes)     sums over one group of blocks, where there are several
    sums (..., tiles, lanes)               the sums of all
    product (..., channels)                the same without what fills the last vector
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from tvm import relax, te, tirx

from ..schedules.annotations import PRODUCT
from ..schedules.core import Core
from ..schedules.tile import Blocks, Tile, blocks_of, tile_of
from .call import Call, Expr, Shape, core_of
from .tiles import Index, Tensor

#: `OpPatternKind`'s kOutEWiseFusable: TVM fuses it with what is done to each of its numbers.
FUSABLE: Final = 4


@dataclasses.dataclass(frozen=True)
class Space:
    """How the windows of a product lie; one number for each axis of the space.

    A product of matrices is one whose only axis has windows of one number.

    Attributes:
        begin, end: pads.
    """

    kernel: Shape
    strides: Shape
    dilations: Shape
    begin: Shape
    end: Shape

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def is_padded(self) -> bool:
        return any((*self.begin, *self.end))

    @property
    def is_pointwise(self) -> bool:
        return self.taps == 1

    def reach(self, places: Sequence[int]) -> Shape:
        """Return the extents that so many windows along each axis read, with pads."""
        return tuple(
            (count - 1) * stride + (size - 1) * dilation + 1
            for count, stride, size, dilation in zip(
                places, self.strides, self.kernel, self.dilations, strict=True
            )
        )


POINT: Final = Space((1,), (1,), (1,), (0,), (0,))


def product(
    call: Call, data: Expr, weight: np.ndarray, space: Space, group: int, out: Shape
) -> Expr:
    """Return the product of channels-last data with a weight; float32.

    Args:
        data: (..., space, groups x I); of what precedes the space, each is taken by itself.
        weight: (kernel, I, O).
        group: the inputs of output channel o are those from (o // (O / group)) x I on.
        out: (..., space, O).
    """
    shape = tuple(int(dim) for dim in data.ty.shape)
    plan = _Plan.of(space, weight.shape, shape, group, out, core_of(call))
    packed = relax.const(plan.packed(weight))

    def compute(x: Tensor, w: Tensor) -> Tensor:
        return plan.compute(x, w)

    return call.builder.emit_te(
        compute, data, packed, primfunc_name_hint="product", primfunc_attrs={"op_pattern": FUSABLE}
    )


@dataclasses.dataclass(frozen=True)
class _Plan:
    """One product and how it is computed.

    Attributes:
        shape, out: of the data and of the product, channels last.
        inputs: channels of a group.
    """

    space: Space
    shape: Shape
    out: Shape
    inputs: int
    group: int
    tile: Tile
    blocks: Blocks

    @classmethod
    def of(
        cls, space: Space, weight: Shape, shape: Shape, group: int, out: Shape, core: Core
    ) -> _Plan:
        *_, inputs, outputs = weight
        places = out[-1 - len(space.kernel) : -1]
        tile = tile_of(places, outputs // group, core)
        reach = places if space.is_pointwise else space.reach(places)
        total = inputs * group
        each = math.prod(reach) * total / places[0]
        tiles = outputs // group // tile.channels
        blocks = blocks_of(
            tile, space.taps, inputs, places, each, tiles, core, padded=space.is_padded
        )
        return cls(space, shape, out, inputs, group, tile, blocks)

    @property
    def _count(self) -> int:
        """Blocks of input channels of one group."""
        return self.inputs // self.blocks.depth

    @property
    def _tiles(self) -> int:
        return self.out[-1] // self.tile.channels

    @property
    def _outer(self) -> Shape:
        return self.out[: -1 - len(self.space.kernel)]

    @property
    def _places(self) -> Shape:
        return self.out[len(self._outer) : -1]

    def packed(self, weight: np.ndarray) -> np.ndarray:
        """Return the weight as (tiles, blocks, kernel, depth, lanes), zeros in spare lanes."""
        rank, tile, depth = len(self.space.kernel), self.tile, self.blocks.depth
        kernel = self.space.kernel
        result = np.zeros((self._tiles, self._count, *kernel, depth, tile.lanes), np.float32)
        parts = weight.reshape(*kernel, self._count, depth, self._tiles, tile.channels)
        order = (rank + 2, rank, *range(rank), rank + 1, rank + 3)
        result[..., : tile.channels] = parts.transpose(order)
        return result

    def compute(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the tensor ``product``."""
        read, strides = self._reader(x)
        sums = self._sums(w, read, strides)
        channels = self.tile.channels

        def element(*index: Any) -> Any:
            *place, channel = index
            return sums(*place, tirx.floordiv(channel, channels), tirx.floormod(channel, channels))

        return te.compute(self.out, element, name="product")

    def _reader(self, x: Tensor) -> tuple[Callable[..., Any], Shape]:
        """Return what reads (outer, block, place in space, channel in block), and the strides."""
        depth, space, before = self.blocks.depth, self.space, len(self._outer)
        if not self.blocks.packs:

            def read(outer: Index, block: Any, place: Index, inner: Any) -> Any:
                return x(*outer, *place, block * depth + inner)

            return read, space.strides
        # Windows of one number read what they need only: strides are over after packing.
        steps = space.strides if space.is_pointwise else (1,) * len(space.strides)
        reach = self._places if space.is_pointwise else space.reach(self._places)
        limits = self.shape[before:-1]

        def copied(*index: Any) -> Any:
            outer, block, place, inner = (
                index[:before], index[before], index[before + 1 : -1], index[-1]
            )  # fmt: skip
            source = [
                at * step - pad for at, step, pad in zip(place, steps, space.begin, strict=True)
            ]
            value = x(*outer, *source, block * depth + inner)
            if not space.is_padded:
                return value
            inside = [
                test
                for at, limit in zip(source, limits, strict=True)
                for test in (at >= 0, at < limit)
            ]
            return tirx.if_then_else(tirx.all(*inside), value, tirx.const(0.0, "float32"))

        blocks = self._count * self.group
        packed = te.compute((*self._outer, blocks, *reach, depth), copied, name="packed")

        def read_packed(outer: Index, block: Any, place: Index, inner: Any) -> Any:
            return packed(*outer, block, *place, inner)

        return read_packed, (1,) * len(reach) if space.is_pointwise else space.strides

    def _sums(self, w: Tensor, read: Callable[..., Any], strides: Shape) -> Tensor:
        space, tile, blocks = self.space, self.tile, self.blocks
        parts = self._count // blocks.group
        before, each = len(self._outer), self._tiles // self.group

        def axes() -> list[Any]:
            sizes = {"block": blocks.group, **{f"k{k}": n for k, n in enumerate(space.kernel)}}
            return [
                te.reduce_axis((0, size), name)
                for name, size in {**sizes, "depth": blocks.depth}.items()
            ]

        def term(index: Index, part: Any, over: Sequence[Any]) -> Any:
            *place, tile_at, lane = index
            block, *taps, inner = over
            block = part * blocks.group + block
            where = [
                at * stride + tap * dilation
                for at, stride, tap, dilation in zip(
                    place[before:], strides, taps, space.dilations, strict=True
                )
            ]
            first = tirx.floordiv(tile_at, each) * self._count if self.group > 1 else 0
            value = read(place[:before], first + block, where, inner)
            return value * w(tile_at, block, *taps, inner, lane)

        shape = (*self.out[:-1], self._tiles, tile.lanes)
        annotation = {
            PRODUCT: [len(self._places), tile.height, tile.width, tile.channels, blocks.rows]
        }
        if parts == 1 and tile.lanes == tile.channels:
            over = axes()
            return te.compute(
                shape,
                lambda *index: te.sum(term(index, 0, over), over),
                name="sums",
                attrs=annotation,
            )
        over = axes()
        partial = te.compute(
            (parts, *shape),
            lambda part, *index: te.sum(term(index, part, over), over),
            name="partial",
        )
        part = te.reduce_axis((0, parts), "part")
        return te.compute(
            shape,
            lambda *index: te.sum(partial(part, *index), [part]),
            name="sums",
            attrs=annotation,
        )
