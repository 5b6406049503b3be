"""What is said that designs take, next to what synthesis made of them."""

import fpga_layers
import fpga_networks
import pytest

from tapeout.targets.fpga.elaboration import verilog
from tapeout.targets.fpga.elaboration.inventory import by_layer, cost_of
from tapeout.targets.fpga.folding.device import Device
from tapeout.targets.fpga.folding.fold import fold
from tapeout.targets.fpga.hardware.memories import MEMORIES
from tapeout.targets.fpga.hardware.resources import Cost
from tapeout.targets.fpga.implementation import implement

#: Tables or flip-flops by which what is said of a small layer may be off.
_UNITS = 130


@pytest.mark.parametrize("line", fpga_layers.measured(), ids=lambda line: str(line.sample))
def test_layers_take_what_synthesis_made_of_them(line: fpga_layers.Measured) -> None:
    found = cost_of(line.sample.design(line.family))
    assert (found.multipliers, found.blocks) == (line.cost.multipliers, line.cost.blocks)
    if line.family == "ecp5":  # what the rest is fitted to
        assert found.luts == pytest.approx(line.cost.luts, rel=0.15, abs=_UNITS)
        assert found.flip_flops == pytest.approx(line.cost.flip_flops, rel=0.15, abs=_UNITS)


def test_the_layers_take_what_the_design_does() -> None:
    room = Device(Cost(60, 40, 40_000, 40_000), MEMORIES["ecp5"], 1e8)
    found = fold(fpga_networks.residual(), room)
    parts = by_layer(found.design)
    assert set(parts) == {layer.name for layer in fpga_networks.residual().layers}
    assert sum(parts.values(), Cost()) == cost_of(found.design) == found.point.cost


@pytest.mark.bitstream
@pytest.mark.parametrize("seed", range(10))
def test_random_networks_take_no_more_than_the_device_has(seed: int) -> None:
    """Multipliers and block RAMs to the unit, tables as near as they are published to be."""
    room = Device(Cost(24 + 8 * seed, 12, 40_000, 40_000), MEMORIES["ecp5"], 1e8)
    found = fold(fpga_networks.varied(seed), room)

    sources = verilog.sources(found.design)
    netlist = implement.synthesize("ecp5", sources, verilog.CORE, lambda _: None)

    assert netlist.multipliers == found.point.cost.multipliers <= room.limit.multipliers
    assert netlist.blocks == found.point.cost.blocks <= room.limit.blocks
    assert found.point.cost.luts == pytest.approx(netlist.luts, rel=0.15)
    assert found.point.cost.flip_flops == pytest.approx(netlist.flip_flops, rel=0.15)
