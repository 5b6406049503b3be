"""What engines are said to take, beside what synthesis makes of them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapeout.profiles.fpga_schema import Family
from tapeout.targets.fpga.elaboration import verilog
from tapeout.targets.fpga.elaboration.inventory import stage_cost
from tapeout.targets.fpga.hardware.design import Folding, Stage
from tapeout.targets.fpga.hardware.resources import Cost
from tapeout.targets.fpga.implementation.cache import Cache
from tapeout.targets.fpga.implementation.implement import synthesize
from tapeout.targets.fpga.network.graph import (
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Resize,
    Table,
    Tensor,
    Window,
)
from tapeout.targets.fpga.network.requantize import reach, requantization

from rtl import texts
from stages import case_of, frames


def image(name: str, height: int, width: int, channels: int) -> Tensor:
    return Tensor(name, height, width, channels)


def layers(random: np.random.Generator) -> Iterator[tuple[Layer, list[Tensor], int]]:
    """Yield each kind of layer but the convolution, what it reads, and PE."""
    same, wide = Window((3, 3), pads=(1, 1, 1, 1)), image("a", 25, 5, 64)
    half = Window((2, 2), (2, 2))
    values = random.integers(-128, 128, 256, dtype=np.int8)
    for pe in (1, 16):
        yield depthwise(random, image("b", 25, 5, 64), same), [wide], pe
    yield MaxPool("largest", ("a",), image("b", 12, 2, 64), half), [wide], 4
    yield average(image("b", 12, 2, 64), half), [wide], 4
    yield average(image("b", 1, 1, 64), Window((25, 5))), [wide], 1
    yield average(image("b", 1, 1, 64), Window((25, 5))), [wide], 16
    pair = [image("a", 9, 9, 32), image("b", 9, 9, 32)]
    both = image("c", 9, 9, 32)
    yield Add("sum", ("a", "b"), both, (70_001, -90_003), 12_345, 17, 3, -128, 127), pair, 2
    yield Concat("joined", ("a", "b"), image("c", 9, 9, 64)), pair, 8
    yield Table("function", ("a",), image("b", 9, 9, 32), values), pair[:1], 1
    yield Resize("larger", ("a",), image("b", 50, 10, 64), (2, 2)), [wide], 4
    yield ArgMax("class", ("a",), Tensor("b", 25, 5, 1, bits=16)), [wide], 1


def depthwise(random: np.random.Generator, result: Tensor, window: Window) -> Conv:
    channels = result.channels
    weights = random.integers(-128, 128, (channels, *window.kernel, 1), dtype=np.int8)
    bias = random.integers(-9_000, 9_000, channels)
    factors = random.uniform(1e-3, 4e-3, channels)
    how = requantization(factors, reach(weights, bias), 3, -128, 127)
    return Conv("filter", ("a",), result, window, weights, bias, channels, -5, how)


def average(result: Tensor, window: Window) -> AveragePool:
    taps = window.taps
    ends = (np.array([-128 * taps]), np.array([127 * taps]))
    how = requantization(np.array([1 / taps]), ends, 3, -128, 127)
    return AveragePool("mean", ("a",), result, window, 0, 0, how)


@pytest.mark.bitstream
@pytest.mark.parametrize("family", ["ecp5", "ice40"])
def test_multipliers_and_blocks_are_exact(family: Family, tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    cases = [
        case_of(layer, given, Folding(pe), [frames(random, item) for item in given], family)
        for layer, given, pe in layers(random)
    ]
    files, _ = texts(cases)
    sources = files | verilog.modules(case.module for case in cases)
    found = synthesize(family, sources, "cases", print, Cache(tmp_path))
    costs = [
        stage_cost(Stage("c", case.module, case.parameters, (), (), "", case.roms))
        for case in cases
    ]
    said = functools.reduce(operator.add, costs, Cost())
    assert (found.multipliers, found.blocks) == (said.multipliers, said.blocks), (found, said)
    if family == "ecp5":
        assert found.luts == pytest.approx(said.luts, rel=0.15), costs
        assert found.flip_flops == pytest.approx(said.flip_flops, rel=0.15), costs
