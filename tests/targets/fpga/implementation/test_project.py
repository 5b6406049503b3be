"""What a bundle holds for tools of the user's own."""

from __future__ import annotations

import pytest

from tapeout.profiles import catalog
from tapeout.profiles.fpga_schema import Fpga
from tapeout.targets.fpga.implementation.project import FOLDER, SOURCES, project
from tapeout.targets.fpga.run import engine

PARAMETERS = {"ID": "0123456789abcdef", "IN_LANES": 4}


def fpga(name: str) -> Fpga:
    found = catalog.load(name).fpga
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "pins"), [("ulx3s-85f", "top.lpf"), ("icebreaker", "top.pcf"), ("pynq-z2", "top.xdc")]
)
def test_a_project_is_the_top_its_pll_and_its_pins(name: str, pins: str):
    files = project(fpga(name), PARAMETERS)
    assert {"top.v", "pll.v", pins} == set(files) - {"build.tcl"}
    assert "module top (" in files["top.v"]
    assert all(text.isascii() for text in files.values())


SYNTHESIS = """\
create_project -in_memory -part {part}
read_verilog -sv [concat [glob $sources/*.v] [glob $here/*.v]]
foreach file [glob -nocomplain $sources/*.hex] {{ read_mem $file }}
read_xdc $here/top.xdc

synth_design -top top {defines}
"""


@pytest.mark.parametrize(
    ("name", "part", "defines"),
    [
        ("arty-a7-35t", "xc7a35ticsg324-1L", "-verilog_define TAPEOUT_AMD=1"),
        ("arty-a7-100t", "xc7a100tcsg324-1", "-verilog_define TAPEOUT_AMD=1"),
        ("pynq-z2", "xc7z020clg400-1", "-verilog_define TAPEOUT_AMD=1"),
        (
            "zcu104",
            "xczu7ev-ffvc1156-2-e",
            "-verilog_define TAPEOUT_AMD=1 -verilog_define TAPEOUT_XCUP=1",
        ),
    ],
)
def test_vivado_is_told_part_sources_and_primitives(name: str, part: str, defines: str):
    script = project(fpga(name), PARAMETERS)["build.tcl"]
    assert SYNTHESIS.format(part=part, defines=defines) in script
    assert "set sources [file join $here ../rtl]" in script
    assert script.count("{") == script.count("}")


def test_only_vivado_is_given_a_script():
    assert "build.tcl" not in project(fpga("ulx3s-85f"), PARAMETERS)


def test_the_way_to_the_sources_is_right():
    assert (engine.SOURCES.parent / FOLDER / SOURCES).parts[-1] == engine.SOURCES.name
