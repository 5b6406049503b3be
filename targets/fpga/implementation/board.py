"""The top of a design on a board: its clock, its reset, and the pins of the link to the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Final

from ....errors import Problem, ProfileError
from ....profiles.fpga_schema import Board, Fpga, Pin, Spi, Switch, Uart
from . import clocks

#: The module that `top` writes.
TOP: Final = "top"

#: The port of the board's clock; constraints give its frequency.
CLOCK: Final = "clk_in"

#: The clock of the design, behind the PLL.
INSIDE: Final = "clk"

#: What a receiver of serial bits, which looks at their middles, can be off by at most: half a bit
#: in ten, less what synchronizing takes.
_DRIFT: Final = 0.03

#: Fewest clocks of a serial bit: the modules behind the port count on ten for a byte.
_LEAST_DIVIDER: Final = 8


@dataclasses.dataclass(frozen=True)
class Port:
    """A port of the top, and the pin that it is.

    Attributes:
        inside: what it is connected to in the top: an expression that drives an output, the wire
            that an input drives, or nothing.
        negative: the site of the other half, called `name`_n, of a differential pair.
    """

    name: str
    is_input: bool
    pin: Pin
    inside: str = ""
    negative: str | None = None


def board_of(fpga: Fpga) -> Board:
    """Return the board of an FPGA, with at least one link to a host.

    Raises:
        ProfileError: it has neither a serial port nor SPI, or is not described.
    """
    found = fpga.board
    if found is None:
        fix = "give its oscillator and the pins of a link"
        what = [Problem("fpga.board", "is missing", fix)]
        raise ProfileError("the board is not described", what)
    if found.uart is None and found.spi is None:
        what = [Problem("fpga.board", "has neither uart nor spi", "give the pins of one")]
        raise ProfileError("the board has no link to a host", what)
    return found


def divider(fpga: Fpga) -> int:
    """Return the clocks of one bit of the serial port; 1 where there is none.

    Raises:
        ProfileError: the clock is not near enough to a multiple of the baud rate.
    """
    if fpga.board is None or fpga.board.uart is None:
        return 1
    clock, baud = fpga.clock.value, fpga.board.uart.baud.value
    clocks_of_bit = round(clock / baud)
    off = abs(clocks_of_bit * baud / clock - 1)
    if clocks_of_bit < _LEAST_DIVIDER or off > _DRIFT:
        what = f"{baud} is not a part of the clock, {clock / 1e6:g} MHz"
        fix = f"write {round(clock / max(clocks_of_bit, _LEAST_DIVIDER))}"
        raise ProfileError(
            "the serial port does not fit the clock", [Problem("fpga.board.uart.baud", what, fix)]
        )
    return clocks_of_bit


def ports(board: Board) -> tuple[Port, ...]:
    """Return the ports of the top, the clock first."""
    return tuple(_ports(board))


def _ports(board: Board) -> Iterator[Port]:
    oscillator = board.oscillator
    yield Port(CLOCK, True, oscillator, negative=oscillator.negative)
    if board.uart is not None:
        yield from _uart(board.uart)
    if board.spi is not None:
        yield from _spi(board.spi)
    if board.reset is not None:
        yield Port("reset", True, board.reset)
    if board.led is not None:
        yield Port("led", False, board.led, _level(board.led, "running"))
    for name, pin in sorted(board.held.items()):
        yield Port(f"held_{name}", False, pin, _level(pin, "1'b1"))


def _uart(uart: Uart) -> Iterator[Port]:
    yield Port("uart_rxd", True, uart.receive, "rxd")
    yield Port("uart_txd", False, uart.transmit, "txd")


def _spi(spi: Spi) -> Iterator[Port]:
    yield Port("spi_sck", True, spi.clock, "sck")
    yield Port("spi_cs_n", True, spi.select, "cs_n")
    yield Port("spi_mosi", True, spi.receive, "mosi")
    yield Port("spi_miso", False, spi.transmit, "miso")


def _level(pin: Switch, is_active: str) -> str:
    return is_active if pin.active == "high" else f"!{is_active}"


def top(fpga: Fpga, parameters: Mapping[str, int | str]) -> str:
    """Return the module `TOP`, in Verilog.

    Args:
        fpga: with its board.
        parameters: of rtl/system.v, less UART, SPI and DIVIDER.

    Raises:
        ProfileError: the board lacks what a top needs, or its figures do not fit together.
    """
    board = board_of(fpga)
    pll = clocks.settings(fpga, board)
    found = ports(board)
    links = {"UART": int(board.uart is not None), "SPI": int(board.spi is not None)}
    system = {**links, "DIVIDER": divider(fpga), **parameters}
    shown = [f"        .{name}({_literal(value)})" for name, value in system.items()]
    return _TEXT.format(
        clock=f"{fpga.clock.value / 1e6:g} MHz",
        ports=",\n".join(_declared(found)),
        unused=_unused(found),
        divide=pll.divide,
        multiply=pll.multiply,
        out=pll.out,
        filter=pll.filter,
        period=round(1e12 / board.oscillator.frequency.value),
        differential=int(board.oscillator.negative is not None),
        negative=f"{CLOCK}_n" if board.oscillator.negative else "1'b0",
        pressed=_pressed(board.reset),
        parameters=",\n".join(shown),
        inputs="".join(f"    assign {p.inside} = {p.name};\n" for p in found if _is_wire(p)),
        outputs="".join(f"    assign {p.name} = {p.inside};\n" for p in found if not p.is_input),
    )


def _is_wire(port: Port) -> bool:
    return port.is_input and bool(port.inside)


def _declared(found: tuple[Port, ...]) -> Iterator[str]:
    for port in found:
        yield f"    {'input' if port.is_input else 'output'} wire {port.name}"
        if port.negative is not None:
            yield f"    input wire {port.name}_n"


def _unused(found: tuple[Port, ...]) -> str:
    """Return what holds the inputs of the link that the board does not have at rest."""
    at_rest = {"rxd": "1'b1", "sck": "1'b0", "cs_n": "1'b1", "mosi": "1'b0"}
    given = {port.inside for port in found}
    return "".join(
        f"    assign {name} = {level};\n" for name, level in at_rest.items() if name not in given
    )


def _pressed(reset: Switch | None) -> str:
    if reset is None:
        return "1'b0"
    return "reset" if reset.active == "high" else "!reset"


def _literal(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


_TEXT: Final = """\
// top: the system on its board, at {clock}.
module top (
{ports}
);

    wire clk, locked;
    pll #(
        .DIVIDE({divide}),
        .MULTIPLY({multiply}),
        .OUT({out}),
        .FILTER({filter}),
        .PERIOD({period}),
        .DIFFERENTIAL({differential})
    ) pll (
        .in(clk_in),
        .in_n({negative}),
        .out(clk),
        .locked(locked)
    );

    // Reset until the clock stands, and while the button is pressed: let go of in step with it.
    reg [3:0] starting = 4'b1111;
    always @(posedge clk or negedge locked)
        if (!locked) starting <= 4'b1111;
        else starting <= {{starting[2:0], {pressed}}};
    reg rst = 1'b1;
    always @(posedge clk) rst <= starting[3];

    wire rxd, txd, sck, cs_n, mosi, miso, busy;
    wire running = !rst && !busy;
{inputs}{unused}{outputs}
    system #(
{parameters}
    ) system (
        .clk(clk),
        .rst(rst),
        .rxd(rxd),
        .txd(txd),
        .sck(sck),
        .cs_n(cs_n),
        .mosi(mosi),
        .miso(miso),
        .busy(busy)
    );

endmodule
"""
