"""The schedule of a kernel that is a product, or a depthwise convolution, and what follows it.

What follows is computed where the sums are: for a tile that is still in registers or, where the
sums of a tile come in parts, once all parts for its channels are there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from tvm import s_tir

from .annotations import DEPTHWISE, PRODUCT
from .core import Core
from .instructions import instruction
from .loops import (
    PARTITION,
    SPATIAL,
    Block,
    Loop,
    blocks_of,
    dtype_of,
    extent,
    split_lanes,
    split_tail,
    vectorize,
)
from .tile import steps_of


def schedule_product(schedule: s_tir.Schedule, core: Core) -> bool:
    """Schedule a kernel if it has a product; say whether it has."""
    blocks = blocks_of(schedule)
    sums = blocks.get("sums")
    if sums is None:
        return False
    annotations = schedule.get(sums).annotations
    core = core.of_dtype(dtype_of(schedule, blocks.get("partial", sums)))
    if PRODUCT in annotations:
        _product(schedule, blocks, [int(item) for item in annotations[PRODUCT]], core)
        return True
    if DEPTHWISE in annotations:
        _depthwise(schedule, blocks, [int(item) for item in annotations[DEPTHWISE]], core)
        return True
    return False


def _product(
    schedule: s_tir.Schedule, blocks: dict[str, Block], said: Sequence[int], core: Core
) -> None:
    rank, height, width, channels, rows = said
    last = _last(schedule, blocks, "product")
    *outer, channel = schedule.get_loops(last)
    space, outer = outer[-rank:], outer[:-rank]
    tiles, lane = split_tail(schedule, channel, channels)
    part, *space = _block_of_rows(schedule, space, rows)
    sums = blocks["sums"]
    if "partial" in blocks:
        schedule.reorder(*outer, part, tiles, *space, lane)
        schedule.compute_at(sums, tiles, preserve_unit_loops=True)
        *_, over = loops = schedule.get_loops(sums)
        around, inner = _tiled(schedule, loops[-2 - rank - 1 : -3], height, width)
        schedule.reorder(over, *around, *inner, loops[-2])
        _unroll(schedule, inner, loops[-2], core)
        schedule.set_scope(blocks["partial"], 0, "local")
        nest = Nest.at(schedule, blocks["partial"], around[-1], rank, rank + 2, 1)
        schedule.decompose_reduction(sums, over)
    else:
        around, inner = _tiled(schedule, space, height, width)
        schedule.reorder(*outer, part, tiles, *around, *inner, lane)
        schedule.set_scope(sums, 0, "local")
        nest = Nest.at(schedule, sums, around[-1], rank, rank + 2, 1)
    if "packed" in blocks:
        schedule.compute_at(blocks["packed"], part, preserve_unit_loops=True)
        vectorize(schedule, blocks["packed"], core.lanes)
    if "panels" in blocks:
        _pack_panels(schedule, blocks["panels"], outer, core)
    nest.write_out(schedule, core)
    split_lanes(schedule, lane, core)
    if "partial" not in blocks:
        for loop in inner:
            schedule.unroll(loop)


def _pack_panels(schedule: s_tir.Schedule, block: Block, outer: Sequence[Loop], core: Core) -> None:
    """Pack the second operand of one product: before all, or for each of several."""
    if outer:
        schedule.compute_at(block, outer[-1], preserve_unit_loops=True)
    tiles, *_, lane = schedule.get_loops(block)[len(outer) :]
    schedule.annotate(tiles, PARTITION, 1)
    split_lanes(schedule, lane, core)


@dataclasses.dataclass(frozen=True)
class Nest:
    """The loops of the sums of one tile, which are in registers while all that they are made of
    goes by.

    Attributes:
        over: loops that sums are over.
        tile, lane: loops of the sums.
        word: the loop over the numbers of a word, where there are several.
    """

    block: Block
    over: Sequence[Loop]
    tile: Sequence[Loop]
    lane: Loop
    word: Sequence[Loop]

    @classmethod
    def at(
        cls, schedule: s_tir.Schedule, block: Block, loop: Loop, rank: int, taps: int, tiles: int
    ) -> Nest:
        """Return the loops of sums that are computed in each round of a loop.

        Args:
            rank: of the space.
            taps: how many loops, but that over a word, sums are over.
            tiles: how many loops there are between those of the space and that over lanes.
        """
        schedule.compute_at(block, loop, preserve_unit_loops=True)
        kinds = [int(axis.iter_type) for axis in schedule.get(block).iter_vars]
        summed = len(kinds) - kinds.count(SPATIAL)
        loops = schedule.get_loops(block)
        *spatial, lane = loops[len(loops) - len(kinds) : -summed]
        over = loops[-summed:]
        end = len(spatial) - tiles
        nest = cls(block, over[:taps], spatial[end - rank : end], lane, over[taps:])
        schedule.reorder(*nest.over, *nest.tile, lane, *nest.word)
        return nest

    def write_out(self, schedule: s_tir.Schedule, core: Core) -> None:
        """Unroll the tile, in vectors."""
        if self.word:
            self.use_instruction(schedule, core, spread=True)
            return
        first = self._write_out_steps(schedule, core)
        _unroll(schedule, self.tile, self.lane, core)
        schedule.decompose_reduction(self.block, first)

    def _write_out_steps(self, schedule: s_tir.Schedule, core: Core) -> Loop:
        """Unroll steps along the innermost loop that sums are over; return the outermost."""
        rows = math.prod(extent(schedule, loop) for loop in self.tile)
        count = extent(schedule, self.over[-1])
        steps = math.gcd(count, steps_of(rows, -(-extent(schedule, self.lane) // core.lanes), core))
        if not 1 < steps < count:
            return self.over[0]
        around, written = schedule.split(self.over[-1], [None, steps])
        schedule.unroll(written)
        return self.over[0] if len(self.over) > 1 else around

    def use_instruction(self, schedule: s_tir.Schedule, core: Core, *, spread: bool) -> None:
        """Unroll the tile, computed by an instruction for integers.

        Args:
            spread: as of `instruction`.
        """
        width = _instruction_lanes(schedule, self.lane, core)
        vectors, lane = schedule.split(self.lane, [None, width])
        for loop in (*self.tile, vectors):
            schedule.unroll(loop)
        # What the rows of a tile that are outside do not compute is outside of the block, too.
        around = schedule.blockize(lane)
        zeros = schedule.decompose_reduction(around, self.over[0])
        called = instruction(core.integers, width, spread=spread)
        schedule.tensorize(schedule.get_loops(self.block)[-1 - len(self.word)], called)
        (zero,) = schedule.get_child_blocks(zeros)
        schedule.vectorize(schedule.get_loops(zero)[-1])


def _instruction_lanes(schedule: s_tir.Schedule, lane: Loop, core: Core) -> int:
    """Return how many lanes the longest instruction has that does a loop without a rest."""
    size = extent(schedule, lane)
    return max(count for count in core.integers.instructions if size % count == 0)


def _depthwise(
    schedule: s_tir.Schedule, blocks: dict[str, Block], said: Sequence[int], core: Core
) -> None:
    rank, width, channels, rows = said
    sums = blocks["sums"]
    if list(blocks)[-1] == "sums":
        last = schedule.cache_write(sums, 0, "local")
    else:
        last = _last(schedule, blocks, "sums")
        schedule.set_scope(sums, 0, "local")
    *outer, channel = schedule.get_loops(last)
    space, outer = outer[-rank:], outer[:-rank]
    tiles, lane = schedule.split(channel, [None, channels])
    part, *space = _block_of_rows(schedule, space, rows if rank > 1 else None)
    around, inner = _tiled(schedule, space, 1, width)
    schedule.reorder(*outer, part, *around[:-1], tiles, around[-1], *inner, lane)
    nest = Nest.at(schedule, sums, around[-1], rank, rank, 0)
    if "packed" in blocks:
        schedule.compute_at(blocks["packed"], part, preserve_unit_loops=True)
    if "padded" in blocks:
        schedule.compute_at(blocks["padded"], part, preserve_unit_loops=True)
        vectorize(schedule, blocks["padded"], core.lanes)
    if "packed" in blocks:
        vectorize(schedule, blocks["packed"], core.lanes)
        nest.use_instruction(schedule, core, spread=False)
    else:
        nest.write_out(schedule, core)
    _unroll(schedule, inner, lane, core)


def _last(schedule: s_tir.Schedule, blocks: dict[str, Block], name: str) -> Block:
    """Return the last block, with all between it and block `name` computed in it."""
    names = list(blocks)
    for between in names[names.index(name) : -1]:
        if between != "sums":
            schedule.compute_inline(blocks[between])
    return blocks[names[-1]]


def _block_of_rows(schedule: s_tir.Schedule, space: Sequence[Loop], rows: int | None) -> list[Loop]:
    """Split the first loop of a space into blocks of so many rows; None: one block."""
    first, *others = space
    factors = [1, None] if rows is None else [None, rows]
    return [*schedule.split(first, factors), *others]


def _tiled(
    schedule: s_tir.Schedule, space: Sequence[Loop], height: int, width: int
) -> tuple[list[Loop], list[Loop]]:
    """Split the loops of a space; return those around a tile, and those inside."""
    sizes = (height, width)[-len(space) :]
    pairs = [schedule.split(loop, [None, size]) for loop, size in zip(space, sizes, strict=True)]
    return [outer for outer, _ in pairs], [inner for _, inner in pairs]


def _unroll(schedule: s_tir.Schedule, loops: Sequence[Loop], lane: Loop, core: Core) -> None:
    """Write out the loops of a tile, and turn the last into vectors."""
    for loop in loops:
        schedule.unroll(loop)
    split_lanes(schedule, lane, core)
