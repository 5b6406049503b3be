"""Channels one behind the other: `rtl/concat.v`."""

from __future__ import annotations

import math

from ..hardware.design import Folding, Stage
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network.graph import Concat, Network
from .arithmetic import divisors
from .names import inputs_of, name_of, output_of


def foldings(layer: Concat, network: Network) -> tuple[Folding, ...]:
    """Return one for each common divisor of all inputs' channels."""
    return tuple(Folding(pe) for pe in divisors(math.gcd(*_channels(layer, network))))


def period(layer: Concat, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: one for each beat."""
    return layer.output.size // folding.pe


def stage(layer: Concat, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module that reads streams of `pe` lanes in turn."""
    counts = [channels // folding.pe for channels in _channels(layer, network)]
    return Stage(
        name=name_of(layer, network),
        module="concat",
        parameters={
            "N": len(counts),
            "PE": folding.pe,
            "BEATS": sum(count << (16 * index) for index, count in enumerate(counts)),
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
    )


def _channels(layer: Concat, network: Network) -> tuple[int, ...]:
    return tuple(network.tensor(name).channels for name in layer.inputs)


def cost(stage: Stage) -> Cost:
    """Return what the module takes: a register, a choice before it, and a counter."""
    streams, pe = (int(stage.parameters[name]) for name in ("N", "PE"))
    return Cost(0, 0, 8 * pe * (streams - 1) + 4 * streams + 40, 8 * pe + 18)
