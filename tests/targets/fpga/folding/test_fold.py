"""Whole networks folded for devices: what the search predicts is what the design has."""

import fpga_networks
import numpy as np
import pytest

from tapeout.errors import BudgetError, UsageError
from tapeout.profiles import catalog
from tapeout.targets.fpga.folding.device import Device, device
from tapeout.targets.fpga.folding.fold import fold, foldings_of, sketch, text_of
from tapeout.targets.fpga.hardware.design import Folding
from tapeout.targets.fpga.hardware.memories import MEMORIES
from tapeout.targets.fpga.hardware.resources import Cost
from tapeout.targets.fpga.network.chains import chained
from tapeout.targets.fpga.network.graph import Network


def _device(limit: Cost) -> Device:
    return Device(limit, MEMORIES["ecp5"], 1e8)


def _board(name: str) -> Device:
    fpga = catalog.load(name).fpga
    assert fpga is not None
    return device(fpga)


@pytest.mark.parametrize("seed", range(6))
def test_a_design_has_the_interval_of_the_search_and_fits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = fpga_networks.varied(seed)
    room = _device(Cost(int(rng.integers(20, 120)), 40, 40_000, 40_000))

    found = fold(network, room)

    assert room.limit.covers(found.point.cost)
    predicted = sketch(network, room).point
    assert predicted.foldings == found.point.foldings
    assert predicted.interval == found.point.interval
    assert predicted.latency == pytest.approx(found.point.latency, rel=0.05)
    assert predicted.cost.multipliers == found.point.cost.multipliers
    assert predicted.cost.blocks == pytest.approx(found.point.cost.blocks, abs=1)


@pytest.mark.parametrize(
    ("network", "interval", "latency"),
    [
        (fpga_networks.resnet8(), 150_000, 195_000),
        (fpga_networks.dscnn(), 33_000, 43_000),
        (fpga_networks.autoencoder(), 2_600, 20_000),
        (chained(fpga_networks.autoencoder()), 2_600, 2_600),
    ],
    ids=["resnet8", "dscnn", "autoencoder", "autoencoder chained"],
)
def test_networks_of_mlperf_tiny_fit_a_ulx3s(network: Network, interval: int, latency: int) -> None:
    """The bounds are cycles: at 100 MHz they are below 2 ms, 0.45 ms and 40 us, the latter
    the interval's but where products are chained.
    """
    room = _board("ulx3s-85f")
    found = sketch(network, room).point
    assert room.limit.covers(found.cost)
    assert found.interval <= interval
    assert found.latency <= latency


def test_a_latency_makes_the_design_as_small_as_it_allows() -> None:
    network, room = fpga_networks.residual(), _board("ulx3s-85f")
    fastest = fold(network, room).point

    found = fold(network, room, 4 * fastest.latency).point

    assert found.latency <= 4 * fastest.latency
    assert found.cost.multipliers < fastest.cost.multipliers
    assert found.cost.luts < fastest.cost.luts


def test_a_smaller_device_has_a_longer_interval() -> None:
    network = fpga_networks.residual()
    large, small = (fold(network, _board(name)).point for name in ("ulx3s-85f", "ulx3s-12f"))
    assert small.interval > large.interval
    assert _board("ulx3s-12f").limit.covers(small.cost)


def test_every_near_point_is_listed_with_what_it_lacks() -> None:
    network, room = fpga_networks.residual(), _device(Cost(40, 30, 20_000, 20_000))

    with pytest.raises(BudgetError) as raised:
        fold(network, room, 300)

    lines = [str(problem) for problem in raised.value.problems]
    assert any("too late" in line and "more multipliers" not in line for line in lines)
    assert any("more multipliers than the 40 it may take" in line for line in lines)
    assert not any(line.endswith("fits") for line in lines)


def test_a_device_that_is_too_small_for_any_folding_is_refused() -> None:
    with pytest.raises(BudgetError) as raised:
        fold(fpga_networks.residual(), _device(Cost(3, 30, 20_000, 20_000)))
    assert "more multipliers than the 3 it may take" in str(raised.value)


def test_the_memory_that_is_allowed_limits_the_blocks() -> None:
    fpga = catalog.load("ulx3s-85f").fpga
    assert fpga is not None
    assert device(fpga).limit.blocks == 208
    assert device(fpga, 10 * 2304 + 2303).limit.blocks == 10
    assert device(fpga).cycles(1e-3) == 100_000


def test_foldings_are_written_and_read_as_one_word() -> None:
    network = fpga_networks.residual()
    foldings = {layer.name: Folding(2) for layer in network.layers} | {"conv0": Folding(8, 3)}
    text = text_of(network, foldings)
    assert text == "8x3,2x1,2x1,2x1,2x1,2x1"
    assert foldings_of(network, text) == foldings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not a folding of 6 layers"),
        ("8x3,2x1", "is not a folding of 6 layers"),
        ("8x3,2x1,2x1,2x1,2x1,2x-1", "is not a folding of 6 layers"),
        ("8x2,2x1,3x1,2x1,2x1,2x1", "conv0: cannot be folded as 8x2"),
    ],
)
def test_what_is_no_folding_of_the_network_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        foldings_of(fpga_networks.residual(), text)
    assert told in str(raised.value)
