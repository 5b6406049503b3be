"""The modules with a window beside the convolution, over random shapes and foldings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tapeout.targets.fpga.engines.arithmetic import divisors
from tapeout.targets.fpga.hardware.design import Folding
from tapeout.targets.fpga.network.graph import AveragePool, Conv, Layer, MaxPool, Tensor, Window
from tapeout.targets.fpga.network.requantize import reach, requantization

from rtl import check
from stages import assert_timed, case_of, frames

#: Shapes that are drawn beside the corners.
RANDOM = 3

Shape = tuple[tuple[int, int, int], Window, int, int]

#: Height, width, channels; window; PE; bits of a weight.
CORNERS: tuple[Shape, ...] = (
    ((5, 6, 4), Window((3, 3), (2, 2), (1, 1), (0, 0, 1, 1)), 2, 4),
    ((4, 4, 2), Window(), 1, 1),
    ((1, 9, 4), Window((1, 4), (1, 3), (1, 1), (0, 2, 0, 1)), 2, 2),
    ((9, 4, 40), Window((5, 3), (3, 1), (2, 1), (2, 1, 4, 1)), 8, 8),
)


def any_shape(random: np.random.Generator) -> Shape:
    """Return a shape whose windows all touch the image."""

    def pair(low: int, high: int) -> tuple[int, int]:
        first, second = random.integers(low, high + 1, 2).tolist()
        return first, second

    bare = Window(pair(1, 3), pair(1, 3), pair(1, 2))
    (height, width), (down, across) = pair(3, 8), bare.reach
    pads = [int(random.integers(0, limit)) for limit in (down, across, down, across)]
    pads[2] = max(pads[2], down - height - pads[0])
    pads[3] = max(pads[3], across - width - pads[1])
    window = dataclasses.replace(bare, pads=tuple(pads))
    channels = int(random.integers(1, 13))
    pe = int(random.choice(divisors(channels)))
    return (height, width, channels), window, pe, int(random.integers(1, 9))


def layers(random: np.random.Generator) -> Iterator[tuple[Layer, Tensor, int]]:
    """Yield two kinds of layers for each shape, what they read, and PE."""
    shapes = (*CORNERS, *(any_shape(random) for _ in range(RANDOM)))
    for index, (shape, window, pe, bits) in enumerate(shapes):
        given, strides = Tensor("a", *shape), window.strides
        (top, left, bottom, right), (down, across) = window.pads, window.reach
        result = Tensor(
            "b",
            (given.height + top + bottom - down) // strides[0] + 1,
            (given.width + left + right - across) // strides[1] + 1,
            given.channels,
        )
        yield depthwise(random, result, window, bits), given, pe
        if index % 2:
            yield MaxPool("largest", ("a",), result, window), given, pe
        else:
            yield average(random, result, window), given, pe


def average(random: np.random.Generator, result: Tensor, window: Window) -> AveragePool:
    pad, zero = (int(random.integers(-128, 128)) for _ in "12")
    bias, taps = -pad * window.taps, window.taps
    ends = (np.array([bias - 128 * taps]), np.array([bias + 127 * taps]))
    how = requantization(random.uniform(0.1, 2, 1) / taps, ends, zero, -128, 127)
    return AveragePool("mean", ("a",), result, window, bias, pad, how)


def depthwise(random: np.random.Generator, result: Tensor, window: Window, bits: int) -> Conv:
    channels, limit = result.channels, 1 << (bits - 1)
    weights = random.integers(-limit, limit, (channels, *window.kernel, 1), dtype=np.int8)
    weights[0] = limit - 1
    bias = random.integers(-(1 << 20) // window.taps, 1 << 16, channels)
    factors = random.uniform(0.1, 3, channels) / (limit * window.taps)
    how = requantization(factors, reach(weights, bias), -3, int(random.choice([-128, -3])), 127)
    pad = int(random.integers(-128, 128))
    return Conv("filter", ("a",), result, window, weights, bias, channels, pad, how)


def test_are_exact_in_value_and_time(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    cases = [
        case_of(layer, [given], Folding(pe), [frames(random, given)])
        for layer, given, pe in layers(random)
    ]
    assert_timed(cases, check(cases, tmp_path))
