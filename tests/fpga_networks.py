"""Integer networks of any shape, with random weights: what solvers of FPGAs are given."""

from __future__ import annotations

import numpy as np

from tapeout.targets.fpga.network.graph import (
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Network,
    Requantization,
    Resize,
    Table,
    Tensor,
    Window,
)


class Builder:
    """Adds layers one by one; each method takes and returns names of tensors.

    The input is called `input`. Padding keeps the size (divided by the stride, rounded up).
    """

    def __init__(self, height: int, width: int, channels: int, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._tensors = {"input": Tensor("input", height, width, channels)}
        self._layers: list[Layer] = []

    @property
    def network(self) -> Network:
        return Network(self._tensors["input"], tuple(self._layers))

    def conv(
        self, source: str, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        """A convolution; groups of one channel: a depthwise one."""
        image = self._tensors[source]
        kernels = (min(kernel, image.height), min(kernel, image.width))
        window, height, width = _same(image, kernels, stride)
        shape = (channels, *kernels, image.channels // groups)
        output = Tensor(f"conv{len(self._layers)}", height, width, channels)
        return self._add(
            Conv(
                output.name,
                (source,),
                output,
                window,
                self._random.integers(-127, 128, shape).astype(np.int8),
                self._random.integers(-(1 << 12), 1 << 12, channels),
                groups,
                0,
                self._requantization(channels),
            )
        )

    def depthwise(self, source: str, kernel: int, stride: int = 1) -> str:
        channels = self._tensors[source].channels
        return self.conv(source, channels, kernel, stride, channels)

    def add(self, first: str, second: str) -> str:
        image = self._tensors[first]
        output = Tensor(f"add{len(self._layers)}", *image.shape)
        return self._add(
            Add(output.name, (first, second), output, (50_000, -40_000), 9, 16, 0, -128, 127)
        )

    def max_pool(self, source: str, kernel: int, stride: int) -> str:
        image = self._tensors[source]
        window, height, width = _same(image, (kernel, kernel), stride)
        output = Tensor(f"pool{len(self._layers)}", height, width, image.channels)
        return self._add(MaxPool(output.name, (source,), output, window))

    def mean(self, source: str) -> str:
        """The average of the whole image."""
        image = self._tensors[source]
        output = Tensor(f"mean{len(self._layers)}", 1, 1, image.channels)
        window = Window((image.height, image.width))
        return self._add(
            AveragePool(
                output.name, (source,), output, window, 0, 0, self._average(image.channels, window)
            )
        )

    def average(self, source: str, kernel: int, stride: int) -> str:
        image = self._tensors[source]
        window, height, width = _same(image, (kernel, kernel), stride)
        output = Tensor(f"average{len(self._layers)}", height, width, image.channels)
        how = self._average(image.channels, window)
        return self._add(AveragePool(output.name, (source,), output, window, 0, 0, how))

    def table(self, source: str) -> str:
        output = Tensor(f"table{len(self._layers)}", *self._tensors[source].shape)
        values = self._random.integers(-128, 128, 256).astype(np.int8)
        return self._add(Table(output.name, (source,), output, values))

    def concat(self, *sources: str) -> str:
        images = [self._tensors[source] for source in sources]
        channels = sum(image.channels for image in images)
        output = Tensor(f"concat{len(self._layers)}", *images[0].shape[:2], channels)
        return self._add(Concat(output.name, sources, output))

    def arg_max(self, source: str) -> str:
        image = self._tensors[source]
        output = Tensor(f"argmax{len(self._layers)}", image.height, image.width, 1, bits=16)
        return self._add(ArgMax(output.name, (source,), output))

    def resize(self, source: str, factor: int) -> str:
        image = self._tensors[source]
        height, width = image.height * factor, image.width * factor
        output = Tensor(f"resize{len(self._layers)}", height, width, image.channels)
        return self._add(Resize(output.name, (source,), output, (factor, factor)))

    def _requantization(self, channels: int) -> Requantization:
        """Return multipliers and shifts as various as those of real networks."""
        multipliers = self._random.integers(1 << 16, 1 << 17, channels)
        shifts = self._random.integers(24, 28, channels)
        return Requantization(multipliers, shifts, before=2, zero=-128, low=-128, high=127)

    def _average(self, channels: int, window: Window) -> Requantization:
        """Return what divides the sum of a window by twice its size, for every channel."""
        multiplier, shift = (1 << 23) // window.taps, np.full(channels, 24)
        extra = max(0, multiplier.bit_length() - 17)
        multipliers = np.full(channels, multiplier >> extra)
        return Requantization(multipliers, shift - extra, before=0, zero=5, low=-128, high=127)

    def _add(self, layer: Layer) -> str:
        self._layers.append(layer)
        self._tensors[layer.output.name] = layer.output
        return layer.output.name


def residual(height: int = 8, width: int = 8) -> Network:
    """A residual network of four convolutions."""
    builder = Builder(height, width, 3)
    first = builder.conv("input", 8, 3)
    inner = builder.conv(builder.conv(first, 8, 3), 8, 3)
    builder.conv(builder.mean(builder.add(first, inner)), 10)
    return builder.network


def everything() -> Network:
    """A network of every kind of layer but a global average, with branches that meet again."""
    builder = Builder(8, 8, 4)
    first = builder.max_pool(builder.conv("input", 8, 3), 2, 2)
    last = builder.add(first, builder.depthwise(builder.depthwise(first, 3), 3))
    last = builder.concat(first, builder.table(builder.conv(last, 4)), last)
    last = builder.average(builder.resize(last, 2), 3, 2)
    last = builder.conv(last, 12, 3, groups=2)
    builder.arg_max(builder.conv(last, 10))
    return builder.network


def skip() -> Network:
    """Two convolutions, a way around them, and the averages of what comes out."""
    builder = Builder(6, 6, 4)
    builder.mean(builder.add("input", builder.conv(builder.conv("input", 4, 3), 4, 3)))
    return builder.network


def varied(seed: int) -> Network:
    """A small network of layers that are drawn: of those that never make the one before wait."""
    rng = np.random.default_rng(seed)
    height, width, channels = map(int, rng.integers((4, 4, 1), (9, 9, 5)))
    builder = Builder(height, width, channels, seed)
    last = builder.conv("input", 4 * int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    for kind in rng.integers(0, 4, rng.integers(1, 4)):
        match kind:
            case 0:
                last = builder.depthwise(last, 3, int(rng.integers(1, 3)))
            case 1:
                last = builder.conv(last, 4 * int(rng.integers(1, 4)), int(rng.integers(1, 4)))
            case 2:
                last = builder.add(last, builder.depthwise(builder.depthwise(last, 3), 3))
            case _:
                last = builder.max_pool(last, 2, 2)
    builder.conv(builder.mean(last), 10)
    return builder.network


def resnet8() -> Network:
    """The shapes of MLPerf Tiny's ResNet-8."""
    builder = Builder(32, 32, 3)
    last = builder.conv("input", 16, 3)
    last = builder.add(last, builder.conv(builder.conv(last, 16, 3), 16, 3))
    for channels in (32, 64):
        inner = builder.conv(builder.conv(last, channels, 3, 2), channels, 3)
        last = builder.add(builder.conv(last, channels, 1, 2), inner)
    builder.conv(builder.mean(last), 10)
    return builder.network


def dscnn() -> Network:
    """The shapes of MLPerf Tiny's DS-CNN, but for a square first kernel."""
    builder = Builder(49, 10, 1)
    last = builder.conv("input", 64, 6, 2)
    for _ in range(4):
        last = builder.conv(builder.depthwise(last, 3), 64)
    builder.conv(builder.mean(last), 12)
    return builder.network


def autoencoder() -> Network:
    """The shapes of MLPerf Tiny's autoencoder."""
    builder = Builder(1, 1, 640)
    last = "input"
    for channels in (128, 128, 128, 128, 8, 128, 128, 128, 128, 640):
        last = builder.conv(last, channels)
    return builder.network


def _same(image: Tensor, kernel: tuple[int, int], stride: int) -> tuple[Window, int, int]:
    """Return the window that keeps an image's size, and the height and width of the result."""
    sizes = [-(-size // stride) for size in (image.height, image.width)]
    missing = [
        max(0, (size - 1) * stride + taps - given)
        for size, taps, given in zip(sizes, kernel, (image.height, image.width), strict=True)
    ]
    before = [item // 2 for item in missing]
    pads = (before[0], before[1], missing[0] - before[0], missing[1] - before[1])
    return Window(kernel, (stride, stride), (1, 1), pads), sizes[0], sizes[1]
