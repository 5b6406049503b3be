"""What a design takes of a device."""

from __future__ import annotations

import dataclasses
from typing import Final


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

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.multipliers - other.multipliers,
            self.blocks - other.blocks,
            self.luts - other.luts,
            self.flip_flops - other.flip_flops,
        )

    def joined(self, other: Cost) -> Cost:
        """Return the larger of each figure."""
        return Cost(*map(max, dataclasses.astuple(self), dataclasses.astuple(other)))

    def covers(self, other: Cost) -> bool:
        """Whether there is enough of everything for another cost."""
        return self.joined(other) == self


#: What takes nothing.
NOTHING: Final = Cost()
