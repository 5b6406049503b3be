"""The average of a window: `rtl/average.v`, sums without a multiplier, and their requantization."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..hardware.design import Folding, Stage
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network.graph import AveragePool, Network, Requantization
from . import costs, rescaling, windows
from .arithmetic import divisors, signed_bits
from .names import inputs_of, name_of, output_of


def foldings(layer: AveragePool, network: Network) -> tuple[Folding, ...]:
    """Return one for each divisor of the channels."""
    return tuple(Folding(pe) for pe in divisors(layer.output.channels))


def period(layer: AveragePool, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: those of its window, which nothing delays."""
    return windows.apart(layer, folding.pe, network).period


def stage(layer: AveragePool, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module, which reads and writes `pe` lanes."""
    front, taps = windows.apart(layer, folding.pe, network), layer.window.taps
    lanes = rescaling.lanes(folding.pe, front.run)
    scale = rescaling.Scale(_of_group(layer, folding.pe), folding.pe, lanes)
    return Stage(
        name=name_of(layer, network),
        module="average",
        parameters={
            "PE": folding.pe,
            **windows.parameters(front, layer.pad, delay(folding.pe, lanes) + 2, memory),
            "SUM_BITS": signed_bits(layer.bias - 128 * taps, layer.bias + 127 * taps),
            "BIAS": layer.bias,
            **scale.parameters(memory),
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
        roms={"SCALE": scale.rom()},
    )


def delay(pe: int, lanes: int) -> int:
    """Return the cycles from a run's last read until its result is in the queue."""
    return 15 + pe // lanes


def _of_group(layer: AveragePool, pe: int) -> Requantization:
    """Return the requantization of one group of channels: it is that of all."""
    how = layer.requantization
    return dataclasses.replace(
        how,
        multiplier=np.broadcast_to(how.multiplier[:1], (pe,)),
        shift=np.broadcast_to(how.shift[:1], (pe,)),
    )


def cost(stage: Stage) -> Cost:
    """Return what the module takes: an adder for each lane, and the lanes that requantize."""
    has = costs.given(stage)
    pe, bits = has["PE"], has["SUM_BITS"]
    one_scale = dataclasses.replace(stage, parameters={**stage.parameters, "GROUPS": 1})
    return (
        Cost(0, 0, 2 * pe * bits, pe * bits + 1)
        + costs.window(stage, pe)
        + costs.rescale(one_scale)
        + costs.queue(pe * 8, has["SLOTS"])
    )
