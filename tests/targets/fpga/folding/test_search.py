"""The solver, against every selection where there are few enough to try them all."""

import itertools

import fpga_networks
import numpy as np
import pytest

from tapeout.targets.fpga.folding.choices import Choice
from tapeout.targets.fpga.folding.search import shortest, smallest
from tapeout.targets.fpga.folding.space import Point, Space
from tapeout.targets.fpga.hardware.design import Folding
from tapeout.targets.fpga.hardware.resources import Cost
from tapeout.targets.fpga.network.graph import Network

LIMIT = Cost(60, 30, 4000, 5000)


def _space(network: Network, seed: int) -> tuple[Space, list[Point]]:
    """Return choices with a price for speed, and all points that they make."""
    rng = np.random.default_rng(seed)
    offered = [
        [
            Choice(
                Folding(lanes),
                layer.output.size * 64 // lanes + int(rng.integers(9)),
                Cost(
                    lanes * int(rng.integers(1, 4)),
                    int(rng.integers(1, 3) * max(2, lanes // 2)),
                    40 * lanes + int(rng.integers(100)),
                    60 * lanes + int(rng.integers(100)),
                ),
            )
            for lanes in (1, 2, 4, 8)
        ]
        for layer in network.layers
    ]
    space = Space(network, offered, LIMIT, Cost(0, 2, 300, 300))
    indices = itertools.product(*(range(len(row)) for row in offered))
    return space, [space.point(np.array(item)) for item in indices]


def _area(point: Point) -> float:
    cost = point.cost
    return (
        cost.multipliers / LIMIT.multipliers
        + cost.blocks / LIMIT.blocks
        + cost.luts / LIMIT.luts
        + cost.flip_flops / LIMIT.flip_flops
    )


@pytest.fixture
def network() -> Network:
    builder = fpga_networks.Builder(6, 6, 8)
    first = builder.conv("input", 8, 3)
    builder.conv(builder.mean(builder.add(first, builder.conv(first, 8, 3))), 8)
    return builder.network


@pytest.mark.parametrize("seed", range(6))
def test_the_shortest_interval_that_fits_is_found(network: Network, seed: int) -> None:
    space, points = _space(network, seed)
    fitting = [point for point in points if LIMIT.covers(point.cost)]

    found = shortest(space)

    assert found is not None
    assert LIMIT.covers(found.cost)
    assert found.interval == min(point.interval for point in fitting)
    least = min(point.latency for point in fitting if point.interval == found.interval)
    assert found.latency <= 1.25 * least


@pytest.mark.parametrize("seed", range(6))
def test_the_smallest_in_time_is_found(network: Network, seed: int) -> None:
    space, points = _space(network, seed)
    fitting = [point for point in points if LIMIT.covers(point.cost)]
    latencies = sorted(point.latency for point in fitting)
    for latency in (latencies[len(latencies) // 8], latencies[len(latencies) // 2]):
        found = smallest(space, latency)
        assert found is not None
        assert found.latency <= latency
        assert LIMIT.covers(found.cost)
        least = min(_area(point) for point in fitting if point.latency <= latency)
        assert _area(found) <= 1.1 * least
    assert smallest(space, latencies[0] - 1) is None


def test_nothing_is_found_where_nothing_fits(network: Network) -> None:
    offered = [[Choice(Folding(), 100, Cost(multipliers=10))] for _ in network.layers]
    space = Space(network, offered, Cost(10 * len(network.layers) - 1, 1, 1, 1))
    assert shortest(space) is None
    assert smallest(space, 10**9) is None


def test_one_resource_is_bought_with_another(network: Network) -> None:
    """The cheapest of each layer takes too many blocks: some layers must take multipliers."""
    row = [
        Choice(Folding(1), 100, Cost(multipliers=1, blocks=4)),
        Choice(Folding(2), 100, Cost(multipliers=9, blocks=1)),
    ]
    space = Space(network, [row] * len(network.layers), Cost(37, 14, 1, 1))
    found = shortest(space)
    assert found is not None
    assert found.cost == Cost(21, 14)


def test_the_input_may_be_the_slowest(network: Network) -> None:
    """Its readers take 3 and 2 lanes: the input has what both have."""
    builder = fpga_networks.Builder(4, 4, 6)
    builder.add(builder.conv("input", 6), builder.conv("input", 6))
    rows = [Choice(Folding(1, 3), 32, Cost(3)), Choice(Folding(1, 2), 48, Cost(2))]
    offered = [[rows[0]], [rows[1]], [Choice(Folding(6), 16, Cost())]]
    found = shortest(Space(builder.network, offered, LIMIT))
    assert found is not None
    assert found.interval == 96
