"""Pixels repeated: `rtl/resize.v`, which keeps one row."""

from __future__ import annotations

from ..hardware.design import Folding, Stage
from ..hardware.memories import MEMORIES, Memory
from ..hardware.resources import Cost
from ..network.graph import Network, Resize
from . import costs
from .arithmetic import divisors
from .names import inputs_of, name_of, output_of

#: Words of the deepest block RAM that every family has.
_DEEPEST = min(memory.deepest for memory in MEMORIES.values())


def foldings(layer: Resize, network: Network) -> tuple[Folding, ...]:
    """Return one for each divisor of the channels of which a block RAM holds a row."""
    image = network.tensor(layer.inputs[0])
    row = image.width * image.channels
    return tuple(Folding(pe) for pe in divisors(image.channels) if row // pe <= _DEEPEST)


def period(layer: Resize, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: one for each beat out.

    A row of a single beat cannot be replaced while it is read: that takes one more.
    """
    image = network.tensor(layer.inputs[0])
    beats = layer.output.size // folding.pe
    return beats + image.height * (image.width * image.channels == folding.pe)


def stage(layer: Resize, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module, which reads and writes `pe` lanes."""
    image = network.tensor(layer.inputs[0])
    beats = image.channels // folding.pe
    shape = memory.ram(8 * folding.pe, image.width * beats)
    return Stage(
        name=name_of(layer, network),
        module="resize",
        parameters={
            "PE": folding.pe,
            "WIDTH": image.width,
            "BEATS": beats,
            "DOWN": layer.factors[0],
            "ACROSS": layer.factors[1],
            "SLICE_WIDTH": shape.width,
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
    )


def cost(stage: Stage) -> Cost:
    """Return what the module takes: one row of memory, and counters."""
    has = costs.given(stage)
    width, row = 8 * has["PE"], has["WIDTH"] * has["BEATS"]
    counts = [costs.counter(has[name]) for name in ("BEATS", "ACROSS", "WIDTH", "DOWN")]
    own = Cost(0, 0, 12 * row.bit_length() + 20, 5 * row.bit_length() + 10)
    return sum(counts, own + costs.ram(width, row, has["SLICE_WIDTH"]) + costs.queue(width, 16))
