"""Winograd's way is taken where it was measured to be faster, in blocks that fit the cache."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeout.targets.tvm.schedules.arithmetic import FLOAT, HALF, Arithmetic
from tapeout.targets.tvm.schedules.core import Core
from tapeout.targets.tvm.schedules.winograd_tile import winograd_tile

#: That of the Zen 4 on which layers were measured.
ZEN4 = Core(lanes=16, registers=32, units=1, l1=32 << 10, l2=1 << 20)
CORES = [
    ZEN4,
    Core(lanes=8, registers=16, units=2, l1=32 << 10, l2=512 << 10),
    Core(lanes=4, registers=32, units=1, l1=32 << 10, l2=256 << 10),
    Core(lanes=1, registers=32, units=1, l1=32 << 10, l2=256 << 10),
    dataclasses.replace(ZEN4, threads=4),
]


@pytest.mark.parametrize(
    ("size", "channels", "expected"),
    [(56, 64, 4), (28, 128, 4), (14, 256, 4), (4, 32, 2)],
)
def test_the_fastest_that_was_measured(size: int, channels: int, expected: int) -> None:
    tile = winograd_tile(1, (size, size), channels, channels, ZEN4, FLOAT)
    assert tile is not None
    assert tile.size == expected


def test_weights_that_are_loaded_for_few_places_are_not_multiplied() -> None:
    tile = winograd_tile(1, (7, 7), 512, 512, ZEN4, FLOAT)
    assert tile is None or tile.size == 2
    assert winograd_tile(1, (2, 2), 2048, 2048, ZEN4, FLOAT) is None


def test_few_channels_are_not_worth_the_additions() -> None:
    assert winograd_tile(1, (224, 224), 1, 1, ZEN4, FLOAT) is None


def test_half_precision_has_digits_for_few_channels_and_small_tiles() -> None:
    core = dataclasses.replace(ZEN4, halves=True).of_dtype("float16")
    tile = winograd_tile(1, (28, 28), 128, 128, core, HALF)
    assert tile is not None
    assert tile.size == 2
    assert winograd_tile(1, (28, 28), 2 * HALF.most, 128, core, HALF) is None


@given(
    images=st.integers(1, 4),
    places=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    inputs=st.integers(1, 600),
    outputs=st.integers(1, 600),
    core=st.sampled_from(CORES),
    arithmetic=st.sampled_from([FLOAT, HALF]),
)
def test_blocks_cover_the_output_and_fit(
    images: int,
    places: tuple[int, int],
    inputs: int,
    outputs: int,
    core: Core,
    arithmetic: Arithmetic,
) -> None:
    tile = winograd_tile(images, places, inputs, outputs, core, arithmetic)
    if tile is None:
        return
    high, wide = places
    assert tile.size * tile.rows * (tile.blocks - 1) < high <= tile.size * tile.rows * tile.blocks
    assert 0 <= tile.size * tile.across - wide < tile.size
    kept = (tile.size + 2) ** 2 * tile.rows * tile.across * (inputs + outputs) * 4
    assert tile.rows == 1 or kept <= core.l2
