"""The index of the largest channel: `rtl/argmax.v`, one channel after another."""

from __future__ import annotations

from ..hardware.design import Folding, Stage
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network.graph import ArgMax, Network
from .names import inputs_of, name_of, output_of


def foldings(layer: ArgMax, network: Network) -> tuple[Folding, ...]:
    """Return the only one: a channel in each cycle."""
    return (Folding(),)


def period(layer: ArgMax, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: one for each number that comes in."""
    return network.tensor(layer.inputs[0]).size


def stage(layer: ArgMax, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module, which reads one lane of int8 and writes one of int16."""
    return Stage(
        name=name_of(layer, network),
        module="argmax",
        parameters={"CHANNELS": network.tensor(layer.inputs[0]).channels},
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
    )


def cost(stage: Stage) -> Cost:
    """Return what the module takes: a counter, a comparison, and three numbers kept."""
    return Cost(0, 0, 70, 60)
