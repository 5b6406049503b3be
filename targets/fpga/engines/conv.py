"""A convolution, dense or grouped, and a matrix product: `rtl/conv.v`, PE x SIMD multipliers."""

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
    """Return one for each divisor of a group's channels out and each of its channels in."""
    out, _, _, into = layer.weights.shape
    return tuple(
        Folding(pe, simd) for pe in divisors(out // layer.groups) for simd in divisors(into)
    )


def period(layer: Conv, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: those of its window, which nothing delays."""
    return _front(layer, folding, network).period


def stage(layer: Conv, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module that reads `simd` channels in and writes `pe` channels out at a time."""
    front = _front(layer, folding, network)
    lanes = rescaling.lanes(folding.pe, front.run)
    scale = rescaling.Scale(layer.requantization, folding.pe, lanes)
    bits = signed_bits(*_extremes(layer))
    runs, width = front.runs, folding.pe * folding.simd * layer.bits
    shapes = {
        "WEIGHTS": memory.rom(width, runs * front.run),
        "BIASES": memory.rom(folding.pe * bits, runs),
    }
    return Stage(
        name=name_of(layer, network),
        module="conv",
        parameters={
            "PE": folding.pe,
            "SIMD": folding.simd,
            **windows.parameters(
                front, layer.pad, delay(folding.pe, folding.simd, lanes) + 2, memory
            ),
            "WEIGHT_BITS": layer.bits,
            "SUM_BITS": bits,
            **memories.parameters("WEIGHTS", "", shapes["WEIGHTS"]),
            **memories.parameters("BIASES", "", shapes["BIASES"]),
            **scale.parameters(memory),
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
        roms=Contents(
            {
                "WEIGHTS": functools.partial(_weights, layer, folding),
                "BIASES": lambda: Rom(memories.packed(layer.bias.reshape(runs, -1), bits)),
                "SCALE": scale.rom,
            }
        ),
    )


def delay(pe: int, simd: int, lanes: int) -> int:
    """Return the cycles from a run's last read until its result is in the queue."""
    return 21 + (simd - 1).bit_length() + pe // lanes


def _front(layer: Conv, folding: Folding, network: Network) -> windows.Front:
    return windows.front(
        network.tensor(layer.inputs[0]),
        layer.output,
        layer.window,
        lanes=folding.simd,
        groups=layer.groups,
        repeats=len(layer.weights) // layer.groups // folding.pe,
    )


def _extremes(layer: Conv) -> tuple[int, int]:
    """Return the least and the greatest sum of any channel."""
    least, greatest = requantize.reach(layer.weights, layer.bias)
    return int(least.min()), int(greatest.max())


def _weights(layer: Conv, folding: Folding) -> Rom:
    """Return the weights in the order in which the window is read for one pixel."""
    out, height, width, into = layer.weights.shape
    pe, simd = folding.pe, folding.simd
    split = layer.weights.reshape(out // pe, pe, height * width, into // simd, simd)
    words = split.transpose(0, 2, 3, 1, 4).reshape(-1, pe * simd)
    return Rom(memories.packed(np.ascontiguousarray(words), layer.bits))


def cost(stage: Stage) -> Cost:
    """Return what the module takes."""
    has = costs.given(stage)
    pe, simd, bits, total = (has[name] for name in ("PE", "SIMD", "WEIGHT_BITS", "SUM_BITS"))
    runs = has["GROUPS"] * has["REPEATS"]
    steps = runs * has["KERNEL_HEIGHT"] * has["KERNEL_WIDTH"] * has["WORDS"]
    return (
        costs.mac(pe, simd, bits, total)
        + costs.rom(stage, "WEIGHTS", pe * simd * bits, steps)
        + costs.rom(stage, "BIASES", pe * total, runs)
        + costs.window(stage, simd)
        + costs.rescale(stage)
        + costs.queue(pe * 8, has["SLOTS"])
    )
