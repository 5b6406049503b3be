"""When the pixels of each layer are there, without simulating: fast enough to ask of any folding.

A layer with a period of P cycles and n pixels out gives one every P / n cycles, once the last pixel
that its window reaches has come: t[i] = max(t[i - 1], arrival[i]) + P / n. Engines are taken never
to wait for their readers, which holds but for a resize: it keeps one row, and while it repeats that
the layer before it may have to wait. They are so many registers deep as `depth` says. `timing` has
the cycles themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engines import is_global
from ..network.graph import (
    ArgMax,
    AveragePool,
    Chain,
    Conv,
    Layer,
    MaxPool,
    Network,
    Resize,
    Tensor,
    Window,
)

#: Cycles from an engine's last input to its first output beside the work itself: registers on the
#: way through memory, multiplier, adder tree and requantization; without the latter, fewer.
DEPTH, SHALLOW = 25, 8

#: Frames after which what waits from one to the next no longer grows.
_FRAMES = 3

#: Numbers in one array, at most: more foldings at once are taken in pieces.
_PIECE = 1 << 20


class Flow:
    """The arrival of pixels in one network, for many foldings at once."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._images = {tensor.name: tensor for tensor in network.tensors()}
        self._needs = [
            [self._need(layer, name) for name in layer.inputs] for layer in network.layers
        ]
        self._steps = [self._parts(layer) for layer in network.layers]

    def _need(self, layer: Layer, name: str) -> np.ndarray:
        """Return for each pixel out, in order, the last pixel in that it is made of."""
        image, result = self._images[name], layer.output
        rows, columns = np.arange(result.height), np.arange(result.width)
        if isinstance(layer, Conv | MaxPool | AveragePool):
            rows, columns = _reached(layer.window, rows, columns)
        elif isinstance(layer, Resize):
            rows, columns = rows // layer.factors[0], columns // layer.factors[1]
        rows, columns = rows.clip(0, image.height - 1), columns.clip(0, image.width - 1)
        return (rows[:, None] * image.width + columns[None, :]).ravel()

    def _parts(self, layer: Layer) -> int:
        """Return the equal parts of a layer's period, the last of which follows the last arrival.

        Engines that keep no image take every pixel as it comes.
        """
        keeps_none = isinstance(layer, ArgMax) or (
            isinstance(layer, AveragePool) and is_global(layer, self._network)
        )
        return _pixels(self._images[layer.inputs[0]] if keeps_none else layer.output)

    def latencies(self, periods: np.ndarray, beats: np.ndarray) -> np.ndarray:
        """Return the cycles from the first number in to the last one out: int64 [foldings].

        Args:
            periods: int64 [foldings, layers], in the network's order.
            beats: of the input in one frame: int64 [foldings].
        """
        size = max(map(_pixels, self._network.tensors()))
        pieces = max(1, -(-len(periods) * size // _PIECE))
        ends = [
            self._arrivals(*piece)[self._network.output.name][:, -1]
            for piece in zip(
                np.array_split(periods, pieces), np.array_split(beats, pieces), strict=True
            )
        ]
        return np.asarray(np.ceil(np.concatenate(ends)), np.int64)

    def waiting(self, periods: np.ndarray, interval: int) -> dict[tuple[str, int], int]:
        """Return the most pixels that wait at an input for another one, if frames come evenly.

        Args:
            periods: of one folding: int64 [layers].
            interval: cycles from one frame to the next.

        Returns:
            By the layer's name and the number of its input, of layers with several.
        """
        found = self._arrivals(periods[None], np.array([interval]))
        over = {
            name: (np.arange(_FRAMES)[:, None] * interval + times[0]).ravel()
            for name, times in found.items()
        }
        return {
            (layer.name, number): _most(over[name], [over[other] for other in layer.inputs])
            for layer in self._network.layers
            if len(layer.inputs) > 1
            for number, name in enumerate(layer.inputs)
        }

    def _arrivals(self, periods: np.ndarray, beats: np.ndarray) -> dict[str, np.ndarray]:
        """Return the cycle in which each pixel is whole: tensor -> float64 [foldings, pixels]."""
        source = self._network.input
        size = _pixels(source)
        found = {source.name: np.arange(1, size + 1) * (beats[:, None] / size)}
        for index, layer in enumerate(self._network.layers):
            needs = zip(layer.inputs, self._needs[index], strict=True)
            arrival = np.maximum.reduce([found[name][:, need] for name, need in needs])
            step = periods[:, index, None] / self._steps[index]
            ahead = np.arange(arrival.shape[1]) * step
            first = np.maximum.accumulate(arrival - ahead, axis=1)
            found[layer.output.name] = first + ahead + (step + depth(layer))
        return found


def depth(layer: Layer) -> int:
    """Return the cycles that a layer takes beside its work."""
    return DEPTH if isinstance(layer, Conv | Chain | AveragePool) else SHALLOW


def _most(mine: np.ndarray, all_inputs: Sequence[np.ndarray]) -> int:
    """Return how many pixels have come at most, and were not taken: that is once all are there."""
    taken = np.maximum.reduce(all_inputs)
    come = np.searchsorted(mine, taken, side="right")
    return int((come - np.arange(len(taken))).max())


def _reached(
    window: Window, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the last row and column that windows at these places reach, in the padding or not."""
    down, right = window.reach
    return (
        rows * window.strides[0] + down - 1 - window.pads[0],
        columns * window.strides[1] + right - 1 - window.pads[1],
    )


def _pixels(tensor: Tensor) -> int:
    return tensor.height * tensor.width
