"""How memories are cut into block RAMs, and the files that fill them."""

from __future__ import annotations

import numpy as np
import pytest

from tapeout.targets.fpga.hardware.design import Rom
from tapeout.targets.fpga.hardware.memories import LOGIC, MEMORIES, Shape, files, packed

ECP5, ICE40 = MEMORIES["ecp5"], MEMORIES["ice40"]


@pytest.mark.parametrize(
    ("width", "depth", "shape", "blocks"),
    [
        (256, 1152, Shape(36, 512), 24),  # 8 columns of 3 rows: 15 of 2 or 29 of 1 would be more
        (512, 576, Shape(18, 1024), 29),  # one row, where two rows of 15 columns would be 30
        (64, 4096, Shape(4, 4096), 16),  # in one row: more would need a choice among them
        (100, 400, Shape(36, 512), 3),
        (512, 16, LOGIC, 0),
        (513, 16, Shape(36, 512), 15),
        (8, 256, LOGIC, 0),
    ],
)
def test_roms_take_the_fewest_blocks(width: int, depth: int, shape: Shape, blocks: int) -> None:
    found = ECP5.rom(width, depth)
    assert (found, found.blocks(width, depth)) == (shape, blocks)


def test_rams_are_as_deep_as_a_block() -> None:
    assert ECP5.ram(128, 64) == Shape(36, 512)
    assert ECP5.ram(64, 2048) == Shape(9, 2048)
    assert ECP5.ram(64, 16) == LOGIC
    assert ICE40.ram(64, 16) == Shape(16, 256)


def test_slices_hold_all_bits_in_order() -> None:
    numbers = np.random.default_rng(0).integers(-8, 8, (11, 5))
    rom = Rom(packed(numbers, 4))
    shape = Shape(6, 4)
    texts = files("w", rom, shape)
    assert list(texts) == [f"w_{index:03d}.hex" for index in range(12)]
    columns = []
    for row in range(3):
        parts = [texts[f"w_{row * 4 + column:03d}.hex"].split() for column in range(4)]
        columns += [
            sum(int(word, 16) << (6 * k) for k, word in enumerate(line))
            for line in zip(*parts, strict=True)
        ]
    expected = [sum((int(n) & 15) << (4 * k) for k, n in enumerate(line)) for line in numbers]
    assert columns == expected
