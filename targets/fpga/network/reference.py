"""What each layer computes, to the bit: the single truth that the hardware is compared with.

Arrays are [frames, height, width, channels], int8 (int16 of an index). Sums are integers; where
they go through float64, for its fast matrix products, all are below 2^53 and so exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from .graph import (
    Add,
    ArgMax,
    AveragePool,
    Chain,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Network,
    Resize,
    Table,
    Tensor,
    Window,
)
from .requantize import requantize

#: Frames that are computed at once: more take memory, fewer take time.
_CHUNK: Final = 32


def run(network: Network, frames: np.ndarray) -> np.ndarray:
    """Return the output of every frame.

    Args:
        frames: int8 [frames, height, width, channels], or of any shape with as many elements.

    Returns:
        [frames, height, width, channels] of the output.
    """
    chunks = [frames[start : start + _CHUNK] for start in range(0, len(frames), _CHUNK)]
    if not chunks:
        return np.zeros((0, *network.output.shape), _dtype(network.output))
    return np.concatenate([tensors(network, part)[network.output.name] for part in chunks])


def tensors(network: Network, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return every tensor of the network by name, the input among them; frames as in `run`."""
    found = {network.input.name: frames.reshape(-1, *network.input.shape)}
    for layer in network.layers:
        found[layer.output.name] = compute(layer, *(found[name] for name in layer.inputs))
    return found


def compute(layer: Layer, *inputs: np.ndarray) -> np.ndarray:
    """Return what one layer makes of its inputs."""
    return _LAYERS[type(layer)](layer, *inputs)


def _dtype(tensor: Tensor) -> type[np.int8] | type[np.int16]:
    return np.int8 if tensor.bits == 8 else np.int16


def _taps(
    x: np.ndarray, window: Window, output: Tensor, fill: int
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield each position in the window, and what lies there for every output pixel.

    Outside the image lies `fill`.
    """
    top, left, _, _ = window.pads
    (down, across), (rows, columns) = window.strides, window.reach
    height = (output.height - 1) * down + rows
    width = (output.width - 1) * across + columns
    padded = np.full((len(x), height, width, x.shape[3]), fill, x.dtype)
    part = x[:, : height - top, : width - left]
    padded[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    for ky in range(window.kernel[0]):
        for kx in range(window.kernel[1]):
            y, x_first = ky * window.dilations[0], kx * window.dilations[1]
            yield (
                ky,
                kx,
                padded[
                    :,
                    y : y + (output.height - 1) * down + 1 : down,
                    x_first : x_first + (output.width - 1) * across + 1 : across,
                ],
            )


def conv(layer: Conv, x: np.ndarray) -> np.ndarray:
    """Return the requantized sums of the numbers in each window times the weights, plus bias."""
    total = sums(layer, x) + layer.bias
    return requantize(total, layer.requantization)


def sums(layer: Conv, x: np.ndarray) -> np.ndarray:
    """Return the sums of a convolution before the bias, int64."""
    groups = layer.groups
    out, _, _, each = layer.weights.shape
    shape = (len(x), layer.output.height, layer.output.width)
    total = np.zeros((*shape, groups, out // groups))
    # groups x channels in x channels out, for each position
    weights = layer.weights.astype(np.float64).reshape(
        groups, out // groups, *layer.weights.shape[1:]
    )
    for ky, kx, part in _taps(x, layer.window, layer.output, layer.pad):
        split = part.astype(np.float64).reshape(*shape, groups, 1, each)
        if each == 1:
            total += split[..., 0] * weights[:, :, ky, kx, 0]
        else:
            total += _products(split, weights[:, :, ky, kx])
    return total.reshape(*shape, out).astype(np.int64)


def _products(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Multiply [..., groups, 1, channels in] by [groups, channels out, channels in]."""
    *shape, groups, _, each = x.shape
    flat = np.moveaxis(x.reshape(-1, groups, each), 1, 0)
    found = np.matmul(flat, weights.swapaxes(1, 2))
    return np.asarray(np.moveaxis(found, 0, 1).reshape(*shape, groups, weights.shape[1]))


def chain(layer: Chain, x: np.ndarray) -> np.ndarray:
    """Return what the last product makes of what those before it give."""
    for product in layer.products:
        x = conv(product, x)
    return x


def max_pool(layer: MaxPool, x: np.ndarray) -> np.ndarray:
    """Return the largest number in each window."""
    parts = [part for _, _, part in _taps(x, layer.window, layer.output, -128)]
    return np.asarray(np.maximum.reduce(parts))


def average_pool(layer: AveragePool, x: np.ndarray) -> np.ndarray:
    """Return the requantized sum of the numbers in each window, plus bias."""
    total = np.full((len(x), *layer.output.shape), layer.bias, np.int64)
    for _, _, part in _taps(x, layer.window, layer.output, layer.pad):
        total += part
    return requantize(total, layer.requantization)


def add(layer: Add, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return clamp(((a m_a + b m_b + bias + 2^(shift - 1)) >> shift) + zero, low, high)."""
    first, second = layer.multipliers
    total = a.astype(np.int64) * first + b.astype(np.int64) * second + layer.bias
    rounded = (total + (1 << (layer.shift - 1))) >> layer.shift
    return np.asarray(np.clip(rounded + layer.zero, layer.low, layer.high), np.int8)


def table(layer: Table, x: np.ndarray) -> np.ndarray:
    """Return the table's entry for each number."""
    return np.asarray(layer.values[x.astype(np.int64) + 128])


def concat(_: Concat, *inputs: np.ndarray) -> np.ndarray:
    """Return the channels of all inputs, one input after the other."""
    return np.concatenate(inputs, axis=3)


def resize(layer: Resize, x: np.ndarray) -> np.ndarray:
    """Return each pixel as often as the factors say."""
    down, across = layer.factors
    return x.repeat(down, axis=1).repeat(across, axis=2)


def arg_max(_: ArgMax, x: np.ndarray) -> np.ndarray:
    """Return the index of the first of the largest channels, int16."""
    return np.asarray(x.argmax(axis=3, keepdims=True), np.int16)


_LAYERS: Final[dict[type[Layer], Callable[..., np.ndarray]]] = {
    Add: add,
    ArgMax: arg_max,
    AveragePool: average_pool,
    Chain: chain,
    Concat: concat,
    Conv: conv,
    MaxPool: max_pool,
    Resize: resize,
    Table: table,
}
