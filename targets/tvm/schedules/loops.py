"""Schedules of kernels without a product: vectors along the last axis, little in memory between.

Also what the other schedules are made of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import tvm_ffi
from tvm import DataType, s_tir, tirx
from tvm.ir import Call

from .annotations import VECTOR
from .core import Core
from .tile import divisors

#: TVM has no type hints.
Block: TypeAlias = Any
Loop: TypeAlias = Any

#: `tirx.IterVar.DataPar`: an axis along which results do not depend on each other.
SPATIAL: Final = 0

#: Functions that TVM has no code for but of one number at a time.
_SCALAR: Final = ("tirx.cosh", "tirx.popcount", "tirx.sinh")

#: Annotation of a loop whose last round is written apart, if its conditions are those of no other.
PARTITION: Final = "pragma_loop_partition_hint"

#: Bytes that memory gives at once.
_LINE: Final = 64

#: The longest vector that one loop becomes, in registers: LLVM splits it.
_MOST: Final = 4


def blocks_of(schedule: s_tir.Schedule) -> dict[str, Block]:
    """Return the blocks of a kernel in the order in which they are computed, by name."""
    found = schedule.get_child_blocks(schedule.get_sblock("root"))
    return {str(schedule.get(block).name_hint): block for block in found}


def dtype_of(schedule: s_tir.Schedule, block: Block) -> str:
    """Return the dtype of what a block computes."""
    return str(schedule.get(block).writes[0].source.dtype)


def extent(schedule: s_tir.Schedule, loop: Loop) -> int:
    """Return how often a loop runs."""
    return int(schedule.get(loop).extent)


def with_body(block: s_tir.SBlock, body: Any, **annotations: Any) -> s_tir.SBlock:
    """Return a block with another body, and more annotations."""
    return s_tir.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        body,
        block.init,
        block.alloc_buffers,
        block.match_buffers,
        {**block.annotations, **annotations},
    )


def split_tail(schedule: s_tir.Schedule, loop: Loop, width: int) -> list[Loop]:
    """Split a loop into parts of a width; what is left over for the last one stays apart."""
    size = extent(schedule, loop)
    outer, inner = schedule.split(loop, [None, width])
    if size % width:
        schedule.annotate(outer, PARTITION, 1)
    return [outer, inner]


def split_lanes(schedule: s_tir.Schedule, loop: Loop, core: Core) -> None:
    """Turn a short loop into vectors: registers, or halves, if it can be, else equal parts."""
    size, lanes = extent(schedule, loop), core.lanes
    groups = [lanes << power for power in range(1, core.operands.group.bit_length())]
    width = max(item for item in divisors(size) if item <= lanes or item in groups)
    if width < lanes < size and core.splits and size % (lanes // 2) == 0:
        width = lanes // 2
    if width < size:
        outer, loop = schedule.split(loop, [None, width])
        schedule.unroll(outer)
    schedule.vectorize(loop)


def unroll_in_vectors(
    schedule: s_tir.Schedule, loops: Sequence[Loop], lane: Loop, core: Core
) -> None:
    """Write out the loops of a tile, and turn the last into vectors."""
    for loop in loops:
        schedule.unroll(loop)
    split_lanes(schedule, lane, core)


def schedule_plain(schedule: s_tir.Schedule, core: Core) -> None:
    """Schedule any kernel."""
    for block in list(blocks_of(schedule).values())[:-1]:
        if _is_passed_on(schedule, block):
            schedule.compute_inline(block)
    for block in blocks_of(schedule).values():
        annotations = schedule.get(block).annotations
        if VECTOR in annotations:
            parts = schedule.split(schedule.get_loops(block)[-1], [None, int(annotations[VECTOR])])
            schedule.vectorize(parts[1])
        elif not _in_one_row(schedule, block, core.lanes):
            vectorize(schedule, block, core.lanes)


def _in_one_row(schedule: s_tir.Schedule, block: Block, lanes: int) -> bool:
    """Compute a block as if its tensors had one axis, if that gives longer vectors.

    An image of three channels has no vector along its last axis.
    """
    loops = schedule.get_loops(block)
    if not loops or not _is_elementwise(schedule, block) or _has_scalar_calls(schedule, block):
        return False
    extents = [extent(schedule, loop) for loop in loops]
    widths = [longest_vector(size, lanes) for size in (math.prod(extents), extents[-1])]
    if widths[0] <= widths[1]:
        return False
    if len(loops) > 1:
        _flatten(schedule, block)
    (loop,) = schedule.get_loops(block)
    _, inner = schedule.split(loop, [None, widths[0]])
    schedule.vectorize(inner)
    return True


def _flatten(schedule: s_tir.Schedule, block: Block) -> None:
    """Let a block that is elementwise, and what it is computed from, have one axis.

    With several, TVM does not see in each case that the places of a vector are neighbours.
    """
    stated = schedule.get(block)
    extents = [int(axis.dom.extent) for axis in stated.iter_vars]

    def place(*index: Any) -> Any:
        found: Any = 0
        for at, size in zip(index, extents, strict=True):
            found = found * size + at
        return [found]

    dtype = str(stated.iter_vars[0].var.ty.dtype)
    row = tirx.IndexMap.from_func(place, ndim=len(extents), index_dtype=dtype)
    for kind, accesses in (("read", stated.reads), ("write", stated.writes)):
        for number, access in enumerate(accesses):
            if [int(size) for size in access.source.shape] == extents:
                schedule.transform_layout(block, (kind, number), row)
    schedule.transform_block_layout(block, row)


def _is_elementwise(schedule: s_tir.Schedule, block: Block) -> bool:
    """Whether each number is computed from the same place of other tensors, and from whole ones."""
    stated = schedule.get(block)
    axes = [axis.var for axis in stated.iter_vars]
    extents = [int(axis.dom.extent) for axis in stated.iter_vars]
    if not axes or not is_spatial(schedule, block):
        return False
    for access in (*stated.reads, *stated.writes):
        starts = [part.min for part in access.region]
        shape = [int(size) for size in access.source.shape]
        is_own = shape == extents and all(map(tirx.Var.same_as, starts, axes))
        if not is_own and not _is_whole(access, shape):
            return False
    return True


def _is_whole(access: Any, shape: Sequence[int]) -> bool:
    """Whether a block accesses all of a tensor, wherever it stands."""
    return all(
        isinstance(part.extent, tirx.IntImm) and int(part.extent) == size
        for part, size in zip(access.region, shape, strict=True)
    )


def longest_vector(size: int, lanes: int) -> int:
    """Return how many neighbours of so many are computed at once, without a rest."""
    return max(item for item in divisors(size) if item <= _MOST * lanes)


def vectorize(schedule: s_tir.Schedule, block: Block, lanes: int) -> None:
    """Compute neighbours along a block's last axis at once, sums of each in its own lane."""
    kinds = [int(axis.iter_type) for axis in schedule.get(block).iter_vars]
    loops = schedule.get_loops(block)[-len(kinds) :]
    if len(loops) < len(kinds):  # one number, without a loop
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == SPATIAL]
    summed = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != SPATIAL]
    turned = None if summed else _turned(schedule, block)
    if turned is not None:
        _turn(schedule, block, spatial, turned)
    elif spatial and not _has_scalar_calls(schedule, block):
        width = longest_vector(extent(schedule, spatial[-1]), lanes)
        if width > 1:
            outer, inner = schedule.split(spatial[-1], [None, width])
            if summed:
                schedule.reorder(*spatial[:-1], outer, *summed, inner)
            schedule.vectorize(inner)
    if summed:
        schedule.decompose_reduction(block, summed[0])


def _turned(schedule: s_tir.Schedule, block: Block) -> int | None:
    """Return the axis that data has last which a block reads, if it is none of neighbours."""
    stated = schedule.get(block)
    axes = [axis.var for axis in stated.iter_vars]
    lasts = [read.region[-1].min for read in stated.reads if len(read.region) > 1]
    found = (at for at, axis in enumerate(axes[:-1]) if any(map(axis.same_as, lasts)))
    return next(found, None)


def _turn(schedule: s_tir.Schedule, block: Block, loops: Sequence[Loop], turned: int) -> None:
    """Compute the vectors next that are made of the same lines of the data as those before.

    They lie in other lines of the result: in the order of these, each line of the data would have
    left the caches before its next number is read.
    """
    written = schedule.get(block).writes[0].source
    most = 8 * _LINE // max(8, DataType(str(written.dtype)).bits)
    width = max(item for item in divisors(extent(schedule, loops[-1])) if item <= most)
    outer, inner = schedule.split(loops[-1], [None, width])
    others = [loop for at, loop in enumerate(loops[:-1]) if at != turned]
    schedule.reorder(*others, outer, loops[turned], inner)
    if width > 1:
        schedule.vectorize(inner)


def _has_scalar_calls(schedule: s_tir.Schedule, block: Block) -> bool:
    found: list[str] = []

    def note(node: Call) -> None:
        found.append(str(getattr(node.op, "name", "")))

    tvm_ffi.structural_walk(schedule.get(block).body, (Call, note))
    return any(name in _SCALAR for name in found)


def _is_passed_on(schedule: s_tir.Schedule, block: Block) -> bool:
    """Whether what a block computes of each element is used once, for one element."""
    consumers = schedule.get_consumers(block)
    if len(consumers) != 1 or not is_spatial(schedule, block):
        return False
    return is_spatial(schedule, consumers[0])


def is_spatial(schedule: s_tir.Schedule, block: Block) -> bool:
    """Whether a block has no sums."""
    return all(int(axis.iter_type) == SPATIAL for axis in schedule.get(block).iter_vars)
