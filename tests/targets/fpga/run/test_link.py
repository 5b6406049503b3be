"""Packets and what is done about damaged ones, against a design played by Python."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapeout.targets.fpga.run.link import (
    ATTEMPTS,
    END,
    Design,
    Link,
    LinkError,
    framed,
    unframed,
)

NAME = "0123456789abcdef"
DESIGN = Design(name=NAME, inputs=3, outputs=2, clock=1e8, rate=1e5, cycles=100)


@given(st.binary(max_size=60))
@example(b"\xc0\xdb\xdc\xdd\xdb\xc0")
def test_what_is_framed_comes_out_again(payload: bytes) -> None:
    packet = framed(payload)
    assert packet[:1] == packet[-1:] == END
    assert END not in packet[1:-1]
    assert unframed(packet[1:-1]) == payload


@given(st.binary(min_size=1, max_size=40), st.data())
def test_one_wrong_byte_is_noticed(payload: bytes, data: st.DataObject) -> None:
    packet = bytearray(framed(payload)[1:-1])
    index = data.draw(st.integers(0, len(packet) - 1))
    packet[index] ^= data.draw(st.integers(1, 255))
    assert unframed(bytes(packet)) is None


def reply(tag: int, data: bytes = b"", status: int = 0, cycles: int = 7, name: str = NAME) -> bytes:
    return struct.pack("<BBIB16s", status, tag, cycles % 2**32, cycles >> 32, name.encode()) + data


@dataclasses.dataclass
class Played:
    """A design: `answers` make what it sends of each request's command, tag, count and data."""

    answers: list[Callable[[int, int, int, bytes], bytes]]
    asked: list[tuple[int, int, bytes]] = dataclasses.field(default_factory=list)
    sent: bytes = b""

    def write(self, data: bytes) -> None:
        payload = unframed(data[1:-1])
        assert payload is not None
        command, tag, count = struct.unpack_from("<BBH", payload)
        self.asked.append((command, count, payload[4:]))
        self.sent += self.answers.pop(0)(command, tag, count, payload[4:])

    def read(self, seconds: float) -> bytes:
        piece, self.sent = self.sent[:5], self.sent[5:]
        return piece


def present(command: int, tag: int, count: int, data: bytes) -> bytes:
    return framed(reply(tag))


def computing(command: int, tag: int, count: int, data: bytes) -> bytes:
    return framed(reply(tag, data[:2], cycles=count * 100))


def silent(command: int, tag: int, count: int, data: bytes) -> bytes:
    return b""


def refusing(command: int, tag: int, count: int, data: bytes) -> bytes:
    return framed(reply(tag, status=1))


def damaged(command: int, tag: int, count: int, data: bytes) -> bytes:
    return framed(reply(tag, data[:2])).replace(data[:1], b"\x55", 1)


def late(command: int, tag: int, count: int, data: bytes) -> bytes:
    """The answer to an older request, and then the right one."""
    return framed(reply((tag - 1) % 256, b"\x00\x00")) + computing(command, tag, count, data)


def test_a_frame_goes_in_and_comes_out() -> None:
    port = Played([present, computing])
    found = Link(port, DESIGN).run(b"\x01\xc0\xdb", 600)
    assert (found.cycles, found.data) == (60_000, b"\x01\xc0")
    assert port.asked == [(1, 1, b""), (2, 600, b"\x01\xc0\xdb")]


def test_cycles_have_forty_bits() -> None:
    port = Played([present, lambda c, tag, n, d: framed(reply(tag, d[:2], cycles=2**39 + 5))])
    assert Link(port, DESIGN).run(b"abc").cycles == 2**39 + 5


@pytest.mark.parametrize("trouble", [silent, refusing, damaged, late])
def test_a_packet_that_got_lost_is_sent_again(
    trouble: Callable[[int, int, int, bytes], bytes],
) -> None:
    port = Played([present, trouble, computing])
    assert Link(port, DESIGN).run(b"abc").data == b"ab"


def test_who_never_answers_is_given_up() -> None:
    port = Played([present, *[silent, refusing, damaged, silent][:ATTEMPTS]])
    link = Link(port, DESIGN)
    with pytest.raises(LinkError, match="gives no answer") as raised:
        link.run(b"abc")
    assert raised.value.code == 1
    assert [problem.partition(",")[0] for problem in raised.value.problems] == [
        "there was none",
        "the checksum is wrong",
        "the answer was damaged",
        "there was none",
    ]


def test_another_design_is_refused() -> None:
    port = Played([lambda c, tag, n, d: framed(reply(tag, name="f" * 16))])
    with pytest.raises(LinkError, match="something else") as raised:
        Link(port, DESIGN)
    assert raised.value.code == 6
    assert raised.value.problems == [f"its design is '{'f' * 16}', this bundle's is '{NAME}'"]


def test_an_answer_of_another_length_is_refused() -> None:
    port = Played([present, lambda c, tag, n, d: framed(reply(tag, d))])
    link = Link(port, DESIGN)
    with pytest.raises(LinkError, match="3 bytes, not 2"):
        link.run(b"abc")


def test_the_checksum_is_that_of_zlib() -> None:
    assert framed(b"123456789")[-5:-1] == struct.pack("<I", zlib.crc32(b"123456789"))
