"""The schedule of a convolution by Winograd's way, and of what follows it.

A block of tiles goes from its input to its output while it is in the second-level cache. Tiles are
transformed in registers, some channels of one tile at once.
"""

from __future__ import annotations

from tvm import s_tir

from .annotations import WINOGRAD
from .core import Core
from .loops import Block, Loop, blocks_of, dtype_of, extent, split_lanes, vectorize
from .nests import Nest
from .winograd_tile import vector_of


def schedule_winograd(schedule: s_tir.Schedule, core: Core) -> bool:
    """Schedule a kernel if it is such a convolution; say whether it is."""
    blocks = blocks_of(schedule)
    sums = blocks.get("sums")
    if sums is None or WINOGRAD not in schedule.get(sums).annotations:
        return False
    size, rows, height, channels = map(int, schedule.get(sums).annotations[WINOGRAD])
    core = core.of_dtype(dtype_of(schedule, sums))
    part = _output(schedule, blocks, size, rows, core)
    _products(schedule, blocks, part, height, channels, core)
    _input(schedule, blocks, part, core)
    return True


def _output(
    schedule: s_tir.Schedule, blocks: dict[str, Block], size: int, rows: int, core: Core
) -> Loop:
    """Interpolate tiles and compute what follows; return the loop over blocks of tiles."""
    *names, last = blocks
    for between in names[names.index("tiles") + 1 :]:
        schedule.compute_inline(blocks[between])
    image, row, column, channel = schedule.get_loops(blocks[last])
    part, row = schedule.split(row, [None, size * rows])
    row, y = schedule.split(row, [None, size])
    column, x = schedule.split(column, [None, size])
    vectors, lane = schedule.split(channel, [None, vector_of(extent(schedule, channel), core)])
    schedule.reorder(image, part, row, column, vectors, y, x, lane)
    for name in ("tiles", "rows"):
        _in_registers(schedule, blocks[name], vectors)
    _write_out(schedule, [y, x], lane)
    return part


def _products(
    schedule: s_tir.Schedule,
    blocks: dict[str, Block],
    part: Loop,
    height: int,
    channels: int,
    core: Core,
) -> None:
    """Multiply in tiles of so many rows, which are tiles of the convolution, and channels."""
    products, sums = blocks["products"], blocks["sums"]
    schedule.compute_at(products, part, preserve_unit_loops=True)
    *point, at, channel = schedule.get_loops(products)[-4:]
    tile, row = schedule.split(at, [None, height])
    panel, lane = schedule.split(channel, [None, channels])
    schedule.reorder(*point, panel, tile, row, lane)
    schedule.set_scope(sums, 0, "local")
    Nest.at(schedule, sums, tile, 1, 1, 1).write_out(schedule, core)
    schedule.unroll(row)
    split_lanes(schedule, lane, core)


def _input(schedule: s_tir.Schedule, blocks: dict[str, Block], part: Loop, core: Core) -> None:
    """Copy the input of a block with its pads, and evaluate its tiles."""
    evaluated = blocks["evaluated"]
    schedule.compute_at(evaluated, part, preserve_unit_loops=True)
    *point, at, channel = schedule.get_loops(evaluated)[-4:]
    vectors, lane = schedule.split(channel, [None, vector_of(extent(schedule, channel), core)])
    schedule.reorder(at, vectors, *point, lane)
    _in_registers(schedule, blocks["evaluated_rows"], vectors)
    _write_out(schedule, point, lane)
    schedule.compute_at(blocks["padded"], part, preserve_unit_loops=True)
    vectorize(schedule, blocks["padded"], core.lanes)


def _in_registers(schedule: s_tir.Schedule, block: Block, loop: Loop) -> None:
    """Compute some channels of one tile in each round of a loop."""
    schedule.compute_at(block, loop, preserve_unit_loops=True)
    schedule.set_scope(block, 0, "local")
    *_, row, column, lane = schedule.get_loops(block)
    _write_out(schedule, [row, column], lane)


def _write_out(schedule: s_tir.Schedule, loops: list[Loop], lane: Loop) -> None:
    for loop in loops:
        schedule.unroll(loop)
    schedule.vectorize(lane)
