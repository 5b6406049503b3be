"""The top of a design, and its pins in the language of each family's tools."""

from __future__ import annotations

import re

import pytest

from tapeout.errors import ProfileError
from tapeout.profiles import catalog
from tapeout.profiles.fpga_schema import Board, Fpga
from tapeout.targets.fpga.implementation import board, constraints


def fpga(name: str) -> tuple[Fpga, Board]:
    found = catalog.load(name).fpga
    assert found is not None
    assert found.board is not None
    return found, found.board


PARAMETERS = {"ID": "a design's digest", "IN_LANES": 4}

INSTANCES = """\
    wire rxd, txd, sck, cs_n, mosi, miso, busy;
    wire running = !rst && !busy;
    assign rxd = uart_rxd;
    assign sck = 1'b0;
    assign cs_n = 1'b1;
    assign mosi = 1'b0;
    assign uart_txd = txd;
    assign led = running;

    system #(
        .UART(1),
        .SPI(0),
        .DIVIDER(100),
        .ID("a design's digest"),
        .IN_LANES(4)
    ) system ("""


def test_a_top_without_spi_holds_its_pins_at_rest():
    text = board.top(fpga("zcu104")[0], PARAMETERS)
    assert INSTANCES in text
    assert re.search(r"input wire clk_in,\n    input wire clk_in_n,\n", text)
    assert ".in_n(clk_in_n)" in text
    assert "starting <= {starting[2:0], reset};" in text


def test_a_top_with_all_pins():
    found, wired = fpga("ulx3s-85f")
    text = board.top(found, PARAMETERS)
    names = [port.name for port in board.ports(wired)]
    assert names == [
        "clk_in", "uart_rxd", "uart_txd",
        "spi_sck", "spi_cs_n", "spi_mosi", "spi_miso",
        "reset", "led", "held_wifi_gpio0",
    ]  # fmt: skip
    for line in (
        ".DIVIDE(1),\n        .MULTIPLY(4),\n        .OUT(6),",
        ".in_n(1'b0)",
        "starting <= {starting[2:0], !reset};",
        "assign spi_miso = miso;",
        "assign held_wifi_gpio0 = 1'b1;",
        ".UART(1),\n        .SPI(1),\n        .DIVIDER(100),",
    ):
        assert line in text
    driven = re.findall(r"assign (\w+) =", text)
    assert len(driven) == len(set(driven))


def test_pins_that_are_active_low_are_driven_low():
    assert "assign led = !running;" in board.top(fpga("colorlight-i9")[0], PARAMETERS)


def without(name: str, **changes: object) -> Fpga:
    found, wired = fpga(name)
    return found.model_copy(update={"board": wired.model_copy(update=changes)})


def test_what_a_top_cannot_be_made_of_is_refused():
    with pytest.raises(ProfileError, match=r"fpga\.board: has neither uart nor spi"):
        board.top(without("pynq-z2", uart=None), PARAMETERS)
    bare = fpga("pynq-z2")[0].model_copy(update={"board": None})
    with pytest.raises(ProfileError, match=r"fpga\.board: is missing"):
        board.top(bare, PARAMETERS)
    _, wired = fpga("pynq-z2")
    assert wired.uart is not None
    baud = wired.uart.baud.model_copy(update={"value": 40_000_000})
    fast = without("pynq-z2", uart=wired.uart.model_copy(update={"baud": baud}))
    told = r"40000000 is not a part of the clock, 100 MHz \(write 12500000\)"
    with pytest.raises(ProfileError, match=told):
        board.top(fast, PARAMETERS)


def written(name: str) -> list[str]:
    found, wired = fpga(name)
    writer = constraints.WRITERS[found.family]
    return writer(board.ports(wired), wired.oscillator.frequency.value, 60e6).splitlines()


def test_lpf():
    lines = written("orangecrab-25f")
    assert lines[:6] == [
        'FREQUENCY PORT "clk_in" 48 MHZ;',
        'FREQUENCY NET "clk" 60 MHZ;',
        'LOCATE COMP "clk_in" SITE "A9";',
        'IOBUF PORT "clk_in" IO_TYPE=LVCMOS33 PULLMODE=NONE;',
        'LOCATE COMP "uart_rxd" SITE "N17";',
        'IOBUF PORT "uart_rxd" IO_TYPE=LVCMOS33 PULLMODE=UP;',
    ]


def test_pcf():
    assert written("icebreaker")[:5] == [
        "set_frequency clk_in 12",
        "set_frequency clk 60",
        "set_io clk_in 35",
        "set_io -pullup yes uart_rxd 6",
        "set_io uart_txd 9",
    ]


def test_xdc():
    lines = written("zcu104")
    assert lines[:5] == [
        "create_clock -name clk_in -period 8.000 [get_ports clk_in]",
        "set_property -dict {PACKAGE_PIN F23 IOSTANDARD LVDS} [get_ports clk_in]",
        "set_property -dict {PACKAGE_PIN E23 IOSTANDARD LVDS} [get_ports clk_in_n]",
        "set_property -dict {PACKAGE_PIN A20 IOSTANDARD LVCMOS18} [get_ports uart_rxd]",
        "set_false_path -from [get_ports uart_rxd]",
    ]
    pulled = "set_property -dict {PACKAGE_PIN C1 IOSTANDARD LVCMOS33 PULLTYPE PULLUP}"
    assert f"{pulled} [get_ports spi_cs_n]" in written("arty-a7-35t")


@pytest.mark.parametrize("name", ["ulx3s-12f", "icebreaker", "arty-a7-100t", "zcu104"])
def test_every_port_has_its_pin(name: str):
    found, _ = fpga(name)
    declared = re.findall(r"(?:input|output) wire (\w+)[,\n]", board.top(found, PARAMETERS))
    text = "\n".join(written(name))
    for port in declared:
        assert re.search(rf"(get_ports |COMP \"|set_io .*){port}\b", text), port
