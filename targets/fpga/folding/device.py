"""What designs may take of a device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from ....profiles.fpga_schema import Family, Fpga
from ..hardware.memories import MEMORIES, Memory
from ..hardware.resources import NOTHING, Cost

#: The share of a device's multipliers that designs may take: when nearly all are taken, numbers
#: have to cross the whole device, and the clock is missed.
_MULTIPLIERS: Final = 0.83

#: The share of a device's tables and flip-flops that designs may take: place and route needs room,
#: and what is known of them before synthesis is an estimate. It was fitted to ECP5; AMD's tables
#: hold more, and an iCE40 has none that can be written: it takes up to half as much again.
_FILL: Final[Mapping[Family, float]] = {"ecp5": 0.85, "ice40": 0.6, "xc7": 0.85, "xcup": 0.85}


@dataclasses.dataclass(frozen=True)
class Device:
    """What a design is folded for.

    Attributes:
        limit: what it may take.
        memory: the block RAM that it is made of.
        clock: hertz.
        wrapper: what the board's wrapper takes of the limit.
    """

    limit: Cost
    memory: Memory
    clock: float
    wrapper: Cost = NOTHING

    def cycles(self, seconds: float) -> int:
        """Return how many cycles fit in a time."""
        return int(seconds * self.clock * (1 + 1e-12))


def device(fpga: Fpga, memory: int | None = None, wrapper: Cost = NOTHING) -> Device:
    """Return what designs may take of an FPGA.

    Args:
        memory: bytes of block RAM that the user allows.
        wrapper: what stands around the design.
    """
    blocks = fpga.block_ram.count.value
    if memory is not None:
        blocks = min(blocks, memory * 8 // fpga.block_ram.bits.value)
    limit = Cost(
        int(fpga.multipliers.value * _MULTIPLIERS),
        blocks,
        int(fpga.luts.value * _FILL[fpga.family]),
        int(fpga.flip_flops.value * _FILL[fpga.family]),
    )
    return Device(limit, MEMORIES[fpga.family], fpga.clock.value, wrapper)
