"""The schedule of a kernel that makes something of each row, with sums along it.

All is computed row by row, so that a row is in the first-level cache while it is read again.
"""

from __future__ import annotations

from tvm import s_tir

from .annotations import ROW
from .core import Core
from .loops import Block, blocks_of, extent, is_spatial, split_lanes


def schedule_rows(schedule: s_tir.Schedule, core: Core) -> bool:
    """Schedule a kernel if it is one of rows; say whether it is."""
    blocks = blocks_of(schedule)
    own = {name for name, block in blocks.items() if ROW in schedule.get(block).annotations}
    if not own:
        return False
    *before, last = blocks
    results = [name for name in before if name not in own or name == "y"]
    for name in results:
        schedule.compute_inline(blocks[name])
    *outer, _ = schedule.get_loops(blocks[last])
    inside = [blocks[name] for name in before if name not in results]
    for block in reversed(inside):
        if outer:
            schedule.compute_at(block, outer[-1], preserve_unit_loops=True)
    for block in [*inside, blocks[last]]:
        _in_vectors(schedule, block, core, len(outer))
    return True


def _in_vectors(schedule: s_tir.Schedule, block: Block, core: Core, outer: int) -> None:
    lanes, loops = core.lanes, schedule.get_loops(block)[outer:]
    if is_spatial(schedule, block):
        lane = loops[-1]
        size = extent(schedule, lane)
        if size > lanes and size % lanes:
            lane, _ = schedule.loop_partition(lane, [size // lanes * lanes, None])
        if size > lanes:
            _, lane = schedule.split(lane, [None, lanes])
        if extent(schedule, lane) > 1:
            schedule.vectorize(lane)
        return
    *_, lane, step = loops
    schedule.reorder(step, lane)
    if extent(schedule, lane) > 1:
        split_lanes(schedule, lane, core)
    schedule.decompose_reduction(block, step)
