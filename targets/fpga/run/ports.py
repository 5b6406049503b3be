"""Ports with an FPGA behind them: a serial port, or a SPI master of Linux."""

from __future__ import annotations

import importlib
import time

from .link import END, LinkError

#: Hz: the design samples sck with its own clock, at an eighth of which it keeps up.
SPI_CLOCK = 1_000_000

#: Bytes of one transfer; what spidev moves at once by default is 4096.
_TRANSFER = 2048


def only_port(variable: str) -> str:
    """Return the name of the only serial port there is.

    Raises:
        ImportError: pyserial is not installed.
        LinkError: there is none, or more than one.
    """
    ports = importlib.import_module("serial.tools.list_ports")
    found = [f"{item.device}: {item.description}" for item in ports.comports()]
    if len(found) != 1:
        what = "there are several serial ports" if found else "there is no serial port"
        raise LinkError(f"{what}: set {variable} to the FPGA's, or to 'simulator'", found)
    return found[0].partition(":")[0]


class SerialPort:
    """A UART, by pyserial; see `link.Port`."""

    def __init__(self, name: str, baud: int) -> None:
        """Open it; raises ImportError without pyserial, LinkError where it cannot be opened."""
        serial = importlib.import_module("serial")
        self._failure = serial.SerialException
        try:
            self._port = serial.Serial(name, baud)
        except (self._failure, ValueError) as error:
            raise LinkError(f"the serial port {name!r} does not open: {error}") from error

    def write(self, data: bytes) -> None:
        """Send bytes, after what came unasked was thrown away."""
        try:
            self._port.reset_input_buffer()
            self._port.write(data)
        except self._failure as error:
            raise LinkError(f"the serial port fails: {error}") from error

    def read(self, seconds: float) -> bytes:
        """Return bytes that came; none if none came in so many seconds."""
        try:
            self._port.timeout = seconds
            first: bytes = self._port.read(1)
            rest: bytes = self._port.read(self._port.in_waiting) if first else b""
        except self._failure as error:
            raise LinkError(f"the serial port fails: {error}") from error
        return first + rest


class SpiPort:
    """A SPI master in mode 0, by the package spidev; see `link.Port`.

    Both sides speak at once: what comes while something is sent belongs to nothing.
    """

    def __init__(self, name: str) -> None:
        """Open ``BUS.DEVICE``; raises ImportError without spidev, LinkError where it fails."""
        spidev = importlib.import_module("spidev")
        self._is_open = False  # whether a packet came without its end
        bus, _, device = name.partition(".")
        try:
            self._port = spidev.SpiDev()
            self._port.open(int(bus), int(device))
            self._port.max_speed_hz = SPI_CLOCK
            self._port.mode = 0
        except (OSError, ValueError) as error:
            raise LinkError(f"SPI {name!r} does not open: {error}") from error

    def write(self, data: bytes) -> None:
        """Send bytes."""
        for start in range(0, len(data), _TRANSFER):
            self._port.xfer2(data[start : start + _TRANSFER])

    def read(self, seconds: float) -> bytes:
        """Ask until something comes that is more than `END` again and again; see `link.Port`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            data = bytes(self._port.xfer2(END * 64))
            if data.strip(END) or self._is_open:
                self._is_open = not data.endswith(END)
                return data
        return b""
