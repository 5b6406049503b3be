"""The arrival of pixels, against the same told pixel by pixel."""

import itertools

import fpga_networks
import numpy as np
import pytest

from tapeout.targets.fpga.folding.flow import DEPTH, Flow, depth
from tapeout.targets.fpga.network.graph import AveragePool, Conv, Layer, MaxPool, Network, Resize


def _told(network: Network, periods: np.ndarray, beats: int) -> float:
    """Return when the last pixel is there: each waits for all that it is made of."""
    source = network.input
    places = list(itertools.product(range(source.height), range(source.width)))
    there = {
        source.name: {place: number * beats / len(places) for number, place in enumerate(places, 1)}
    }
    for layer, period in zip(network.layers, periods, strict=True):
        result, free = layer.output, 0.0
        done = there[result.name] = {}
        for place in itertools.product(range(result.height), range(result.width)):
            arrival = max(
                there[name][pixel]
                for name in layer.inputs
                for pixel in _read(layer, place)
                if pixel in there[name]
            )
            free = max(free, arrival) + period / (result.height * result.width)
            done[place] = free + depth(layer)
    return max(there[network.output.name].values())


def _read(layer: Layer, place: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the pixels that one is made of, and some outside the image."""
    if isinstance(layer, Resize):
        return [(place[0] // layer.factors[0], place[1] // layer.factors[1])]
    if not isinstance(layer, Conv | MaxPool | AveragePool):
        return [place]
    window = layer.window
    rows, columns = (
        [place[axis] * window.strides[axis] + tap - window.pads[axis] for tap in range(kernel)]
        for axis, kernel in enumerate(window.kernel)
    )
    return list(itertools.product(rows, columns))


def _varied() -> Network:
    builder = fpga_networks.Builder(9, 6, 2)
    first = builder.conv("input", 4, 3)
    inner = builder.depthwise(builder.conv(first, 4), 3)
    pooled = builder.max_pool(builder.add(first, inner), 3, 2)
    builder.conv(builder.resize(pooled, 2), 2, 2, 3)
    return builder.network


@pytest.mark.parametrize("seed", range(5))
def test_latencies_are_those_told_pixel_by_pixel(seed: int) -> None:
    network = _varied()
    rng = np.random.default_rng(seed)
    periods, beats = rng.integers(20, 2000, (6, len(network.layers))), rng.integers(20, 200, 6)

    found = Flow(network).latencies(periods, beats)

    told = [_told(network, *case) for case in zip(periods, beats, strict=True)]
    assert found.tolist() == [int(np.ceil(item)) for item in told]


def test_a_mean_of_the_image_takes_each_pixel_as_it_comes() -> None:
    """After the last pixel it has only that one to add."""
    builder = fpga_networks.Builder(4, 4, 8)
    builder.mean("input")
    found = Flow(builder.network).latencies(np.array([[128]]), np.array([160]))
    assert found.tolist() == [160 + 128 // 16 + DEPTH]
