"""Tiles and blocks: they divide what they are of, fit, and are chosen as they were measured."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeout.profiles import catalog
from tapeout.targets.tvm.schedules.arithmetic import FLOAT, HALF, Arithmetic, integers_of
from tapeout.targets.tvm.schedules.core import OPERANDS, Core
from tapeout.targets.tvm.schedules.tile import (
    Tile,
    blocks_of,
    depthwise_tile,
    divisors,
    steps_of,
    tile_of,
)

#: As those of the Cascade Lake on which tiles were measured, and others.
AVX512 = Core(lanes=16, registers=32, units=2, l1=32 << 10, l2=1 << 20)
CORES = [
    AVX512,
    Core(lanes=8, registers=16, units=2, l1=32 << 10, l2=512 << 10),
    Core(4, registers=32, units=1, l1=32 << 10, l2=256 << 10, operands=OPERANDS["neon"]),
    Core(8, registers=32, units=1, l1=32 << 10, l2=512 << 10, operands=OPERANDS["v"]),
    Core(1, registers=32, units=1, l1=32 << 10, l2=256 << 10, operands=OPERANDS["f"]),
    Core(lanes=16, registers=32, units=2, l1=32 << 10, l2=1 << 20, threads=4),
]

places = st.lists(st.integers(1, 200), min_size=1, max_size=2).map(tuple)
cores = st.sampled_from(CORES)


@given(number=st.integers(1, 5000))
def test_divisors(number: int) -> None:
    assert divisors(number) == [item for item in range(1, number + 1) if number % item == 0]


@given(places=places, channels=st.integers(1, 2000), core=cores)
def test_tiles_divide_and_fit(places: tuple[int, ...], channels: int, core: Core) -> None:
    tile = tile_of(places, channels, core, FLOAT)
    assert channels % tile.channels == 0
    assert 1 <= tile.width <= places[-1]
    assert (places[0] if len(places) > 1 else 1) % tile.height == 0
    assert tile.channels <= tile.lanes < tile.channels + max(core.lanes, tile.channels)
    vectors = -(-tile.lanes // core.lanes)
    rows, sums = tile.height * tile.width, tile.height * tile.width * vectors
    words = {"vector": rows, "memory": 1, "apart": 0}[core.operands.number]
    assert sums + vectors + words <= core.registers or sums == 1
    steps = steps_of(rows, vectors, core)
    assert steps == 1 or sums + steps * (vectors + rows) <= core.registers


@given(
    places=places,
    channels=st.integers(1, 2000),
    inputs=st.integers(1, 2000),
    taps=st.sampled_from([1, 3, 9, 25, 49]),
    copied=st.booleans(),
    core=cores,
    arithmetic=st.sampled_from([FLOAT, HALF]),
)
def test_blocks_divide_and_fit(
    places: tuple[int, ...],
    channels: int,
    inputs: int,
    taps: int,
    copied: bool,
    core: Core,
    arithmetic: Arithmetic,
) -> None:
    core = dataclasses.replace(core, halves=True).of_dtype(arithmetic.data)
    tile = tile_of(places, channels, core, arithmetic)
    row, tiles = float(inputs * places[-1]), channels // tile.channels
    found = blocks_of(tile, taps, inputs, places, row, tiles, 1, core, arithmetic, copied=copied)
    assert inputs % (found.depth * found.group) == 0
    unit = tile.height if len(places) > 1 else tile.width
    assert found.rows % unit == 0
    assert found.rows < places[0] + unit
    assert found.packs or not copied
    if found.group > 1:
        assert found.group * found.depth * taps * tile.lanes * core.width <= core.l1
        assert not arithmetic.most or found.group * found.depth * taps <= arithmetic.most


@given(places=places, channels=st.integers(1, 500), core=cores)
def test_depthwise_tiles_fit(places: tuple[int, ...], channels: int, core: Core) -> None:
    tile = depthwise_tile(places, channels, 9, places, 1, core, FLOAT)
    assert channels % tile.channels == 0
    assert 1 <= tile.width <= places[-1]
    assert 1 <= tile.rows <= (places[0] if len(places) > 1 else 1)
    assert tile.width * -(-tile.channels // core.lanes) < core.registers


def test_sums_of_integers_leave_registers_for_what_becomes_of_them() -> None:
    integers = integers_of(["avx512vnni"], 16)
    floats = depthwise_tile((48, 48), 16, 3, (48, 48), 1, AVX512, FLOAT)
    words = depthwise_tile((48, 48), 16, 3, (48, 48), 1, AVX512, integers)
    assert (words.width, floats.width) == (12, 24)


@pytest.mark.parametrize(
    ("inputs", "taps", "copied", "packs"),
    [
        (96, 1, False, False),  # rows are read where they lie
        (96, 1, True, True),
        (96, 9, False, True),  # each is read several times
        (256, 1, False, True),  # all rows would take the same places of a cache
    ],
)
def test_what_is_copied_before_it_is_read(
    inputs: int, taps: int, copied: bool, packs: bool
) -> None:
    tile = tile_of((28, 28), 256, AVX512, FLOAT)
    found = blocks_of(
        tile, taps, inputs, (28, 28), 28.0 * inputs, 8, 1, AVX512, FLOAT, copied=copied
    )
    assert found.packs == packs


@pytest.mark.parametrize(
    ("places", "channels", "best"),
    [
        ((56, 56), 64, Tile(1, 14, 32, 32)),
        ((14, 14), 256, Tile(1, 14, 32, 32)),
        ((56, 56), 24, Tile(1, 14, 24, 32)),
    ],
)
def test_the_tile_that_was_measured_to_be_the_fastest(
    places: tuple[int, ...], channels: int, best: Tile
) -> None:
    assert tile_of(places, channels, AVX512, FLOAT) == best


def test_tiles_follow_how_numbers_come_to_multiply_adds() -> None:
    """From memory: as many sums as there are registers. From lanes: room for the numbers as well,
    and for those of a second step. Apart: vectors of whole groups.
    """
    sizes = {"l1": 32 << 10, "l2": 512 << 10}
    memory = Core(4, registers=32, units=1, **sizes)
    neon = Core(4, registers=32, units=1, operands=OPERANDS["neon"], **sizes)
    groups = Core(8, registers=32, units=1, operands=OPERANDS["v"], **sizes)
    assert tile_of((28, 28), 64, memory, FLOAT) == Tile(1, 14, 8, 8)
    assert tile_of((28, 28), 64, neon, FLOAT) == Tile(1, 4, 16, 16)
    assert tile_of((28, 28), 64, groups, FLOAT) == Tile(1, 7, 32, 32)
    assert [steps_of(4, 4, core) for core in (memory, neon, groups)] == [1, 2, 1]


@pytest.mark.parametrize("places", [(197,), (37, 37), (13, 13)])
def test_a_prime_number_of_rows_has_tiles_as_well(places: tuple[int, ...]) -> None:
    """Row by row a product of 197 rows took ten times as long as one of 196."""
    tile = tile_of(places, 768, AVX512, FLOAT)
    assert tile.height * tile.width >= 8


def test_every_core_of_the_catalogue() -> None:
    for name in catalog.names():
        cpu = catalog.load(name).cpu
        if cpu is not None:
            core = Core.of(cpu, ())
            assert core.lanes * 32 == max(32, cpu.vector_bits.value)
            assert 0 < core.l1 <= core.l2, name
