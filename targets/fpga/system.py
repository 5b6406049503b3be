"""The system around a core: the parameters of rtl/system.v for a design, and what it takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from . import verilog
from .design import Design, Stream
from .memories import LOGIC, Memory, Shape
from .resources import Cost

#: Characters of the name that a design gives itself.
_NAME: Final = 16

#: Estimates, from synthesis for ECP5 of systems around frames of 4 to 640 numbers: the links and
#: packets, and for each bit of a beat the registers and tables on its way in and out.
_FIXED: Final = Cost(luts=560, flip_flops=420)
_EACH_IN: Final = Cost(luts=1, flip_flops=2)
_EACH_OUT: Final = Cost(luts=2, flip_flops=3)


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
    total = _FIXED
    for stream, each in ((source, _EACH_IN), (sink, _EACH_OUT)):
        shape = frame(stream, memory)
        blocks = shape.blocks(stream.width, stream.beats)
        tables = 0 if shape.width else stream.width * stream.beats // 8
        width = stream.width
        total += Cost(0, blocks, width * each.luts + tables, width * each.flip_flops)
    return total


def _ends(design: Design) -> tuple[Stream, Stream]:
    return design.streams[design.input], design.streams[design.output]
