"""The largest number of a window: `rtl/maxpool.v`, no multiplier."""

from __future__ import annotations

from ..hardware.design import Folding, Stage
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network.graph import MaxPool, Network
from . import costs, windows
from .arithmetic import divisors
from .names import inputs_of, name_of, output_of

_LEAST = -128
#: Cycles from a window's last read until its result is in the queue.
DELAY = 4


def foldings(layer: MaxPool, network: Network) -> tuple[Folding, ...]:
    """Return one for each divisor of the channels."""
    return tuple(Folding(pe) for pe in divisors(layer.output.channels))


def period(layer: MaxPool, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: those of its window, which nothing delays."""
    return windows.apart(layer, folding.pe, network).period


def stage(layer: MaxPool, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module, which reads and writes `pe` lanes."""
    front = windows.apart(layer, folding.pe, network)
    return Stage(
        name=name_of(layer, network),
        module="maxpool",
        parameters={
            "PE": folding.pe,
            **windows.parameters(front, _LEAST, DELAY + 2, memory),
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
    )


def cost(stage: Stage) -> Cost:
    """Return what the module takes: a comparison and a register for each lane."""
    has = costs.given(stage)
    lanes = Cost(0, 0, 14 * has["PE"], 8 * has["PE"] + 1)
    return lanes + costs.window(stage, has["PE"]) + costs.queue(has["PE"] * 8, has["SLOTS"])
