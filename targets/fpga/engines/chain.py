"""Matrix products one after another by one engine: `rtl/chain.v`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..hardware.design import Folding, Rom, Stage
from ..hardware.memories import LOGIC, Memory, packed, parameters
from ..hardware.resources import Cost
from ..network.graph import Chain, Network
from ..network.requantize import BITS, reach
from . import costs, rescaling
from .arithmetic import divisors, signed_bits
from .contents import Contents
from .names import inputs_of, name_of, output_of

#: Cycles from the last read of a product to the first of the next, besides the levels of the adder
#: tree and the turns of a group.
_GAP = 26

#: Bits of a word of the plan besides the two sizes: before, zero, low, high.
_WIDTHS = (4, 8, 8, 8)

#: Numbers side by side for each sum side by side, at most: wider words take memories as wide, whose
#: wires cross the device, for a few cycles less.
_WIDEST = 8


def foldings(layer: Chain, network: Network) -> tuple[Folding, ...]:
    """Return those for which words are whole: of what comes in, what goes out, and in between."""
    last, inputs = layer.output.channels, network.tensor(layer.inputs[0]).size
    return tuple(
        Folding(pe, simd)
        for simd in divisors(inputs)
        for pe in divisors(math.gcd(simd, last))
        if simd <= _WIDEST * pe
    )


def period(layer: Chain, folding: Folding, network: Network) -> int:
    """Return the cycles of all products, and of what comes in between the first and its like."""
    lanes = _lanes(layer, folding)
    turns, pause = folding.pe // lanes, gap(folding.pe, folding.simd, lanes)
    spent = [
        (groups - 1) * max(steps, turns) + steps - 1 + pause
        for steps, groups in sizes(layer, folding)
    ]
    # The next frame comes in from the last read of the first product on.
    steps, groups = sizes(layer, folding)[0]
    reading = (groups - 1) * max(steps, turns) + steps - 1
    return max(sum(spent), reading + 1 + steps + 1)


def gap(pe: int, simd: int, lanes: int) -> int:
    """Return the cycles from the last read of a product to the first of the next."""
    return (simd - 1).bit_length() + pe // lanes + _GAP


def sizes(layer: Chain, folding: Folding) -> list[tuple[int, int]]:
    """Return the words in and the groups of each product."""
    return [
        (
            -(-product.weights.shape[3] // folding.simd),
            -(-len(product.weights) // folding.pe),
        )
        for product in layer.products
    ]


def _lanes(layer: Chain, folding: Folding) -> int:
    """Return the lanes that requantize: enough for the product that takes the longest."""
    longest = max(sizes(layer, folding), key=lambda item: item[0] * item[1])
    return rescaling.lanes(folding.pe, longest[0])


def stage(layer: Chain, folding: Folding, network: Network, memory: Memory) -> Stage:
    """Return the module that reads one stream of `simd` lanes and writes one of `pe`."""
    pe, simd, lanes = folding.pe, folding.simd, _lanes(layer, folding)
    each = sizes(layer, folding)
    steps, groups = sum(s * g for s, g in each), sum(g for _, g in each)
    words = 1 << max(0, (max(s for s, _ in each[1:]) - 1).bit_length())
    step_bits, group_bits = (max(1, (max(n) - 1).bit_length()) for n in zip(*each, strict=True))
    weight_bits = max(product.bits for product in layer.products)
    sum_bits = _sum_bits(layer)
    shift, more_bits = _shifts(layer)
    width, head = pe * simd * weight_bits, _head(steps, memory)
    rest = steps - head

    def tail() -> Rom:
        return Rom(packed(_weights(layer, folding)[head:], weight_bits))

    turns = groups * pe // lanes
    latency = gap(pe, simd, lanes) + 1
    return Stage(
        name=name_of(layer, network),
        module="chain",
        parameters={
            "PE": pe,
            "SIMD": simd,
            "RQ": lanes,
            "LAYERS": len(each),
            "INPUT_WORDS": each[0][0],
            "WORDS": words,
            "INPUT_SLICE_WIDTH": memory.ram(simd * 8, each[0][0]).width,
            "SLICE_WIDTH": memory.ram(simd * 8, 2 * max(2, words)).width,
            "STEP_BITS": step_bits,
            "GROUP_BITS": group_bits,
            "STEPS": steps,
            "GROUPS": groups,
            "SLOTS": 2 + -(-latency // max(each[-1][0], pe // lanes)),
            "WEIGHT_BITS": weight_bits,
            "SUM_BITS": sum_bits,
            "SHIFT": shift,
            "MORE_BITS": more_bits,
            **parameters("PLAN", "", LOGIC),
            **parameters("WEIGHTS", "", memory.rom(width, head)),
            "HEAD": head,
            **(parameters("TAIL", "", memory.rom(width, rest)) if rest else {}),
            **parameters("BIASES", "", memory.rom(pe * sum_bits, groups)),
            **parameters("SCALE", "", memory.rom(lanes * (BITS + more_bits), turns)),
        },
        inputs=inputs_of(layer, network),
        outputs=(output_of(layer, network),),
        layer=layer.name,
        roms=Contents(
            {
                "PLAN": lambda: _plan(layer, each, step_bits, group_bits),
                "WEIGHTS": lambda: Rom(packed(_weights(layer, folding)[:head], weight_bits)),
                **({"TAIL": tail} if rest else {}),
                "BIASES": lambda: Rom(packed(_biases(layer, folding), sum_bits)),
                "SCALE": lambda: Rom(_scales(layer, folding, lanes, shift, more_bits)),
            }
        ),
    )


def _head(steps: int, memory: Memory) -> int:
    """Return how many words of weights are in the first ROM: all, or as many as fill a row of it.

    A row is no narrower than bytes are.
    """
    most = max(shape.depth for shape in memory.shapes if shape.width >= 8)
    whole = 1 << (steps.bit_length() - 1)
    return whole if most <= whole < steps else steps


def _sum_bits(layer: Chain) -> int:
    ends = [reach(product.weights, product.bias) for product in layer.products]
    return signed_bits(
        min(int(least.min()) for least, _ in ends), max(int(most.max()) for _, most in ends)
    )


def _shifts(layer: Chain) -> tuple[int, int]:
    """Return the least shift, and the bits of what others have more."""
    shifts = [product.requantization.shift for product in layer.products]
    least, most = (int(pick(pick(item) for item in shifts)) for pick in (min, max))
    return least, max(1, (most - least).bit_length())


def _plan(layer: Chain, each: list[tuple[int, int]], step_bits: int, group_bits: int) -> Rom:
    rows = []
    for product, (steps, groups) in zip(layer.products, each, strict=True):
        how = product.requantization
        numbers = (steps - 1, groups - 1, how.before, how.zero, how.low, how.high)
        widths = (step_bits, group_bits, *_WIDTHS)
        parts = [packed(np.array([[n]]), w) for n, w in zip(numbers, widths, strict=True)]
        rows.append(np.concatenate(parts, axis=1))
    return Rom(np.concatenate(rows))


def _padded(rows: np.ndarray, pe: int) -> np.ndarray:
    """Return what belongs to a product's sums, one row each, and rows of zeros to whole groups."""
    return np.pad(rows, [(0, -len(rows) % pe), *[(0, 0)] * (rows.ndim - 1)])


def _columns(matrix: np.ndarray, folding: Folding) -> np.ndarray:
    """Return the columns by words of numbers: rtl/chain.v says where those of the last one lie."""
    columns = _padded(matrix.T, folding.pe)
    whole = len(columns) // folding.simd * folding.simd
    between = np.zeros((-len(columns) % folding.simd, len(matrix)), matrix.dtype)
    return np.concatenate([columns[:whole], between, columns[whole:]]).T


def _weights(layer: Chain, folding: Folding) -> np.ndarray:
    """Return one row for each word, in the order in which they are read."""
    pe, simd = folding.pe, folding.simd
    rows = []
    for product in layer.products:
        matrix = _columns(product.weights.reshape(len(product.weights), -1), folding)
        cut = _padded(matrix, pe).reshape(-1, pe, matrix.shape[1] // simd, simd)
        rows.append(cut.transpose(0, 2, 1, 3).reshape(-1, pe * simd))
    return np.concatenate(rows)


def _biases(layer: Chain, folding: Folding) -> np.ndarray:
    rows = [_padded(product.bias, folding.pe) for product in layer.products]
    return np.concatenate(rows).reshape(-1, folding.pe)


def _scales(layer: Chain, folding: Folding, lanes: int, shift: int, more_bits: int) -> np.ndarray:
    """Return each sum's multiplier and what its shift is more than the least, by turns."""
    hows = [product.requantization for product in layer.products]
    words = [_padded(how.multiplier | (how.shift - shift) << BITS, folding.pe) for how in hows]
    return packed(np.concatenate(words).reshape(-1, lanes), BITS + more_bits)


def plan_of(stage: Stage) -> Iterator[tuple[int, int]]:
    """Yield the words in and the groups of each product of a stage."""
    steps, groups = (int(stage.parameters[f"{name}_BITS"]) for name in ("STEP", "GROUP"))
    for row in stage.roms["PLAN"].bits:
        yield _number(row[:steps]) + 1, _number(row[steps : steps + groups]) + 1


def _number(bits: np.ndarray) -> int:
    return int(bits @ (1 << np.arange(len(bits))))


def cost(stage: Stage) -> Cost:
    """Return what the module takes: the products, the lanes that requantize, and four memories."""
    has = costs.given(stage)
    pe, simd, lanes = (has[name] for name in ("PE", "SIMD", "RQ"))
    weight_bits, sum_bits = has["WEIGHT_BITS"], has["SUM_BITS"]
    turns = has["GROUPS"] * pe // lanes
    roms = {
        "WEIGHTS": (pe * simd * weight_bits, has["HEAD"]),
        "BIASES": (pe * sum_bits, has["GROUPS"]),
        "SCALE": (lanes * (BITS + has["MORE_BITS"]), turns),
    }
    if rest := has["STEPS"] - has["HEAD"]:
        roms["TAIL"] = (pe * simd * weight_bits, rest)
    memories = sum((costs.rom(stage, name, *size) for name, size in roms.items()), Cost())
    words = 2 << max(1, (has["WORDS"] - 1).bit_length())
    rams = (("INPUT_SLICE_WIDTH", has["INPUT_WORDS"]), ("SLICE_WIDTH", words))
    blocks = sum(costs.ram(simd * 8, depth, has[column]).blocks for column, depth in rams)
    width = pe * simd * weight_bits
    choice = Cost(0, 0, width if rest else 0, width)  # between the two memories of weights
    others = Cost(lanes, blocks, lanes * 250 + 6 * simd * 8 + 250, lanes * 180 + simd * 32 + 300)
    return costs.mac(pe, simd, weight_bits, sum_bits) + memories + choice + others
