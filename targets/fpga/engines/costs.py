"""What the parts take that several engines are made of.

Multipliers and block RAMs are exact. Tables of four inputs (one for each bit of an adder, six for
four bits of 16 words of RAM) and flip-flops are counted from the Verilog, as yosys makes them for
ECP5 of each module alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..hardware import memories
from ..hardware.design import Stage
from ..hardware.resources import Cost

#: Words of the deepest block, of one bit: what is deeper takes several.
_DEEPEST = 16384


def given(stage: Stage) -> dict[str, int]:
    """Return the parameters of a stage that are numbers."""
    return {name: item for name, item in stage.parameters.items() if isinstance(item, int)}


def rom(stage: Stage, name: str, width: int, depth: int) -> Cost:
    """Return what a memory of `rtl/rom.v` takes; `name` is the parameter for its files."""
    shape = memories.shape_of(stage, name)
    if depth == 1:
        return Cost()  # constants
    if not shape.width:
        columns = min(width, 1 << depth)  # no more of them differ
        return Cost(0, 0, columns * -(-depth // 16) * 4 // 5, 3 * columns)
    rows = -(-depth // shape.depth)
    choice = width * (rows * 3 // 5)
    return Cost(0, shape.blocks(width, depth), choice, width * (rows + 1))


def counter(count: int) -> Cost:
    """Return what `rtl/counter.v` takes."""
    bits = (count - 1).bit_length()
    return Cost(0, 0, bits + 1, bits + 1) if bits else Cost()


def queue(width: int, depth: int) -> Cost:
    """Return what `rtl/fifo.v` takes in logic."""
    counts = 2 * depth.bit_length() + 2 * max(1, (depth - 1).bit_length())
    ram = -(-width // 4) * -(-depth // 16)
    return Cost(0, 0, 4 * counts + 6 * ram, counts + width + 3)


def window(stage: Stage, lanes: int) -> Cost:
    """Return what `rtl/window.v` takes, with beats of so many int8."""
    has = given(stage)
    beats = has["GROUPS"] * has["WORDS"]
    frame = has["HEIGHT"] * has["WIDTH"] * beats
    loops = ("WORDS", "KERNEL_WIDTH", "KERNEL_HEIGHT", "REPEATS", "GROUPS")
    scouts = ("OUT_WIDTH", "OUT_HEIGHT") * 2
    counts = sum((counter(has[name]) for name in loops + scouts), Cost())
    address = (has["DEPTH"] - 1).bit_length()
    reach = has["PAD_TOP"] + (has["KERNEL_HEIGHT"] - 1) * has["DILATION_Y"] + 1
    number = (frame + reach * has["WIDTH"] * beats + has["DEPTH"] - 1).bit_length() + 2
    buffer = ram(lanes * 8, has["DEPTH"], has["SLICE_WIDTH"])
    each = 16 + 6 * _is_padded(has) - 8 * (beats == 1)  # tables for each bit of a beat's number
    rest = Cost(0, 0, each * number + 6 * address + 60, 11 * number + 2 * address + 36 + lanes * 8)
    return counts + buffer + rest


def _is_padded(has: Mapping[str, int]) -> bool:
    """Whether a window reaches over an edge of the image."""
    sides = (("PAD_TOP", "HEIGHT", "Y"), ("PAD_LEFT", "WIDTH", "X"))
    return any(
        has[pad] > 0
        or (has[f"OUT_{size}"] - 1) * has[f"STRIDE_{axis}"]
        + (has[f"KERNEL_{size}"] - 1) * has[f"DILATION_{axis}"]
        >= has[size]
        for pad, size, axis in sides
    )


def ram(width: int, depth: int, column: int) -> Cost:
    """Return what `rtl/ram.v` takes."""
    if column:
        deepest = _DEEPEST if column == 1 else depth
        return Cost(0, -(-width // column) * -(-depth // deepest), 0, width)
    return Cost(0, 0, 6 * -(-width // 4) * -(-depth // 16), 2 * width)


def mac(pe: int, simd: int, bits: int, total: int, *, shared: bool = True) -> Cost:
    """Return what `rtl/mac.v` takes, without its biases, for weights and sums of so many bits."""
    tree, left, width = 0, simd, 8 + bits
    while left > 1:
        left, width = (left + 1) // 2, width + 1
        tree += left * width
    logic = simd * (8 + bits) if bits <= 2 else 0  # products without a multiplier
    products = 2 * simd * (8 + bits)
    copies = (-(-pe // 4) if shared else pe) * simd * 8
    return Cost(
        0 if logic else pe * simd,
        0,
        pe * (tree + 2 * total + 2 * logic),
        pe * (tree + total + products + 3 * logic) + copies,
    )


def rescale(stage: Stage) -> Cost:
    """Return what `rtl/rescale.v` takes."""
    has = given(stage)
    pe, lanes, bits, more = (has[name] for name in ("PE", "RQ", "SUM_BITS", "MORE_BITS"))
    words = has["GROUPS"] * has["REPEATS"] * pe // lanes
    after = max(37 - has["SHIFT"], 1)
    added = bits if has["BEFORE"] else 0
    lane = Cost(
        1,
        0,
        added + 18 + after * (more + 3) // 2 + 24,
        max(bits + 1 - has["BEFORE"], 18) + 18 + 3 * after + max(after, 9) + 10 + 4 * more,
    )
    together = Cost(0, 0, 10 + bits * (pe - lanes), pe * bits + pe * 8 + 14)
    scales = rom(stage, "SCALE", lanes * (17 + more), words)
    return sum([lane] * lanes, together + scales)
