"""A convolution of each channel alone: `rtl/depthwise.v`, one multiplier for each lane."""

from __future__ import annotations

import functools

import numpy as np

from ..hardware import memories
from ..hardware.design import Folding, Rom, Stage
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network import requantize
from ..network.graph import Conv, Network
from . import costs, rescaling, windows
from .arithmetic import divisors, signed_bits
from .contents import Contents
from .names import inputs_of, name_of, output_of


def foldings(layer: Conv, network: Network) -> tuple[Folding, ...]:
    """Return one for each divisor of the channels."""
    return tuple(Folding(pe) for pe in divisors(layer.output.channels))


def period(layer: Conv, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: those of its window, which nothing delays."""
    return windows.apart(layer, folding.pe, network).period


def stage(layer: Conv, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module, which reads and writes `pe` lanes."""
    front, pe = windows.apart(layer, folding.pe, network), folding.pe
    lanes = rescaling.lanes(pe, front.run)
    scale = rescaling.Scale(layer.requantization, pe, lanes)
    least, greatest = requantize.reach(layer.weights, layer.bias)
    bits = signed_bits(int(least.min()), int(greatest.max()))
    weights = memory.rom(pe * layer.bits, front.groups * front.run)
    return Stage(
        name=name_of(layer, network),
        module="depthwise",
        parameters={
            "PE": pe,
            **windows.parameters(front, layer.pad, delay(pe, lanes) + 2, memory),
            "WEIGHT_BITS": layer.bits,
            "SUM_BITS": bits,
            **memories.parameters("WEIGHTS", "", weights),
            **memories.parameters("BIASES", "", memory.rom(pe * bits, front.groups)),
            **scale.parameters(memory),
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
        roms=Contents(
            {
                "WEIGHTS": functools.partial(_weights, layer, pe),
                "BIASES": lambda: Rom(memories.packed(layer.bias.reshape(-1, pe), bits)),
                "SCALE": scale.rom,
            }
        ),
    )


def delay(pe: int, lanes: int) -> int:
    """Return the cycles from a run's last read until its result is in the queue."""
    return 21 + pe // lanes


def _weights(layer: Conv, pe: int) -> Rom:
    """Return the weights in the order in which the window is read for one pixel."""
    words = layer.weights.reshape(-1, pe, layer.window.taps).transpose(0, 2, 1).reshape(-1, pe)
    return Rom(memories.packed(np.ascontiguousarray(words), layer.bits))


def cost(stage: Stage) -> Cost:
    """Return what the module takes."""
    has = costs.given(stage)
    pe, bits, total = has["PE"], has["WEIGHT_BITS"], has["SUM_BITS"]
    steps = has["GROUPS"] * has["KERNEL_HEIGHT"] * has["KERNEL_WIDTH"]
    return (
        costs.mac(pe, 1, bits, total, shared=False)
        + costs.rom(stage, "WEIGHTS", pe * bits, steps)
        + costs.rom(stage, "BIASES", pe * total, has["GROUPS"])
        + costs.window(stage, pe)
        + costs.rescale(stage)
        + costs.queue(pe * 8, has["SLOTS"])
    )
