"""What a host and the FPGA say to each other: packets of bytes over a serial port or SPI.

`rtl/packet_in.v` and `rtl/host.v` are the other side: SLIP frames (RFC 1055) with a CRC-32.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Sequence
from typing import Protocol

END, ESCAPE = b"\xc0", b"\xdb"

#: What stands in a frame for a byte that has a meaning of its own; the escape comes first.
_ESCAPED = ((ESCAPE, b"\xdb\xdd"), (END, b"\xdb\xdc"))

IDENTIFY, RUN = 1, 2

#: What a status other than 0 means.
_STATUS = {1: "the checksum is wrong", 2: "the length is wrong", 3: "there is no such command"}

#: Command, tag, count.
_REQUEST = struct.Struct("<BBH")

#: Status, tag, cycles (40 bits, in two parts), the design's name.
_REPLY = struct.Struct("<BBIB16s")

_CHECKSUM = struct.Struct("<I")

#: How often a request is sent before the link is given up.
ATTEMPTS = 4

#: Seconds beyond what the bits and cycles of a request take: drivers and hubs wait for more.
SLACK = 1.0


class LinkError(RuntimeError):
    """The other side does not answer, or not as it should; see `run.Engine` for the attributes."""

    def __init__(self, text: str, problems: Sequence[str] = (), code: int = 1) -> None:
        super().__init__(text)
        self.problems = list(problems)
        self.code = code


class Port(Protocol):
    """Bytes to and from an FPGA."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, seconds: float) -> bytes:
        """Return bytes that came, at least one; none if none came in so many seconds."""


@dataclasses.dataclass(frozen=True)
class Design:
    """What the link has to know of a design.

    Attributes:
        name: sixteen characters that tell it from every other.
        inputs, outputs: bytes of one frame.
        clock: Hz.
        rate: bytes per second of the link.
        cycles: of one frame, from the first element in to the last one out.
    """

    name: str
    inputs: int
    outputs: int
    clock: float
    rate: float
    cycles: int


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        cycles: from the first element in to the last one out, of all frames together.
        data: of the last frame.
    """

    cycles: int
    data: bytes


def framed(payload: bytes) -> bytes:
    """Return a payload as a packet."""
    payload += _CHECKSUM.pack(zlib.crc32(payload))
    for byte, meant in _ESCAPED:
        payload = payload.replace(byte, meant)
    return END + payload + END


def unframed(packet: bytes) -> bytes | None:
    """Return the payload of what stood between two `END`; None if it is damaged."""
    pieces = packet.split(ESCAPE)
    for index, piece in enumerate(pieces[1:], 1):
        if piece[:1] not in (b"\xdc", b"\xdd"):
            return None
        pieces[index] = (END if piece[:1] == b"\xdc" else ESCAPE) + piece[1:]
    whole = b"".join(pieces)
    payload, checksum = whole[: -_CHECKSUM.size], whole[-_CHECKSUM.size :]
    return payload if checksum == _CHECKSUM.pack(zlib.crc32(payload)) else None


class Link:
    """The way to one design. A damaged or lost packet is sent again."""

    def __init__(self, port: Port, design: Design) -> None:
        """Ask who is there.

        Raises:
            LinkError: nobody answers, or another design does (exit code 6).
        """
        self._port = port
        self._design = design
        self._tag = 0
        self._ask(IDENTIFY, 1, b"")

    def run(self, frame: bytes, count: int = 1) -> Reply:
        """Run one frame so many times, one right after another.

        Raises:
            LinkError: no whole answer came, however often it was asked for.
        """
        return self._ask(RUN, count, frame)

    def _ask(self, command: int, count: int, data: bytes) -> Reply:
        found: list[str] = []
        seconds = self._seconds(len(data), count)
        for _ in range(ATTEMPTS):
            self._tag = (self._tag + 1) % 256
            self._port.write(framed(_REQUEST.pack(command, self._tag, count) + data))
            try:
                return self._answer(command, seconds)
            except _DamagedError as error:
                found.append(str(error))
        raise LinkError("the FPGA gives no answer", found)

    def _seconds(self, size: int, count: int) -> float:
        """Return how long an answer may take: every byte may be escaped, both ways."""
        moved = 2 * (size + self._design.outputs + _REQUEST.size + _REPLY.size + 10)
        computed = 2 * count * self._design.cycles
        return SLACK + moved / self._design.rate + computed / self._design.clock

    def _answer(self, command: int, seconds: float) -> Reply:
        """Return the next answer to the last question; answers to older ones are passed over."""
        came = b""
        damaged = False
        while True:
            packets = came.split(END)
            came = packets.pop()
            for packet in filter(None, packets):
                payload = unframed(packet)
                if payload is None or len(payload) < _REPLY.size:
                    damaged = True
                elif payload[1] == self._tag:
                    return self._reply(command, payload)
            data = self._port.read(seconds)
            if not data:
                what = "the answer was damaged" if damaged or came else "there was none"
                raise _DamagedError(f"{what}, in {seconds:.1f} s")
            came += data

    def _reply(self, command: int, payload: bytes) -> Reply:
        status, _, low, high, name = _REPLY.unpack_from(payload)
        data = payload[_REPLY.size :]
        if name != self._design.name.encode("ascii"):
            there = name.decode("ascii", "replace")
            told = f"its design is {there!r}, this bundle's is {self._design.name!r}"
            raise LinkError("the FPGA is loaded with something else", [told], code=6)
        if status:
            raise _DamagedError(_STATUS.get(status, f"it says {status}"))
        if len(data) != (self._design.outputs if command == RUN else 0):
            raise LinkError(f"the FPGA gives {len(data)} bytes, not {self._design.outputs}")
        return Reply(high << 32 | low, data)


class _DamagedError(Exception):
    """What came was no answer; it is worth asking again."""
