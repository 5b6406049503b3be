"""What a bitstream is made of beside the design: the board's files, and a script for Vivado."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ....profiles.fpga_schema import Family, Fpga
from ..elaboration import verilog
from . import board, constraints

#: The folder of a bundle that these files are in, and the way from it to the design's sources.
FOLDER: Final = "board"
SOURCES: Final = "../rtl"

#: What open tools are asked for, of the clock that is needed: the placer leaves alone what it deems
#: fast enough, and routes turn out longer than it thought.
_AIM: Final = 1.2

#: The file of constraints, by family.
_PINS: Final[dict[Family, str]] = {
    "ecp5": "top.lpf",
    "ice40": "top.pcf",
    "xc7": "top.xdc",
    "xcup": "top.xdc",
}

#: The macros by which modules choose the primitives of a family.
DEFINES: Final[dict[Family, tuple[str, ...]]] = {
    "ecp5": ("TAPEOUT_ECP5",),
    "ice40": ("TAPEOUT_ICE40",),
    "xc7": ("TAPEOUT_AMD",),
    "xcup": ("TAPEOUT_AMD", "TAPEOUT_XCUP"),
}


def project(fpga: Fpga, parameters: Mapping[str, int | str]) -> dict[str, str]:
    """Return the files of a folder of a bundle: name -> text.

    They are the top with its PLL, which pin each of its ports is, and for AMD's families a script
    for Vivado that makes the bitstream of them and the design's sources in `SOURCES`.

    Args:
        parameters: of rtl/system.v, less UART, SPI and DIVIDER.

    Raises:
        ProfileError: the board lacks what a top needs, or its figures do not fit together.
    """
    wired = board.board_of(fpga)
    files = {
        f"{board.TOP}.v": board.top(fpga, parameters),
        **verilog.modules(["pll"]),
        _PINS[fpga.family]: constraints.WRITERS[fpga.family](
            board.ports(wired), wired.oscillator.frequency.value, fpga.clock.value * _AIM
        ),
    }
    if fpga.family in _PARTS:
        files["build.tcl"] = _vivado(fpga)
    return files


#: How Vivado calls a part of each family.
_PARTS: Final[dict[Family, str]] = {
    "xc7": "{0.part}{0.package}-{0.speed}",
    "xcup": "{0.part}-{0.package}-{0.speed}",
}


def _vivado(fpga: Fpga) -> str:
    defines = " ".join(f"-verilog_define {name}=1" for name in DEFINES[fpga.family])
    part = _PARTS[fpga.family].format(fpga)
    return _SCRIPT.format(part=part, sources=SOURCES, top=board.TOP, defines=defines)


_SCRIPT: Final = """\
# Makes {top}.bit for {part}:  vivado -mode batch -source build.tcl
set here [file dirname [file normalize [info script]]]
set sources [file join $here {sources}]
cd $sources  ;# what $readmemh reads is there

create_project -in_memory -part {part}
read_verilog -sv [concat [glob $sources/*.v] [glob $here/*.v]]
foreach file [glob -nocomplain $sources/*.hex] {{ read_mem $file }}
read_xdc $here/{top}.xdc

synth_design -top {top} {defines}
opt_design
place_design
phys_opt_design
route_design
report_utilization -file $here/utilization.rpt
report_timing_summary -file $here/timing.rpt

set slack [get_property SLACK [get_timing_paths -max_paths 1 -setup]]
if {{$slack < 0}} {{ error "the clock is missed by [expr {{-$slack}}] ns: see timing.rpt" }}
write_bitstream -force $here/{top}.bit
"""
