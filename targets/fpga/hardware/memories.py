"""Block RAM: its shapes on each family, how a memory is cut into them, and the files that fill it.

A parameter P of a stage that names a memory's contents (`Stage.roms`) stands beside two more,
P_WIDTH and P_DEPTH: the shape of one slice, or zeros where the memory is made of logic. rtl/rom.v
reads one file for each slice.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .design import Rom, Stage

#: Words up to which a memory is made of logic, if no wider than that: a table of four bits' address
#: holds 16 bits of a ROM or, with another one to write, of a RAM. What is wider is slow to route.
_LOGIC_WORDS, _LOGIC_WIDTH = 16, 512

#: Bits up to which it is, however many words: a block would stand nearly empty.
_LOGIC_BITS = 2048

#: The same, of a RAM where tables of logic cannot be written.
_FLIP_FLOPS = 256


@dataclasses.dataclass(frozen=True)
class Shape:
    """Bits of a word, and words: of one block RAM, or zeros: logic."""

    width: int
    depth: int

    def blocks(self, width: int, depth: int) -> int:
        """Return how many of these a memory takes."""
        return -(-width // self.width) * -(-depth // self.depth) if self.width else 0


LOGIC = Shape(0, 0)


@dataclasses.dataclass(frozen=True)
class Memory:
    """The block RAM of a family of devices.

    Attributes:
        shapes: what one block can be, one port to write and one to read; the widest first.
        has_logic_ram: whether tables of logic can be written; else what is small is flip-flops.
    """

    shapes: tuple[Shape, ...]
    has_logic_ram: bool = True

    def rom(self, width: int, depth: int) -> Shape:
        """Return how to cut a memory that is only read: into the fewest blocks, in the fewest rows.

        Args:
            width, depth: bits of a word, and words.
        """
        if _is_small(width, depth):
            return LOGIC
        return min(
            self.shapes,
            key=lambda shape: (shape.blocks(width, depth), -(-depth // shape.depth)),
        )

    def ram(self, width: int, depth: int) -> Shape:
        """Return how to cut a memory that is written as well: into columns as deep as it is."""
        is_small = depth <= 2 * _LOGIC_WORDS and _is_small(width, depth)
        if is_small if self.has_logic_ram else width * depth <= _FLIP_FLOPS:
            return LOGIC
        return next((shape for shape in self.shapes if shape.depth >= depth), self.shapes[-1])

    @property
    def deepest(self) -> int:
        """Words of the deepest shape."""
        return self.shapes[-1].depth


def _is_small(width: int, depth: int) -> bool:
    """Whether a memory is better made of logic than of blocks."""
    return width * depth <= _LOGIC_BITS or (depth <= _LOGIC_WORDS and width <= _LOGIC_WIDTH)


def _halved(width: int, depth: int, times: int) -> tuple[Shape, ...]:
    """Return a shape, and those of half the width and twice the depth, parity bits left out."""
    shapes = [Shape(width, depth)]
    for _ in range(times):
        width, depth = width // 2, depth * 2
        shapes.append(Shape(width, depth))
    return tuple(shapes)


#: 18 kbit (the ninth bit of each byte is lost below nine): DP16KD of Lattice's ECP5 (its data
#: sheet, table 2.6) and RAMB18 of AMD's 7 series and UltraScale+ (UG473, table 1-8).
_KILOBITS_18 = _halved(36, 512, 2) + _halved(4, 4096, 2)

MEMORIES = {
    "ecp5": Memory(_KILOBITS_18),
    "xc7": Memory(_KILOBITS_18),
    "xcup": Memory(_KILOBITS_18),
    "ice40": Memory(_halved(16, 256, 3), has_logic_ram=False),  # SB_RAM40_4K, of 4 kbit
}


def parameters(name: str, file: str, shape: Shape) -> dict[str, int | str]:
    """Return the three parameters of a memory: its files' beginning, and the shape of a slice."""
    return {name: file, f"{name}_WIDTH": shape.width, f"{name}_DEPTH": shape.depth}


def shape_of(stage: Stage, name: str) -> Shape:
    """Return the shape of a slice that a stage's parameters say; `name` is the memory's."""
    return Shape(int(stage.parameters[f"{name}_WIDTH"]), int(stage.parameters[f"{name}_DEPTH"]))


def files(beginning: str, rom: Rom, shape: Shape) -> dict[str, str]:
    """Return the files that rtl/rom.v reads for a memory: name -> text for `$readmemh`."""
    tall, wide = (shape.depth or rom.depth), (shape.width or rom.width)
    slices = [
        rom.bits[row : row + tall, column : column + wide]
        for row in range(0, rom.depth, tall)
        for column in range(0, rom.width, wide)
    ]
    return {f"{beginning}_{index:03d}.hex": _text(bits) for index, bits in enumerate(slices)}


def _text(bits: np.ndarray) -> str:
    """Return one word a line, in hexadecimal."""
    digits = -(-bits.shape[1] // 4)
    words = np.packbits(bits, axis=1, bitorder="little")[:, ::-1]
    return "".join(f"{word.tobytes().hex()[-digits:].rjust(digits, '0')}\n" for word in words)


def packed(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers in two's complement, side by side, the first in the lowest bits.

    Args:
        numbers: integers [words, lanes].
        bits: of one number.

    Returns:
        uint8 [words, lanes x bits], 0 or 1, the lowest bit first.
    """
    shifted = numbers.astype(np.int64)[:, :, None] >> np.arange(bits)
    return (shifted & 1).astype(np.uint8).reshape(len(numbers), -1)
