"""What place and route tells, and to which layer a path belongs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tapeout.errors import TapeoutError
from tapeout.targets.fpga.hardware.design import Design, Stage, Stream
from tapeout.targets.fpga.hardware.resources import Cost
from tapeout.targets.fpga.implementation.layout import WRAPPER, placed, synthesized


def stage(name: str, layer: str, outputs: tuple[str, ...]) -> Stage:
    return Stage(name, "lookup", {}, ("s",), outputs, layer)


DESIGN = Design(
    (
        stage("layer1", "first", ("layer1_out",)),
        stage("layer1_out_tee", "fork", ("layer2_in0", "layer3_in0")),
        stage("layer12", "twelfth", ("m",)),
    ),
    {"s": Stream("s", 1, 1), "m": Stream("m", 1, 1)},
    "s",
    "m",
)


def hop(delay: float, start: str, end: str) -> dict[str, Any]:
    return {"delay": delay, "from": {"cell": start}, "to": {"cell": end}, "type": "routing"}


def report(*hops: dict[str, Any], achieved: float = 90.0) -> bytes:
    clock = "$glbnet$clk"
    edge = f"posedge {clock}"
    pin = {"from": "<async>", "to": edge, "path": [hop(50.0, "pin", "pin")]}
    return json.dumps(
        {
            "fmax": {
                clock: {"achieved": achieved, "constraint": 100.0},
                "slow": {"achieved": 80.0, "constraint": 12.0},
            },
            "critical_paths": [pin, {"from": edge, "to": edge, "path": list(hops)}],
            "utilization": {
                "TRELLIS_COMB": {"available": 83640, "used": 9},
                "TRELLIS_FF": {"available": 83640, "used": 7},
                "DP16KD": {"available": 208, "used": 2},
            },
        }
    ).encode()


CELLS = {"LUT4": 3, "CCU2C": 2, "TRELLIS_DPR16X4": 1, "TRELLIS_FF": 7, "PFUMX": 5, "DP16KD": 2}


def netlist(cells: dict[str, int]) -> bytes:
    return json.dumps({"design": {"num_cells_by_type": cells}}).encode()


def test_a_netlist_is_counted_in_what_the_device_has():
    assert synthesized(netlist(CELLS), "ecp5") == Cost(0, 2, 3 + 4 + 6, 7)
    cells = {"SB_LUT4": 5, "SB_DFF": 1, "SB_DFFESR": 2, "SB_MAC16": 3, "SB_RAM40_4KNW": 4}
    assert synthesized(netlist(cells), "ice40") == Cost(3, 4, 5, 3)
    cells = {"LUT6": 5, "RAM32M": 1, "FDRE": 2, "DSP48E1": 3, "RAMB18E1": 1, "RAMB36E1": 2}
    assert synthesized(netlist(cells), "xc7") == Cost(3, 5, 9, 2)
    assert synthesized(b'{"design": {}}', "xcup") == Cost()


def test_a_layout_is_read_out_of_the_report():
    near = report(hop(1.5, "system.core.layer1.x", "system.core.layer1.y"))
    found = placed(near, "ecp5", Cost(), DESIGN)
    assert found.cost == Cost(0, 2, 9, 7)
    assert found.hertz == 90e6
    assert found.path.seconds == pytest.approx(1.5e-9)
    assert (found.path.start, found.path.end) == ("system.core.layer1.x", "system.core.layer1.y")
    assert json.loads(json.dumps(found.to_json()))["path"]["layer"] == "first"


def test_flip_flops_that_place_and_route_does_not_count_are_the_netlists():
    text = report(hop(1.0, "a", "b"))
    assert placed(text, "ice40", Cost(flip_flops=11), DESIGN).cost == Cost(flip_flops=11)


@pytest.mark.parametrize(
    ("hops", "layer"),
    [
        ([hop(1, "system.core.layer1.a", "system.core.layer1.buffer.b")], "first"),
        ([hop(1, "system.core.layer12.a", "system.core.layer12.b")], "twelfth"),
        ([hop(1, "x", "system.core.layer1_out_data_LUT4_A")], "first"),
        ([hop(1, "x", "system.core.layer1_out_tee.held")], "fork"),
        ([hop(1, "x", "system.core.layer3_in0_data_TRELLIS_FF_Q")], "fork"),
        ([hop(1, "x", "system.core.layer10.a")], WRAPPER),
        ([hop(1, "x", "system.host.state_TRELLIS_FF_Q")], WRAPPER),
        (
            [
                hop(0.5, "a", "system.host.a"),
                hop(1.0, "a", "system.core.layer12.a"),
                hop(0.6, "a", "system.host.b"),
            ],
            WRAPPER,
        ),
    ],
)
def test_a_path_belongs_to_the_layer_where_it_spends_most(hops: list[dict[str, Any]], layer: str):
    assert placed(report(*hops), "ecp5", Cost(), DESIGN).path.layer == layer


def test_a_report_without_a_clock_is_refused():
    empty = json.dumps({"fmax": {}, "critical_paths": [], "utilization": {}}).encode()
    with pytest.raises(TapeoutError, match="found no clock"):
        placed(empty, "ecp5", Cost(), DESIGN)
