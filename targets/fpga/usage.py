"""What a design costs, before it is built and after."""

from __future__ import annotations

from ...budget import Figure, Known, Usage
from ...profiles.fpga_schema import Fpga
from .folding.solution import Solution

#: Bytes of a bitstream for each table of its device, with its routing: that of a whole ECP5-85F has
#: 1.9 MB. Compression leaves out what is empty.
_PER_TABLE = 24


def estimated(solution: Solution, fpga: Fpga) -> Usage:
    """Return what is known without a tool: exact cycles and block RAMs, the clock as asked for."""
    size = Figure(fpga.luts.value * _PER_TABLE, "B", "estimated", "a bitstream without compression")
    return _usage(solution, fpga, size, "estimated")


def exact(solution: Solution, fpga: Fpga, size: int, name: str) -> Usage:
    """Return what a bitstream costs that reached the clock.

    Args:
        size: bytes of it.
        name: its file's.
    """
    return _usage(solution, fpga, Figure(size, "B", "exact", name), "exact")


def _usage(solution: Solution, fpga: Fpga, storage: Figure, known: Known) -> Usage:
    point, clock = solution.point, fpga.clock.value
    blocks, ram = point.cost.blocks, fpga.block_ram
    memory = Figure(
        blocks * ram.bits.value // 8, "B", "exact", f"{blocks} of {ram.count.value} {ram.name}"
    )
    pace = f"{clock / point.interval:,.0f} frames/s, one each {point.interval:,} cycles"
    how = f"{point.latency:,} cycles from first in to last out at {clock / 1e6:g} MHz; {pace}"
    latency = Figure(point.latency / clock, "s", known, how)
    return Usage(memory=memory, storage=storage, latency=latency, parts=(("block RAM", memory),))
