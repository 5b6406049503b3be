"""The loops of the sums of one tile, which stay in registers while all that they are made of goes
by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

from tvm import s_tir

from .arithmetic import Arithmetic
from .core import Core
from .instructions import indexed_instruction, instruction, paired_instruction
from .loops import SPATIAL, Block, Loop, extent, unroll_in_vectors
from .tile import steps_of

#: Words that are loaded at once where an instruction takes one from a lane: of more, LLVM loads the
#: weights so early that they have no registers.
_WORDS: Final = 2


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
            if core.operands.number == "vector" and extent(schedule, self.over[-1]) % _WORDS == 0:
                self._use_indexed(schedule, core.single)
            else:
                self.use_instruction(schedule, core.single, spread=True)
            return
        first = self._write_out_steps(schedule, core)
        unroll_in_vectors(schedule, self.tile, self.lane, core)
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

    def _use_indexed(self, schedule: s_tir.Schedule, arithmetic: Arithmetic) -> None:
        """Unroll the tile, computed by an instruction that takes a word from a lane."""
        width = _instruction_lanes(schedule, self.lane, arithmetic)
        apart = extent(schedule, self.lane) * arithmetic.together
        vectors, lane = schedule.split(self.lane, [None, width])
        *over, depth = self.over
        around, words = schedule.split(depth, [None, _WORDS])
        schedule.reorder(*over, around, *self.tile, vectors, lane, words, *self.word)
        for loop in (*self.tile, vectors):
            schedule.unroll(loop)
        called = schedule.blockize(lane)
        zeros = schedule.decompose_reduction(called, (*over, around)[0])
        name = indexed_instruction(arithmetic, width, _WORDS, apart)
        schedule.tensorize(schedule.get_loops(self.block)[-3], name)
        (zero,) = schedule.get_child_blocks(zeros)
        schedule.vectorize(schedule.get_loops(zero)[-1])

    def use_instruction(
        self, schedule: s_tir.Schedule, arithmetic: Arithmetic, *, spread: bool
    ) -> None:
        """Unroll the tile, computed by an instruction for integers.

        Args:
            spread: as of `instruction`.
        """
        width = _instruction_lanes(schedule, self.lane, arithmetic)
        vectors, lane = schedule.split(self.lane, [None, width])
        for loop in (*self.tile, vectors):
            schedule.unroll(loop)
        # What the rows of a tile that are outside do not compute is outside of the block, too.
        around = schedule.blockize(lane)
        zeros = schedule.decompose_reduction(around, self.over[0])
        called = instruction(arithmetic, width, spread=spread)
        schedule.tensorize(schedule.get_loops(self.block)[-1 - len(self.word)], called)
        (zero,) = schedule.get_child_blocks(zeros)
        schedule.vectorize(schedule.get_loops(zero)[-1])


@dataclasses.dataclass(frozen=True)
class PairedNest:
    """The same of sums by pairs of rows and of channels, four of which an instruction adds to.

    Attributes:
        tile: loops of the pairs.
        row: the loop over the rows of a pair; those over its channels and over a word are inside.
        stride: how far apart the data of the two rows is.
    """

    block: Block
    over: Sequence[Loop]
    tile: Sequence[Loop]
    row: Loop
    stride: int

    @classmethod
    def at(
        cls, schedule: s_tir.Schedule, block: Block, loop: Loop, rank: int, stride: int
    ) -> PairedNest:
        """Return the loops of sums that are computed in each round of a loop; as `Nest.at`."""
        schedule.compute_at(block, loop, preserve_unit_loops=True)
        *spatial, row, column = schedule.get_loops(block)[: -(rank + 3)]
        *over, word = schedule.get_loops(block)[-(rank + 3) :]
        tile = [*spatial[-2 - rank : -2], spatial[-1]]
        schedule.reorder(*over, *tile, row, column, word)
        return cls(block, over, tile, row, stride)

    def write_out(self, schedule: s_tir.Schedule, core: Core) -> None:
        """Unroll the tile, computed by the instruction for pairs."""
        for loop in self.tile:
            schedule.unroll(loop)
        around = schedule.blockize(self.row)
        zeros = schedule.decompose_reduction(around, self.over[0])
        called = paired_instruction(core.integers, self.stride)
        schedule.tensorize(schedule.get_loops(self.block)[-3], called)
        (zero,) = schedule.get_child_blocks(zeros)
        schedule.vectorize(schedule.fuse(*schedule.get_loops(zero)[-2:]))


def _instruction_lanes(schedule: s_tir.Schedule, lane: Loop, arithmetic: Arithmetic) -> int:
    """Return how many lanes the longest instruction has that does a loop without a rest."""
    size = extent(schedule, lane)
    return max(count for count in arithmetic.instructions if size % count == 0)
