"""The integer graph: what a network is before it becomes hardware, and what its numbers are.

All data are int8 in channels-last order, one frame (one sample) after another. `reference` says
what each layer computes, to the bit; the hardware computes nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One frame of data between layers: height x width x channels; a vector is 1 x 1 x channels.

    Attributes:
        bits: of one element, two's complement: 8, or 16 for an index.
    """

    name: str
    height: int
    width: int
    channels: int
    bits: int = 8

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.height * self.width * self.channels

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


@dataclasses.dataclass(frozen=True)
class Window:
    """How a window moves over height and width: each pair is (vertical, horizontal).

    Attributes:
        pads: top, left, bottom, right.
    """

    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def taps(self) -> int:
        """Number of positions in the window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the first position to the last, both included."""
        (height, width), (down, right) = self.kernel, self.dilations
        return (height - 1) * down + 1, (width - 1) * right + 1


@dataclasses.dataclass(frozen=True, eq=False)
class Requantization:
    """How an integer sum becomes an int8; see `requantize` for the rounding.

    Attributes:
        multiplier: int64 [channels], 0 <= multiplier < 2^17.
        shift: int64 [channels], 1 <= shift.
        before: bits that every sum is shifted right by, first.
        zero, low, high: added last; the limits of the result.
    """

    multiplier: np.ndarray
    shift: np.ndarray
    before: int
    zero: int
    low: int
    high: int


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    Attributes:
        name: of the node in the model, for messages.
        inputs: the names of the tensors it reads.
        output: what it gives.
    """

    name: str
    inputs: tuple[str, ...]
    output: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Conv(Layer):
    """A convolution; a matrix product is one of 1 x 1 over an image of 1 x 1.

    Attributes:
        weights: int8 [channels out, kernel height, kernel width, channels in / groups].
        bias: int64 [channels out], less the input's zero point times the sum of the weights:
            sums are of the numbers as they are, with `pad` outside the image.
        pad: the input's zero point.
    """

    window: Window
    weights: np.ndarray
    bias: np.ndarray
    groups: int
    pad: int
    requantization: Requantization

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel has a kernel of its own, and only one."""
        return self.groups > 1 and self.groups == len(self.weights) and self.weights.shape[3] == 1

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product: of a vector with a matrix."""
        height, width, _ = self.output.shape
        return height == width == self.groups == 1 and self.window == Window()

    @property
    def bits(self) -> int:
        """How many bits the weights need, in two's complement."""
        low, high = int(self.weights.min()), int(self.weights.max())
        return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


@dataclasses.dataclass(frozen=True, eq=False)
class MaxPool(Layer):
    """The largest number in the window; what lies outside the image counts as -128."""

    window: Window


@dataclasses.dataclass(frozen=True, eq=False)
class AveragePool(Layer):
    """The requantized sum of the window; `bias` makes up for the zero point.

    A window that is the whole image, without padding, is a global average.
    """

    window: Window
    bias: int
    pad: int
    requantization: Requantization


@dataclasses.dataclass(frozen=True, eq=False)
class Add(Layer):
    """The sum of two tensors of one shape: see `reference.add`.

    Attributes:
        multipliers: one for each input, -2^17 < m < 2^17.
        bias: makes up for the zero points; an integer of the products' scale.
        shift: of the sum, 1 <= shift.
    """

    multipliers: tuple[int, int]
    bias: int
    shift: int
    zero: int
    low: int
    high: int


@dataclasses.dataclass(frozen=True, eq=False)
class Table(Layer):
    """A function of one number: int8 [256], of -128 first."""

    values: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Tensors one after another along the channels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Resize(Layer):
    """Each pixel `factors[0]` times down and `factors[1]` times across."""

    factors: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class ArgMax(Layer):
    """The index of the largest channel of each pixel, the first of several, in 16 bits."""


@dataclasses.dataclass(frozen=True, eq=False)
class Chain(Layer):
    """Matrix products one after another, each on all of what the one before gives.

    Attributes:
        products: over images of 1 x 1, without groups; the first reads the chain's input, the last
            gives its output.
    """

    products: tuple[Conv, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """Layers in the order of computation; the output is the last one's.

    Attributes:
        input: what the hardware is given.
    """

    input: Tensor
    layers: tuple[Layer, ...]

    @property
    def output(self) -> Tensor:
        return self.layers[-1].output

    def tensors(self) -> Iterator[Tensor]:
        """Yield the input and what each layer gives."""
        yield self.input
        for layer in self.layers:
            yield layer.output

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by name."""
        return next(item for item in self.tensors() if item.name == name)

    def readers(self, name: str) -> tuple[Layer, ...]:
        """Return the layers that read a tensor, in order; one that reads it twice, twice."""
        return tuple(layer for layer in self.layers for item in layer.inputs if item == name)
