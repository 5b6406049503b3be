"""The sum of two tensors: `rtl/add.v`, two multipliers for each lane."""

from __future__ import annotations

from ..hardware.design import Folding, Stage
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network.graph import Add, Network
from .arithmetic import divisors, signed_bits
from .names import inputs_of, name_of, output_of


def foldings(layer: Add, network: Network) -> tuple[Folding, ...]:
    """Return one for each divisor of the channels."""
    return tuple(Folding(pe) for pe in divisors(layer.output.channels))


def period(layer: Add, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: one for each beat."""
    return layer.output.size // folding.pe


def stage(layer: Add, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module that adds two streams of `pe` lanes into one."""
    first, second = layer.multipliers
    return Stage(
        name=name_of(layer, network),
        module="add",
        parameters={
            "PE": folding.pe,
            "FIRST": first,
            "SECOND": second,
            "BIAS": layer.bias,
            "SHIFT": layer.shift,
            "ZERO": layer.zero,
            "LOW": layer.low,
            "HIGH": layer.high,
            "BITS": _bits(layer),
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
    )


def _bits(layer: Add) -> int:
    """Return the bits of the sum of everything, of which some must be left after the shift."""
    ends = [sorted((-128 * item, 127 * item)) for item in layer.multipliers]
    extra = layer.bias + (1 << (layer.shift - 1)) + (layer.zero << layer.shift)
    low, high = (sum(end[side] for end in ends) + extra for side in (0, 1))
    return max(signed_bits(low, high), layer.shift + 1)


def cost(stage: Stage) -> Cost:
    """Return what the module takes: two multipliers and two adders for each lane, a queue."""
    pe, bits, shift = (int(stage.parameters[name]) for name in ("PE", "BITS", "SHIFT"))
    rounded = bits - shift
    luts = pe * (37 + bits + 2 * rounded) + 60
    flip_flops = pe * (41 + bits) + 37
    return Cost(2 * pe, 0, luts, flip_flops)
