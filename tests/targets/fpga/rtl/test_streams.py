"""The modules without a window: streams in, streams out, element by element or pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tapeout.targets.fpga.hardware.design import Folding
from tapeout.targets.fpga.network.graph import (
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Resize,
    Table,
    Tensor,
    Window,
)
from tapeout.targets.fpga.network.requantize import requantization

from rtl import Case, check
from stages import assert_timed, case_of, frames


def image(name: str, channels: int, height: int = 3, width: int = 4) -> Tensor:
    return Tensor(name, height, width, channels)


def adapts(random: np.random.Generator) -> Iterator[Case]:
    for lanes_in, lanes_out, bits in ((1, 4, 8), (2, 4, 8), (6, 2, 8), (8, 1, 8), (1, 3, 16)):
        lanes = max(lanes_in, lanes_out)
        dtype = np.int8 if bits == 8 else np.int16
        values = random.integers(np.iinfo(dtype).min, 128, (60, lanes), dtype=dtype)
        yield Case(
            "adapt",
            {"BITS": bits, "IN": lanes_in, "OUT": lanes_out},
            [values.reshape(-1, lanes_in)],
            [values.reshape(-1, lanes_out)],
            is_registered=False,
        )


def tees(random: np.random.Generator) -> Iterator[Case]:
    values = random.integers(-128, 128, (80, 3), dtype=np.int8)
    yield Case("tee", {"WIDTH": 24}, [values], [values, values], is_registered=False)


def adds(random: np.random.Generator) -> Iterator[Case]:
    limits = 1 << 17
    for pe, multipliers, shift in (
        (1, (limits - 1, limits - 1), 17),
        (2, (1 - limits, limits - 1), 18),
        (6, (37_111, -90_001), 16),
        (3, (limits - 1, 3), 34),
        (6, (1, 2), 1),
    ):
        bias = int(random.integers(-(1 << 25), 1 << 25)) >> (34 - shift if shift < 34 else 0)
        zero = int(random.integers(-128, 128))
        low = int(random.choice([-128, zero]))
        layer = Add(
            "sum", ("a", "b"), image("c", 6), multipliers, bias, shift, zero, low, max(low, 120)
        )
        inputs = image("a", 6), image("b", 6)
        yield case_of(layer, inputs, Folding(pe), [frames(random, item) for item in inputs])


def tables(random: np.random.Generator) -> Iterator[Case]:
    for pe in (1, 4):
        values = random.integers(-128, 128, 256, dtype=np.int8)
        layer = Table("function", ("a",), image("b", 8), values)
        tensor = image("a", 8)
        yield case_of(layer, [tensor], Folding(pe), [frames(random, tensor)])


def concats(random: np.random.Generator) -> Iterator[Case]:
    for pe, *channels in ((1, 3, 5), (2, 8, 2), (4, 4, 4), (1, 1, 3, 2), (2, 2, 6, 4, 2, 8)):
        names = tuple("abcde"[: len(channels)])
        inputs = [image(name, count) for name, count in zip(names, channels, strict=True)]
        layer = Concat("joined", names, image("all", sum(channels)))
        yield case_of(layer, inputs, Folding(pe), [frames(random, item) for item in inputs])


def resizes(random: np.random.Generator) -> Iterator[Case]:
    for channels, pe, height, width, factors in (
        (6, 2, 3, 4, (2, 2)),
        (4, 1, 2, 5, (1, 3)),
        (3, 3, 2, 1, (3, 1)),
        (2, 2, 1, 1, (2, 2)),
        (40, 1, 2, 6, (2, 1)),
    ):
        tensor = image("a", channels, height, width)
        result = image("b", channels, height * factors[0], width * factors[1])
        layer = Resize("larger", ("a",), result, factors)
        yield case_of(layer, [tensor], Folding(pe), [frames(random, tensor)])


def indices(random: np.random.Generator) -> Iterator[Case]:
    for channels in (1, 2, 11):
        tensor = image("a", channels)
        layer = ArgMax("class", ("a",), Tensor("b", 3, 4, 1, bits=16))
        yield case_of(layer, [tensor], Folding(), [frames(random, tensor)])


def averages(random: np.random.Generator) -> Iterator[Case]:
    for channels, pe, height, width, factor in (
        (6, 1, 3, 4, 1 / 12),
        (6, 2, 3, 4, 0.3),
        (6, 3, 1, 5, 1.7),
        (6, 6, 2, 2, 1 / 4),
        (4, 1, 1, 1, 2.0),
        (40, 1, 2, 3, 1 / 6),
        (5, 1, 40, 40, 0.02),
    ):
        tensor, bias = image("a", channels, height, width), int(random.integers(-2000, 2000))
        pixels, zero = height * width, int(random.integers(-128, 128))
        ends = (np.array([bias - 128 * pixels]), np.array([bias + 127 * pixels]))
        how = requantization(np.array([factor]), ends, zero, -128, int(random.integers(zero, 128)))
        window = Window((height, width))
        layer = AveragePool("mean", ("a",), image("b", channels, 1, 1), window, bias, 0, how)
        yield case_of(layer, [tensor], Folding(pe), [frames(random, tensor)])


def test_are_exact_in_value_and_time(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    makers = (adapts, tees, adds, tables, concats, resizes, indices, averages)
    cases = [case for maker in makers for case in maker(random)]
    assert_timed(cases, check(cases, tmp_path))
