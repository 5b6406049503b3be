"""The engine of a bundle: an FPGA behind a serial port or SPI, or the design in a simulator.

``TAPEOUT_PORT`` says which: a serial port (``/dev/ttyUSB0``, ``COM3``), ``spi:BUS.DEVICE`` for
one of Linux's SPI masters, or ``simulator``. Without it, the only serial port that there is.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import host
from .link import Design, Link, LinkError, Port, Reply
from .ports import SerialPort, SpiPort, only_port
from .simulator import SimulatedPort

VARIABLE = "TAPEOUT_PORT"
SIMULATOR = "simulator"

#: In the bundle: what `Facts` reads, and the folder with the design's Verilog.
FACTS = "design.json"
SOURCES = Path("rtl")


class Tensor(Protocol):
    """An input or output, as the manifest declares it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What was known when the design was made.

    Attributes:
        design: what the link has to know.
        baud: of the serial port.
        shape: of one frame that comes out: height, width, channels.
        bits: of one element of it.
        parameters: of the module `system`.
        before, after: the host's steps, see `host`.
        memory: bytes of block RAM that it takes.
    """

    design: Design
    baud: int
    shape: Sequence[int]
    bits: int
    parameters: Mapping[str, int | str]
    before: Sequence[host.Step]
    after: Sequence[host.Step]
    memory: int

    @classmethod
    def read(cls, path: Path) -> Facts:
        """Read the file; raises RuntimeError if it is not what tapeout writes."""
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            told["design"] = Design(**told["design"])
            return cls(**told)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RuntimeError(f"{path} is not what tapeout writes: {error}") from error


class Engine:
    """A design that answers. Frames of a compiled batch go through it one after another."""

    def __init__(
        self, file: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor], threads: int | None
    ) -> None:
        """Find the port and ask for the design.

        Raises:
            ImportError: pyserial, spidev or the simulator's tools are not installed.
            RuntimeError: nobody answers, or another design; the simulator does not compile.
        """
        self._facts = Facts.read(file.parent / FACTS)
        self._input, self._output = inputs[0], outputs[0]
        self._link = Link(_port(file.parent, self._facts), self._facts.design)
        self._frame = bytes(self._facts.design.inputs)

    def run(self, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one compiled batch and return the outputs in the manifest's order."""
        frames = host.run(self._facts.before, piece[self._input.name])
        replies = [self._send(frame.tobytes()).data for frame in frames]
        dtype = np.dtype(f"<i{self._facts.bits // 8}")
        numbers = np.frombuffer(b"".join(replies), dtype).reshape(-1, *self._facts.shape)
        found = host.run(self._facts.after, numbers)
        return [np.ascontiguousarray(found.reshape(self._output.shape), self._output.dtype)]

    def infer(self) -> None:
        """Run the last frame once more."""
        self._send(self._frame)

    def time(self) -> dict[str, float]:
        """Run the last frame again; return seconds.

        "latency" is from the first element in to the last one out, by the FPGA's own count of
        cycles; "interval" is what each further frame takes, of several in a row; "link" is what
        the serial port or SPI takes besides, by this machine's clock.
        """
        clock = self._facts.design.clock
        start = time.perf_counter()
        one = self._send(self._frame).cycles
        seconds = time.perf_counter() - start
        two = self._send(self._frame, 2).cycles
        latency = one / clock
        return {
            "latency": latency,
            "interval": (two - one) / clock,
            "link": max(0.0, seconds - latency),
        }

    def memory(self) -> dict[str, int]:
        """Return what the design takes of the FPGA's block RAM, in bytes."""
        return {"block RAM": self._facts.memory}

    def _send(self, frame: bytes, count: int = 1) -> Reply:
        if len(frame) != self._facts.design.inputs:
            raise LinkError(f"a frame has {len(frame)} bytes, not {self._facts.design.inputs}")
        self._frame = frame
        return self._link.run(frame, count)


def _port(folder: Path, facts: Facts) -> Port:
    named = os.environ.get(VARIABLE)
    if named == SIMULATOR:
        return SimulatedPort(folder / SOURCES, facts.parameters, 4 * facts.design.cycles)
    if named and named.startswith("spi:"):
        return SpiPort(named.removeprefix("spi:"))
    return SerialPort(named or only_port(VARIABLE), facts.baud)
