"""What a design takes of a device."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage, or a whole design, takes.

    Attributes:
        multipliers, blocks: hard multipliers and block RAMs: exact.
        luts, flip_flops: estimated.
    """

    multipliers: int = 0
    blocks: int = 0
    luts: int = 0
    flip_flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.multipliers + other.multipliers,
            self.blocks + other.blocks,
            self.luts + other.luts,
            self.flip_flops + other.flip_flops,
        )
