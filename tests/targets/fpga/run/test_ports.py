"""Serial ports and SPI masters, with stand-ins for what drives them."""

from __future__ import annotations

import struct
import sys
import types
from typing import cast

import pytest

from tapeout.targets.fpga.run import ports
from tapeout.targets.fpga.run.link import END, Design, Link, LinkError, framed, unframed

NAME = "0123456789abcdef"
DESIGN = Design(name=NAME, inputs=3000, outputs=2, clock=1e8, rate=1e5, cycles=100)


class SpiDevice:
    """A design behind `spidev`, whose answer to a request takes a few bytes to come."""

    def __init__(self) -> None:
        self.opened: tuple[int, int] | None = None
        self.longest = 0
        self._heard = b""
        self._says = b""

    def open(self, bus: int, device: int) -> None:
        if bus > 1:
            raise FileNotFoundError("no such master")
        self.opened = bus, device

    def xfer2(self, data: bytes) -> list[int]:
        self.longest = max(self.longest, len(data))
        self._heard += bytes(data)
        said, self._says = self._says[: len(data)], self._says[len(data) :]
        for packet in self._heard.split(END)[:-1]:
            if payload := unframed(packet) if packet else None:
                head = struct.pack("<BBIB16s", 0, payload[1], 7, 0, NAME.encode())
                outputs = payload[4:6] if payload[0] == 2 else b""
                self._says += END * 100 + framed(head + outputs)
        self._heard = self._heard.split(END)[-1]
        return list(said.ljust(len(data), END))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> SpiDevice:
    found = SpiDevice()
    module = types.SimpleNamespace(SpiDev=lambda: found)
    monkeypatch.setitem(sys.modules, "spidev", cast(types.ModuleType, module))
    return found


def test_a_design_answers_over_spi(device: SpiDevice) -> None:
    link = Link(ports.SpiPort("1.2"), DESIGN)
    assert device.opened == (1, 2)
    assert link.run(b"\xc0\xdb" * 1500).data == b"\xc0\xdb"
    assert device.longest <= 4096


@pytest.mark.parametrize("name", ["7.0", "one.0", "0"])
def test_a_spi_master_that_is_none_is_refused(device: SpiDevice, name: str) -> None:
    with pytest.raises(LinkError, match="does not open"):
        ports.SpiPort(name)


def test_a_serial_port_that_is_none_is_refused() -> None:
    with pytest.raises(LinkError, match="'/dev/nothing' does not open"):
        ports.SerialPort("/dev/nothing", 1_000_000)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_only_serial_port_is_found(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    from serial.tools import list_ports

    found = [
        types.SimpleNamespace(device=f"/dev/ttyUSB{index}", description="FT231X")
        for index in range(count)
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    if count == 1:
        assert ports.only_port("PORT") == "/dev/ttyUSB0"
        return
    with pytest.raises(LinkError, match="set PORT to the FPGA's, or to 'simulator'") as raised:
        ports.only_port("PORT")
    assert raised.value.problems == [f"/dev/ttyUSB{index}: FT231X" for index in range(count)]
