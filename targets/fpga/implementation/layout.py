"""What place and route tells: what a design takes of the device, and how fast it is."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ....errors import TapeoutError
from ....profiles.fpga_schema import Family
from ..hardware.design import Design
from ..hardware.resources import Cost

#: Where a path, or a part of one, lies that belongs to no layer.
WRAPPER: Final = "the link to the host"

#: By family: figure -> primitive -> how many of the figure one is. On ECP5 a CCU2C is a slice of
#: two tables, and RAM of 16 x 4 takes two slices, and the half of one to write; on AMD's a table
#: of one input may be shared, and is counted in full.
_CELLS: Final[dict[Family, dict[str, dict[str, int]]]] = {
    "ecp5": {
        "multipliers": {"MULT18X18D": 1},
        "blocks": {"DP16KD": 1, "PDPW16KD": 1},
        "luts": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        "flip_flops": {"TRELLIS_FF": 1},
    },
    "ice40": {
        "multipliers": {"SB_MAC16": 1},
        "blocks": {f"SB_RAM40_4K{edges}": 1 for edges in ("", "NR", "NW", "NRNW")},
        "luts": {"SB_LUT4": 1},
        "flip_flops": {
            f"SB_DFF{edge}{kind}": 1
            for edge in ("", "N")
            for kind in ("", "E", "SR", "R", "SS", "S", "ESR", "ER", "ESS", "ES")
        },
    },
}
_AMD: Final = {
    "multipliers": {"DSP48E1": 1, "DSP48E2": 1},
    "blocks": {"RAMB18E1": 1, "RAMB18E2": 1, "RAMB36E1": 2, "RAMB36E2": 2},
    "luts": {
        **dict.fromkeys(("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "INV"), 1),
        **dict.fromkeys(("SRL16E", "SRLC32E", "RAM32X1S"), 1),
        **dict.fromkeys(("RAM32X1D", "RAM64X1D"), 2),
        **dict.fromkeys(("RAM32M", "RAM64M", "RAM128X1D"), 4),
        **dict.fromkeys(("RAM32M16", "RAM64M8"), 8),
    },
    "flip_flops": dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), 1),
}
_CELLS["xc7"] = _CELLS["xcup"] = _AMD

#: What nextpnr calls the same; None where it counts them with others.
_PLACES: Final[dict[Family, dict[str, str | None]]] = {
    "ecp5": {
        "multipliers": "MULT18X18D",
        "blocks": "DP16KD",
        "luts": "TRELLIS_COMB",
        "flip_flops": "TRELLIS_FF",
    },
    "ice40": {
        "multipliers": "ICESTORM_DSP",
        "blocks": "ICESTORM_RAM",
        "luts": "ICESTORM_LC",
        "flip_flops": None,  # each in the cell of a table
    },
}


def synthesized(content: bytes, family: Family) -> Cost:
    """Return what a netlist takes of the device; `content`: of `stat -json` of yosys."""
    cells: Mapping[str, int] = json.loads(content)["design"].get("num_cells_by_type", {})
    return Cost(
        **{
            figure: sum(cells.get(cell, 0) * times for cell, times in weights.items())
            for figure, weights in _CELLS[family].items()
        }
    )


@dataclasses.dataclass(frozen=True)
class Path:
    """The longest way from one register to another.

    Attributes:
        seconds: that it takes.
        start, end: the cells, by their names in the netlist.
        layer: where it spends most of the time; see `WRAPPER`.
    """

    seconds: float
    start: str
    end: str
    layer: str


@dataclasses.dataclass(frozen=True)
class Layout:
    """A placed and routed design.

    Attributes:
        cost: exact; the ends of carry chains take tables, too.
        netlist: what synthesis alone had made of it, which is what `inventory` estimates.
        hertz: the highest clock at which every path is in time.
        path: the longest one.
    """

    cost: Cost
    netlist: Cost
    hertz: float
    path: Path

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def placed(content: bytes, family: Family, netlist: Cost, design: Design) -> Layout:
    """Return what a report of nextpnr says.

    Args:
        content: of the file that `--report` names.
        netlist: what was synthesized.
        design: whose layers cells belong to.

    Raises:
        TapeoutError: the report has no clock: nothing in the design is clocked.
    """
    report = json.loads(content)
    if not report["fmax"]:
        raise TapeoutError("place and route found no clock")
    clock, found = min(report["fmax"].items(), key=lambda item: _margin(item[1]))
    edge = f"posedge {clock}"
    longest = next(item for item in report["critical_paths"] if item["from"] == item["to"] == edge)
    used = {name: int(item["used"]) for name, item in report["utilization"].items()}
    figures = {
        figure: getattr(netlist, figure) if place is None else used.get(place, 0)
        for figure, place in _PLACES[family].items()
    }
    hertz = float(found["achieved"]) * 1e6
    return Layout(Cost(**figures), netlist, hertz, _path(longest["path"], design))


def _margin(entry: Mapping[str, float]) -> float:
    return entry["achieved"] / entry["constraint"]


def _path(hops: list[dict[str, Any]], design: Design) -> Path:
    owners = _owners(design)
    spent: collections.Counter[str] = collections.Counter()
    for hop in hops:
        spent[_owner(hop["to"]["cell"], owners)] += hop["delay"]
    (layer, _), *_ = spent.most_common(1)
    seconds = sum(hop["delay"] for hop in hops) / 1e9
    return Path(seconds, hops[0]["from"]["cell"], hops[-1]["to"]["cell"], layer)


def _owners(design: Design) -> dict[str, str]:
    """Return the layer of everything that cells are named after: stages, and what they write."""
    found = {stage.name: stage.layer for stage in design.stages}
    for stage in design.stages:
        found |= dict.fromkeys(stage.outputs, stage.layer)
    return found


def _owner(cell: str, owners: Mapping[str, str]) -> str:
    """Return the layer of a cell: its name begins with the instances around it, or with a net's."""
    for part in cell.split("."):
        if part in owners:
            return owners[part]
        if near := _longest(name for name in owners if part.startswith(f"{name}_")):
            return owners[near]
    return WRAPPER


def _longest(names: Iterable[str]) -> str:
    return max(names, key=len, default="")
