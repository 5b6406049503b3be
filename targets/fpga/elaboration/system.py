"""The system around a core: the parameters of rtl/system.v for a design, and what it takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from ..hardware.design import Design, Stream
from ..hardware.memories import LOGIC, Memory, Shape
from ..hardware.resources import Cost
from . import verilog

#: Characters of the name that a design gives itself.
_NAME: Final = 16

#: What the links, the packets and the counters take: yosys for ECP5, of systems around frames of 4
#: to 27648 numbers, whose tables this gives within 12 %, whose flip-flops within 5 %.
_FIXED: Final = Cost(luts=570, flip_flops=345)


def parameters(design: Design, memory: Memory) -> dict[str, int | str]:
    """Return the parameters of rtl/system.v for a design, less UART, SPI and DIVIDER.

    Args:
        memory: the block RAM of the device.
    """
    source, sink = _ends(design)
    inside, outside = frame(source, memory), frame(sink, memory)
    return {
        "ID": name(design),
        "IN_LANES": source.lanes,
        "IN_BEATS": source.beats,
        "IN_SLICE_WIDTH": inside.width,
        "IN_SLICE_DEPTH": inside.depth,
        "OUT_LANES": sink.lanes,
        "OUT_BITS": sink.bits,
        "OUT_BEATS": sink.beats,
        "OUT_SLICE_WIDTH": outside.width,
        "OUT_SLICE_DEPTH": outside.depth,
    }


def name(design: Design) -> str:
    """Return the sixteen characters that tell a design, ROMs included, from every other."""
    return _digest(verilog.sources(design))


def _digest(sources: Mapping[str, str]) -> str:
    text = json.dumps(sources, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_NAME]


def frame(stream: Stream, memory: Memory) -> Shape:
    """Return the slices of the memory that keeps one frame of a stream."""
    width, depth = stream.width, stream.beats
    if memory.ram(width, depth) == LOGIC:
        return LOGIC
    return min(
        memory.shapes, key=lambda shape: (shape.blocks(width, depth), -(-depth // shape.depth))
    )


def cost(design: Design, memory: Memory) -> Cost:
    """Return what the system takes besides the core: blocks exactly, the rest estimated."""
    source, sink = _ends(design)
    beats = Cost(luts=source.width // 4 + sink.width * 2 // 5, flip_flops=sink.width)
    return _FIXED + beats + _frame_cost(source, memory) + _frame_cost(sink, memory)


def _frame_cost(stream: Stream, memory: Memory) -> Cost:
    """Return what rtl/frame.v takes, and the register before it."""
    shape, width = frame(stream, memory), stream.width
    if not shape.width and not memory.has_logic_ram:
        bits = width * stream.beats
        return Cost(luts=bits // 2, flip_flops=bits + 3 * width)
    if not shape.width:
        tables = 6 * -(-width // 4) * -(-stream.beats // 16)
        return Cost(luts=tables, flip_flops=3 * width)
    rows = -(-stream.beats // shape.depth)
    choice = width * (rows * 3 // 5)
    return Cost(0, shape.blocks(width, stream.beats), choice, (1 + rows) * width)


def _ends(design: Design) -> tuple[Stream, Stream]:
    return design.streams[design.input], design.streams[design.output]
