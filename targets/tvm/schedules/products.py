"""The schedule of a kernel that is a product, or a depthwise convolution, and what follows it.

What follows is computed where the sums are: for a tile that is still in registers or, where the
sums of a tile come in parts, once all parts for its channels are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tvm import s_tir

from .annotations import DEPTHWISE, PAIRED, PRODUCT, TRANSPOSED, numbered
from .core import Core
from .loops import (
    PARTITION,
    Block,
    Loop,
    blocks_of,
    dtype_of,
    extent,
    is_spatial,
    split_lanes,
    split_tail,
    unroll_in_vectors,
    vectorize,
)
from .nests import Nest, PairedNest
from .tile import divisors, skips_pads

#: So many words are put together at once, at most.
_WORDS: Final = 8


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
        schedule_depthwise = _written_out if is_spatial(schedule, sums) else _depthwise
        schedule_depthwise(schedule, blocks, [int(item) for item in annotations[DEPTHWISE]], core)
        return True
    return False


def _product(
    schedule: s_tir.Schedule, blocks: dict[str, Block], said: Sequence[int], core: Core
) -> None:
    rank, height, width, channels, rows = said
    annotations = schedule.get(blocks["sums"]).annotations
    strides = [int(step) for step in annotations.get(TRANSPOSED, ())]
    last = _last(schedule, blocks, "product")
    *outer, channel = schedule.get_loops(last)
    space, outer = outer[-rank:], outer[:-rank]
    phases: list[Loop] = []
    if strides:
        pairs = [
            schedule.split(loop, [None, step]) for loop, step in zip(space, strides, strict=True)
        ]
        space, phases = [place for place, _ in pairs], [phase for _, phase in pairs]
    tiles, lane = split_tail(schedule, channel, channels)
    part, *space = _block_of_rows(schedule, space, rows)
    schedule.reorder(*outer, part, tiles, *space, *phases, lane)
    stride = int(annotations.get(PAIRED, 0))

    def nest_of(block: Block, around: Loop) -> Nest | PairedNest:
        schedule.set_scope(block, 0, "local")
        if stride:
            return PairedNest.at(schedule, block, around, rank, stride)
        return Nest.at(schedule, block, around, rank, rank + 2, 1)

    nests = []
    if "partial" in blocks:
        for number in _numbers(blocks):
            sums, partial = (blocks[numbered(name, number)] for name in ("sums", "partial"))
            schedule.compute_at(sums, tiles, preserve_unit_loops=True)
            *loops, over = schedule.get_loops(sums)
            end = len(loops) - (3 if stride else 1)
            lanes, wide = loops[end:], width // 2 if stride else width
            around, inner = _tiled(schedule, loops[end - 1 - rank : end - 1], height, wide)
            schedule.reorder(over, *around, *inner, *lanes)
            if stride:
                lanes[1:] = [schedule.fuse(*lanes[1:])]
            unroll_in_vectors(schedule, [*inner, *lanes[:-1]], lanes[-1], core)
            nests.append(nest_of(partial, around[-1]))
            schedule.decompose_reduction(sums, over)
    else:
        around, inner = _tiled(schedule, space, height, width)
        schedule.reorder(*around, *inner, *phases, lane)
        nests = [
            nest_of(blocks[numbered("sums", number)], around[-1]) for number in _numbers(blocks)
        ]
    if "packed" in blocks:
        schedule.compute_at(blocks["packed"], part, preserve_unit_loops=True)
        vectorize(schedule, blocks["packed"], core.lanes)
    if "panels" in blocks:
        _pack_panels(schedule, blocks["panels"], outer, core)
    for nest in nests:
        nest.write_out(schedule, core)
    split_lanes(schedule, lane, core)
    for loop in phases if "partial" in blocks else (*inner, *phases):
        schedule.unroll(loop)


def _numbers(blocks: dict[str, Block]) -> list[int]:
    """Return the numbers of a kernel's blocks of sums."""
    return [number for number in range(len(blocks)) if numbered("sums", number) in blocks]


def _pack_panels(schedule: s_tir.Schedule, block: Block, outer: Sequence[Loop], core: Core) -> None:
    """Pack the second operand of one product: before all, or for each of several."""
    if outer:
        schedule.compute_at(block, outer[-1], preserve_unit_loops=True)
    tiles, *_, lane = schedule.get_loops(block)[len(outer) :]
    schedule.annotate(tiles, PARTITION, 1)
    split_lanes(schedule, lane, core)


def _depthwise(
    schedule: s_tir.Schedule, blocks: dict[str, Block], said: Sequence[int], core: Core
) -> None:
    rank, width, channels, rows = said
    sums = blocks["sums"]
    written = skips_pads(extent(schedule, schedule.get_loops(sums)[-1]))
    if "padded" in blocks and "packed" not in blocks and written:
        schedule.compute_inline(blocks.pop("padded"))
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
    if "packed" in blocks:  # Words of all channels would leave the first-level cache.
        schedule.reorder(*outer, part, tiles, *around, *inner, lane)
    else:
        schedule.reorder(*outer, part, *around[:-1], tiles, around[-1], *inner, lane)
    nest = Nest.at(schedule, sums, around[-1], rank, rank, 0)
    if "packed" in blocks:
        schedule.compute_at(blocks["packed"], tiles, preserve_unit_loops=True)
    if "padded" in blocks:
        schedule.compute_at(blocks["padded"], part, preserve_unit_loops=True)
        vectorize(schedule, blocks["padded"], core.lanes)
    if "packed" in blocks:
        _write_out_words(schedule, blocks["packed"], core)
        nest.use_instruction(schedule, core.alone, spread=False)
    else:
        if written:
            schedule.unroll(nest.over[-1])
        nest.write_out(schedule, core)
    unroll_in_vectors(schedule, inner, lane, core)


def _write_out_words(schedule: s_tir.Schedule, block: Block, core: Core) -> None:
    """Put words together, several beside each other: most of what they are made of they share."""
    vectorize(schedule, block, core.lanes)
    *_, place, _, _ = schedule.get_loops(block)
    count = max(item for item in divisors(extent(schedule, place)) if item <= _WORDS)
    schedule.unroll(schedule.split(place, [None, count])[1])


def _written_out(
    schedule: s_tir.Schedule, blocks: dict[str, Block], said: Sequence[int], core: Core
) -> None:
    """Schedule sums whose terms are written out, as part of what becomes of them."""
    rank, width, channels, rows = said
    if list(blocks)[-1] != "sums":
        schedule.compute_inline(blocks["sums"])
    last = _last(schedule, blocks, "sums")
    *outer, channel = schedule.get_loops(last)
    space, outer = outer[-rank:], outer[:-rank]
    tiles, lane = schedule.split(channel, [None, channels])
    part, *space = _block_of_rows(schedule, space, rows if rank > 1 else None)
    around, inner = _tiled(schedule, space, 1, width)
    schedule.reorder(*outer, part, *around[:-1], tiles, around[-1], *inner, lane)
    if "padded" in blocks:
        schedule.compute_at(blocks["padded"], part, preserve_unit_loops=True)
        vectorize(schedule, blocks["padded"], core.lanes)
    for loop in inner:
        schedule.unroll(loop)
    schedule.vectorize(lane)


def _last(schedule: s_tir.Schedule, blocks: dict[str, Block], name: str) -> Block:
    """Return the last block, with all between it and block `name` computed in it."""
    names = list(blocks)
    for between in names[names.index(name) : -1]:
        if not between.startswith("sums"):
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
    sizes = (*(1 for _ in space[2:]), height, width)[-len(space) :]
    pairs = [schedule.split(loop, [None, size]) for loop, size in zip(space, sizes, strict=True)]
    return [outer for outer, _ in pairs], [inner for _, inner in pairs]
