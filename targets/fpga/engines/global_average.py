"""The average of whole images: `rtl/global_average.v`, which keeps sums, and no image."""

from __future__ import annotations

from ..hardware.design import Folding, Stage
from ..hardware.memories import Memory
from ..hardware.resources import Cost
from ..network.graph import AveragePool, Network
from .arithmetic import divisors, signed_bits
from .names import inputs_of, name_of, output_of


def foldings(layer: AveragePool, network: Network) -> tuple[Folding, ...]:
    """Return one for each divisor of the channels."""
    return tuple(Folding(pe) for pe in divisors(layer.output.channels))


def period(layer: AveragePool, folding: Folding, network: Network) -> int:
    """Return the cycles from one frame to the next: one for each beat that comes in."""
    return network.tensor(layer.inputs[0]).size // folding.pe


def stage(layer: AveragePool, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module, which reads and writes `pe` lanes."""
    how, pixels = layer.requantization, layer.window.taps
    bits = signed_bits(layer.bias - 128 * pixels, layer.bias + 127 * pixels)
    beats = layer.output.channels // folding.pe
    return Stage(
        name=name_of(layer, network),
        module="global_average",
        parameters={
            "PE": folding.pe,
            "BEATS": beats,
            "PIXELS": pixels,
            "BITS": bits,
            "BIAS": layer.bias,
            "MULTIPLIER": int(how.multiplier[0]),
            "BEFORE": how.before,
            "SHIFT": int(how.shift[0]),
            "ZERO": how.zero,
            "LOW": how.low,
            "HIGH": how.high,
            "SLICE_WIDTH": memory.ram(folding.pe * bits, beats).width,
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
    )


def cost(stage: Stage) -> Cost:
    """Return what the module takes: for each lane a multiplier, a sum, and its place to be kept."""
    pe, beats, bits, slice_width = (
        int(stage.parameters[name]) for name in ("PE", "BEATS", "BITS", "SLICE_WIDTH")
    )
    width = pe * bits
    blocks = -(-width // slice_width) if slice_width else 0
    kept = 0 if slice_width or beats < 4 else 2 * -(-width // 4) * -(-beats // 16)
    chain = width * max(beats - 1, 0) if beats < 4 else 2 * width
    luts = kept + pe * (2 * bits + 60) + 76
    flip_flops = chain + pe * (bits + 119) + 60
    return Cost(pe, blocks, luts, flip_flops)
