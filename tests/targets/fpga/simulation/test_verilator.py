"""The driver itself: what it takes from files, what it sees, and that nothing wrong passes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeout.errors import MissingToolError, TapeoutError
from tapeout.targets.fpga.hardware.design import Rom
from tapeout.targets.fpga.simulation import verilator
from tapeout.targets.fpga.simulation.verilator import Stalls

import rtl
from rtl import Beats, Case

#: A register that takes every other cycle, adds what a memory holds, and keeps to all rules.
SLOW = """
module slow #(parameter W = 8, parameter FILE = "", parameter READS = 0) (
    input clk, input rst,
    input s_valid, output s_ready, input [W-1:0] s_data,
    output reg m_valid, input m_ready, output reg [W-1:0] m_data
);
    reg [7:0] words[0:3];
    reg [1:0] count;
    generate if (READS) begin : load initial $readmemh({FILE, "_000.hex"}, words); end endgenerate
    assign s_ready = !m_valid;
    always @(posedge clk)
        if (rst) begin
            m_valid <= 0;
            count <= 0;
        end else if (!m_valid) begin
            m_valid <= s_valid;
            m_data <= s_data + (READS ? words[count] : 0);
            if (s_valid) count <= count + 1;
        end else if (m_ready) m_valid <= 0;
endmodule
"""

#: KIND 0: no register at all; 1: goes on when not taken; 2: data change while it waits; 3: forgets
#: to reset; 4: gives every beat twice; 5: gives nothing; 6: is right.
WRONG = """
module wrong #(parameter KIND = 0) (
    input clk, input rst,
    input s_valid, output s_ready, input [7:0] s_data,
    output m_valid, input m_ready, output [7:0] m_data
);
    reg full, twice, seen = 0;
    reg [7:0] held, count;
    assign s_ready = KIND == 0 ? m_ready : !full;
    assign m_valid = KIND == 0 ? s_valid : full && KIND != 5;
    assign m_data = KIND == 0 ? s_data : KIND == 2 ? count : KIND == 3 && seen ? 0 : held;
    always @(posedge clk) begin
        count <= count + 1;
        if (rst) begin
            full <= 0;
            twice <= 0;
        end else if (!full) begin
            full <= s_valid;
            held <= s_data;
            twice <= KIND == 4;
            count <= s_data;
        end else if (m_ready || KIND == 1) begin
            seen <= 1;
            twice <= 0;
            full <= twice;
        end
    end
endmodule
"""


@given(st.integers(1, 64), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_numbers_are_bytes_and_back(bits: int, lanes: int, seed: int) -> None:
    low = -(1 << (bits - 1))
    values = np.random.default_rng(seed).integers(low, -1 - low, (5, lanes), endpoint=True)
    beats = verilator.pack(values, bits)
    assert beats.shape == (5, -(-lanes * bits // 8))
    assert verilator.unpack(beats, lanes, bits).tolist() == values.tolist()
    word = sum(int(value) % 2**bits << bits * lane for lane, value in enumerate(values[0]))
    assert int.from_bytes(beats[0].tobytes(), "little") == word


def test_any_width_and_memory_and_the_cycles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = [
        Beats(rng.integers(-1, 1, (20, width)), 1) for width in (1, 7, 8, 9, 17, 33, 64, 65, 200)
    ]
    cases = [Case("slow", {"W": data.lanes}, [data], [data]) for data in wide]
    words = np.array([1, 2, 4, 128], np.uint8)
    rom = Rom(np.unpackbits(words[:, None], axis=1, bitorder="little"))
    x = rng.integers(-128, 128, (20, 1)).astype(np.int8)
    parameters: dict[str, int | str] = {"FILE": "", "READS": 1}
    y = x + np.tile(words.view(np.int8), 5)[:, None]
    cases.append(Case("slow", parameters, [x], [y], {"FILE": rom}))
    for cycles in rtl.check(cases, tmp_path, sources={"slow.v": SLOW}):
        assert cycles.inputs[0].tolist() == list(range(0, 40, 2))
        assert cycles.outputs[0].tolist() == list(range(1, 41, 2))
        assert cycles.first_to_last() == 39


def test_sees_whatever_is_wrong(tmp_path: Path) -> None:
    x = np.arange(200, dtype=np.int64)[:, None].astype(np.int8)
    simulator = rtl.build(
        [Case("wrong", {"KIND": kind}, [x], [x]) for kind in range(7)], tmp_path, {"w.v": WRONG}
    )
    inputs = {port.name: x.view(np.uint8) for port in simulator.ports if port.is_input}
    outputs = {port.name: 200 for port in simulator.ports if not port.is_input}
    found = simulator.run(inputs, outputs, stalls=Stalls(1), patience=500)
    told = [finding.split(", cycle")[0] for finding in found.findings]
    assert sorted(told) == [
        "c0_m0: data follow the other side",
        "c0_m0: valid follows the other side",
        "c0_s0: ready follows the other side",
        "c1_m0: valid went away before it was taken",
        "c2_m0: data changed before they were taken",
        "c4_m0: one beat too many",
    ]
    assert found.stuck == (1, 5)
    same = [np.array_equal(found.traces[f"c{k}_m0"].beats, x.view(np.uint8)) for k in range(7)]
    assert same == [True, False, False, False, False, False, True]
    again = simulator.run(inputs, outputs, stalls=Stalls(1), patience=500)
    assert again.traces["c6_m0"].cycles.tolist() == found.traces["c6_m0"].cycles.tolist()
    with pytest.raises(AssertionError, match=r"stuck: case 5, wrong \{'KIND': 5\}"):
        rtl.check(
            [Case("wrong", {"KIND": k}, [x], [x]) for k in (6, 6, 6, 6, 6, 5)],
            tmp_path,
            sources={"w.v": WRONG},
        )


def test_says_what_verilator_says(tmp_path: Path) -> None:
    with pytest.raises(TapeoutError, match=r"verilator failed with 1\n  %Error: top.v:1:"):
        verilator.build("top", [], {"top.v": "module top(input clk; endmodule\n"}, tmp_path)


def test_names_the_packages_of_tools_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError) as caught:
        verilator.build("top", [], {}, tmp_path)
    assert caught.value.exit_code == 5
    assert [str(problem) for problem in caught.value.problems] == [
        "verilator: not found (apt-get install verilator)",
        "g++: not found (apt-get install g++)",
    ]
