"""The largest number of a window: `rtl/maxpool.v`, no multiplier."""

from __future__ import annotations

from ..design import Folding, Stage
from ..graph import MaxPool, Network
from ..memories import Memory
from ..resources import Cost
from . import costs, windows
from .arithmetic import divisors
from .names import inputs_of, name_of, output_of

_LEAST = -128
_BEHIND = 4  # cycles from a window's last read until its result is in the queue


def foldings(layer: MaxPool, network: Network) -> tuple[Folding, ...]:
    """Return one for each divisor of the channels."""
    return tuple(Folding(pe) for pe in divisors(layer.output.channels))


def period(layer: MaxPool, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: those of its window, which nothing delays."""
    return _front(layer, folding, network).period


def stage(layer: MaxPool, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module, which reads and writes `pe` lanes."""
    front = _front(layer, folding, network)
    return Stage(
        name=name_of(layer, network),
        module="maxpool",
        parameters={
            "PE": folding.pe,
            **windows.parameters(front, _LEAST, _BEHIND + 2, memory),
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
    )


def _front(layer: MaxPool, folding: Folding, network: Network) -> windows.Front:
    image = network.tensor(layer.inputs[0])
    return windows.front(
        image,
        layer.output,
        layer.window,
        lanes=folding.pe,
        groups=image.channels // folding.pe,
        repeats=1,
    )


def cost(stage: Stage) -> Cost:
    """Return what the module takes: a comparison and a register for each lane."""
    has = costs.given(stage)
    lanes = Cost(0, 0, 14 * has["PE"], 8 * has["PE"] + 1)
    return lanes + costs.window(stage, has["PE"]) + costs.queue(has["PE"] * 8, has["SLOTS"])
