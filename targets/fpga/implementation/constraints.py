"""Which port is which pin, in the language of each family's tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ....profiles.fpga_schema import Family, Pin
from .board import CLOCK, INSIDE, Port


def lpf(ports: tuple[Port, ...], hertz: float, aim: float) -> str:
    """Return constraints for nextpnr-ecp5.

    Args:
        hertz: of the board's clock.
        aim: what the design's clock is to reach, in hertz; what it must follows from the PLL.
    """
    lines = [
        f'FREQUENCY PORT "{CLOCK}" {hertz / 1e6:.10g} MHZ;',
        f'FREQUENCY NET "{INSIDE}" {aim / 1e6:.10g} MHZ;',
    ]
    for port in ports:
        lines.append(f'LOCATE COMP "{port.name}" SITE "{port.pin.site}";')
        standard = "" if port.pin.standard is None else f" IO_TYPE={port.pin.standard}"
        lines.append(f'IOBUF PORT "{port.name}"{standard} PULLMODE={port.pin.pull.upper()};')
    return _text(lines)


def pcf(ports: tuple[Port, ...], hertz: float, aim: float) -> str:
    """Return constraints for nextpnr-ice40; as `lpf`."""
    lines = [
        f"set_frequency {CLOCK} {hertz / 1e6:.10g}",
        f"set_frequency {INSIDE} {aim / 1e6:.10g}",
    ]
    for port in ports:
        pull = "-pullup yes " if port.pin.pull == "up" else ""
        lines.append(f"set_io {pull}{port.name} {port.pin.site}")
    return _text(lines)


def xdc(ports: tuple[Port, ...], hertz: float, aim: float) -> str:
    """Return constraints for Vivado, which needs no aim; as `lpf`."""
    period = f"{1e9 / hertz:.3f}"
    lines = [f"create_clock -name {CLOCK} -period {period} [get_ports {CLOCK}]"]
    for port in ports:
        lines += _placed(port.name, port.pin.site, port.pin)
        if port.negative is not None:
            lines += _placed(f"{port.name}_n", port.negative, port.pin)
        if port.name != CLOCK:  # the link is slow, and synchronized where it comes in
            side = "from" if port.is_input else "to"
            lines.append(f"set_false_path -{side} [get_ports {port.name}]")
    return _text(lines)


def _placed(name: str, site: str, pin: Pin) -> Iterator[str]:
    pull = "" if pin.pull == "none" else f" PULLTYPE PULL{pin.pull.upper()}"
    standard = "" if pin.standard is None else f" IOSTANDARD {pin.standard}"
    yield f"set_property -dict {{PACKAGE_PIN {site}{standard}{pull}}} [get_ports {name}]"


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


#: What writes the constraints of a family.
WRITERS: Final[dict[Family, Callable[[tuple[Port, ...], float, float], str]]] = {
    "ecp5": lpf,
    "ice40": pcf,
    "xc7": xdc,
    "xcup": xdc,
}
