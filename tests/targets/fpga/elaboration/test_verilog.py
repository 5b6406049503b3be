"""The text of designs."""

import re

import fpga_networks
import pytest

from tapeout.targets.fpga.elaboration import verilog
from tapeout.targets.fpga.elaboration.elaborate import elaborate
from tapeout.targets.fpga.hardware.design import Design, Folding, Stage, Stream
from tapeout.targets.fpga.hardware.memories import MEMORIES


def small(layer: str = "first", **parameters: int | str) -> Design:
    """A design of one stage, which has two inputs."""
    streams = {name: Stream(name, 2, 3) for name in ("s", "a", "b", "m")}
    return Design(
        (
            Stage("copy", "tee", {"WIDTH": 16}, ("s",), ("a", "b"), layer),
            Stage("sum", "add", {"PE": 2, **parameters}, ("a", "b"), ("m",), layer),
        ),
        streams,
        "s",
        "m",
    )


def test_the_core_is_one_instance_after_another() -> None:
    assert (
        verilog.core(small(FILE="a_b"))
        == """\
// core: one frame is 3 beats in, 3 out.
// Beats may move from the second cycle after a reset on, which lasts two or more.
module core (
    input wire clk,
    input wire rst,
    input wire s_valid,
    output wire s_ready,
    input wire [15:0] s_data,
    output wire m_valid,
    input wire m_ready,
    output wire [15:0] m_data
);

    wire a_valid, a_ready;
    wire [15:0] a_data;
    wire b_valid, b_ready;
    wire [15:0] b_data;

    wire [2-1:0] resets;
    copies #(.WIDTH(1), .COPIES(2)) spread (.clk(clk), .in(rst), .out(resets));

    // first
    tee #(
        .WIDTH(16)
    ) copy (
        .clk(clk),
        .rst(resets[0]),
        .s_valid(s_valid),
        .s_ready(s_ready),
        .s_data(s_data),
        .m0_valid(a_valid),
        .m1_valid(b_valid),
        .m0_ready(a_ready),
        .m1_ready(b_ready),
        .m0_data(a_data),
        .m1_data(b_data)
    );

    add #(
        .PE(2),
        .FILE("a_b")
    ) sum (
        .clk(clk),
        .rst(resets[1]),
        .s0_valid(a_valid),
        .s1_valid(b_valid),
        .s0_ready(a_ready),
        .s1_ready(b_ready),
        .s0_data(a_data),
        .s1_data(b_data),
        .m_valid(m_valid),
        .m_ready(m_ready),
        .m_data(m_data)
    );

endmodule
"""
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-(2**31), "-2147483648"),
        (2**31 - 1, "2147483647"),
        (2**31, "64'sd2147483648"),
        (-(2**63), "-128'sd9223372036854775808"),
        (2**63 - 1, "64'sd9223372036854775807"),
    ],
)
def test_numbers_beyond_32_bits_say_how_long_they_are(value: int, text: str) -> None:
    assert f".BIAS({text})" in verilog.core(small(BIAS=value))


def test_a_layers_name_cannot_leave_its_comment() -> None:
    text = verilog.core(small(layer='x\nendmodule\r\u2028"/*\\é'))
    assert r'    // x\nendmodule\r\u2028"/*\\\xe9' in text.splitlines()
    assert text.isascii()
    assert text.count("endmodule\n") == 1


def test_sources_are_whole_and_the_same_each_time() -> None:
    designs = []
    for network in (fpga_networks.everything(), fpga_networks.everything()):
        foldings = {layer.name: Folding() for layer in network.layers}
        designs.append(elaborate(network, foldings, MEMORIES["ecp5"]))
    first, again = map(verilog.sources, designs)
    assert first == again
    named = {f"{stage.module}.v" for stage in designs[0].stages}
    parts = {"window.v", "counter.v", "rom.v", "ram.v", "mul.v", "rescale.v", "requantize.v"}
    assert named | parts | {"core.v"} <= set(first)
    assert {"uart.v", "system.v", "chain.v"}.isdisjoint(first)
    # Every memory that the core names has its first file.
    for beginning in re.findall(r'\((?:"(layer\d+_\w+)")\)', first["core.v"]):
        assert f"{beginning}_000.hex" in first
