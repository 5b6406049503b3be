"""The end of the engines that sum: `rtl/rescale.v`, one multiplier for each of few lanes."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..hardware import memories
from ..hardware.design import Rom
from ..hardware.memories import Memory
from ..network.graph import Requantization
from ..network.requantize import BITS
from .arithmetic import divisors


def lanes(pe: int, cycles: int) -> int:
    """Return the fewest lanes that work off `pe` sums in the cycles until the next ones come."""
    return next(count for count in divisors(pe) if pe // count <= cycles)


@dataclasses.dataclass(frozen=True, eq=False)
class Scale:
    """How the sums of one layer are requantized, `lanes` of `pe` at a time."""

    how: Requantization
    pe: int
    lanes: int

    @property
    def _shift(self) -> int:
        return int(self.how.shift.min())

    @property
    def _more_bits(self) -> int:
        """Bits of what a channel is shifted beyond the least shift."""
        return int(self.how.shift.max() - self.how.shift.min()).bit_length()

    @property
    def _width(self) -> int:
        return self.lanes * (BITS + self._more_bits)

    def parameters(self, memory: Memory) -> dict[str, int | str]:
        """Return the parameters of `rtl/rescale.v` from RQ on."""
        shape = memory.rom(self._width, len(self.how.multiplier) // self.lanes)
        return {
            "RQ": self.lanes,
            "BEFORE": self.how.before,
            "SHIFT": self._shift,
            "MORE_BITS": self._more_bits,
            "ZERO": self.how.zero,
            "LOW": self.how.low,
            "HIGH": self.how.high,
            **memories.parameters("SCALE", "", shape),
        }

    def rom(self) -> Rom:
        """Return the multipliers and shifts in the order of the channels."""
        words = self.how.multiplier | (self.how.shift - self._shift) << BITS
        bits = BITS + self._more_bits
        return Rom(memories.packed(words.astype(np.int64).reshape(-1, self.lanes), bits))
