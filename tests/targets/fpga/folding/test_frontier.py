"""The table of foldings: what is in it, and what each point lacks."""

import json

import fpga_networks
import pytest

from tapeout.targets.fpga.folding.choices import Choice
from tapeout.targets.fpga.folding.device import Device
from tapeout.targets.fpga.folding.frontier import frontier
from tapeout.targets.fpga.folding.space import Space
from tapeout.targets.fpga.hardware.design import Folding
from tapeout.targets.fpga.hardware.memories import MEMORIES
from tapeout.targets.fpga.hardware.resources import Cost
from tapeout.targets.fpga.network.graph import Network

ROOM = Device(Cost(40, 9, 1000, 1000), MEMORIES["ecp5"], 1e6)


@pytest.fixture
def network() -> Network:
    builder = fpga_networks.Builder(1, 1, 64)
    builder.conv(builder.conv("input", 64), 64)
    return builder.network


def _space(network: Network, powers: int) -> Space:
    row = [
        Choice(Folding(1 << power), 1024 >> power, Cost(1 << power, 2, 10 << power, 10))
        for power in range(powers)
    ]
    return Space(network, [row, row], ROOM.limit)


def test_there_is_one_point_for_each_interval_and_what_it_lacks(network: Network) -> None:
    table = frontier(_space(network, 6), ROOM, latency=300)
    assert [point.interval for point in table.points] == [1024, 512, 256, 128, 64, 64]
    assert [point.cost.multipliers for point in table.points] == [2, 4, 8, 16, 32, 64]
    assert table.missing(table.points[-1]) == ("24 more multipliers than the 40 it may take",)
    late = [text for point in table.points for text in table.missing(point) if "late" in text]
    assert len(late) == 4
    assert table.missing(table.points[4]) == ()


def test_it_is_told_in_words_and_as_json(network: Network) -> None:
    table = frontier(_space(network, 1), ROOM, latency=2000)
    assert [str(problem) for problem in table.problems()] == [
        "a frame each 1,024 cycles (1.02 ms), latency 2.16 ms (estimated), 2 multipliers, "
        "4 block RAMs, 20 LUTs, 20 flip-flops: 162 us too late"
    ]
    assert json.loads(json.dumps(table.rows())) == [
        {
            "interval": 1024,
            "latency": {"value": 2162, "known": "estimated"},
            "multipliers": 2,
            "blocks": 4,
            "luts": 20,
            "flip_flops": 20,
            "folding": {"conv0": [1, 1], "conv1": [1, 1]},
            "missing": ["162 us too late"],
        }
    ]


def test_long_tables_keep_their_ends_and_what_was_found(network: Network) -> None:
    row = [Choice(Folding(1 + step), 2000 - 50 * step, Cost(1 + step)) for step in range(30)]
    space = Space(network, [row, row], ROOM.limit)
    whole = [space.point(space.least(interval)) for interval in space.intervals()]
    table = frontier(space, ROOM, found=[whole[13]])
    assert len(whole) == 30
    assert len(table.points) <= 11
    assert {whole[0].interval, whole[13].interval, whole[-1].interval} <= {
        point.interval for point in table.points
    }
