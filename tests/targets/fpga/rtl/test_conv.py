"""Convolutions of many shapes and foldings: the reference's numbers, in the cycles of the rule."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from tapeout.targets.fpga.engines import conv
from tapeout.targets.fpga.hardware.design import Folding
from tapeout.targets.fpga.network.graph import Conv, Tensor, Window
from tapeout.targets.fpga.network.requantize import reach, requantization

from rtl import check
from stages import assert_timed, case_of, network_of

FRAMES = 4
SAME = (1, 1, 1, 1)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A convolution: image, channels in and out, window, folding; what else there is to it."""

    image: tuple[int, int]
    channels: tuple[int, int]
    window: Window
    folding: tuple[int, int]
    groups: int = 1
    bits: int = 8
    scale: float = 0.004
    bias: int = 5000
    family: str = "ecp5"

    @property
    def tensor(self) -> Tensor:
        return Tensor("x", *self.image, self.channels[0])

    def layer(self, random: np.random.Generator) -> Conv:
        """Return it with weights of all values, and channels of very different scales."""
        into, out = self.channels
        shape = (out, *self.window.kernel, into // self.groups)
        low, high = -(1 << (self.bits - 1)), 1 << (self.bits - 1)
        weights = random.integers(low, high, shape).astype(np.int8)
        weights.flat[0], weights.flat[-1] = low, high - 1  # so that the bits are needed
        bias = random.integers(-self.bias, self.bias + 1, out)
        zero = int(random.integers(-128, 128))
        low, high = sorted(int(item) for item in random.integers(-128, 128, 2))
        factors = self.scale * random.uniform(0.02, 1, out)
        how = requantization(factors, reach(weights, bias), zero, low, high)
        output = Tensor("y", *self.output, out)
        pad = int(random.integers(-128, 128))
        return Conv("conv", ("x",), output, self.window, weights, bias, self.groups, pad, how)

    @property
    def output(self) -> tuple[int, int]:
        (top, left, bottom, right), (down, across) = self.window.pads, self.window.strides
        height, width = self.window.reach
        return (
            (self.image[0] + top + bottom - height) // down + 1,
            (self.image[1] + left + right - width) // across + 1,
        )


SHAPES = (
    Shape((6, 5), (4, 6), Window((3, 3), pads=SAME), (2, 2)),
    Shape((6, 6), (3, 2), Window((3, 3), (2, 2), pads=(0, 0, 1, 1)), (2, 3)),
    Shape((5, 7), (2, 2), Window((3, 3), dilations=(2, 2), pads=(2, 2, 2, 2)), (1, 2)),
    Shape((4, 5), (8, 4), Window((3, 2), pads=(1, 0, 1, 1)), (1, 2), groups=2),
    Shape((6, 6), (6, 9), Window((2, 2), (2, 2)), (3, 1), groups=3, bits=4),
    Shape((5, 5), (2, 2), Window(), (2, 2), scale=1e-6),
    Shape((6, 5), (4, 4), Window((1, 1), (2, 2)), (2, 4), bits=2),
    Shape((1, 12), (3, 4), Window((1, 3), (1, 2), pads=(0, 2, 0, 0)), (4, 1), bits=3),
    Shape((1, 1), (24, 6), Window(), (2, 3), scale=0.5),
    Shape((1, 1), (12, 4), Window(), (4, 1), bits=1, scale=3.0),
    Shape((1, 1), (40, 20), Window(), (1, 5), bits=7, bias=1 << 28),
    Shape((1, 1), (60, 20), Window(), (1, 2), family="ice40"),  # weights in three rows of blocks
    Shape((9, 4), (2, 2), Window((5, 3), (2, 1), pads=(3, 1, 2, 1)), (2, 2)),
)


def frames(random: np.random.Generator, tensor: Tensor) -> np.ndarray:
    """Return frames of any numbers, and one of the least and the greatest alone."""
    shape = (FRAMES, *tensor.shape)
    values = random.integers(-128, 128, shape).astype(np.int8)
    values[1] = np.where(values[1] < 0, -128, 127)
    return values


def test_are_exact_in_value_and_time(tmp_path: Path) -> None:
    random = np.random.default_rng(12)
    layers = [(shape, shape.layer(random)) for shape in SHAPES]
    assert [layer.bits for _, layer in layers] == [shape.bits for shape in SHAPES]
    cases = [
        case_of(
            layer,
            [shape.tensor],
            Folding(*shape.folding),
            [frames(random, shape.tensor)],
            shape.family,
        )
        for shape, layer in layers
    ]
    cycles = check(cases, tmp_path)
    assert_timed(cases, cycles)
    for (shape, layer), found in zip(layers, cycles, strict=True):
        expected = conv.period(layer, Folding(*shape.folding), network_of(layer, [shape.tensor]))
        ends = found.outputs[0].reshape(FRAMES, -1)[:, -1]
        assert np.diff(ends)[-1] == expected, shape
