from __future__ import annotations

import struct

import pytest

from tapeout.errors import TapeoutError
from tapeout.targets.tvm.cuda import library

SOURCE = "__global__ void f() {}"


def string(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def packed(*modules: tuple[bytes, bytes | None]) -> bytes:
    """What TVM embeds, with an import tree in which each module imports the next."""
    count = len(modules)
    starts = [*range(count), count - 1]
    tree = struct.pack(f"<Q{count + 1}Q", count + 1, *starts)
    tree += struct.pack(f"<Q{count - 1}Q", count - 1, *range(1, count))
    body = tree + b"".join(
        string(kind) + (b"" if content is None else string(content)) for kind, content in modules
    )
    return struct.pack("<Q", len(body)) + body


def cuda(form: bytes, code: bytes) -> bytes:
    return string(form) + b"any table" + string(code)


def test_the_source_makes_room_for_its_binary_and_all_else_stays() -> None:
    program = (b"relax.VMExecutable", b"program \x00 weights")
    before = packed(program, (b"_lib", None), (b"cuda", cuda(b"cuda", SOURCE.encode())))
    given = []

    def compile_(source: str) -> bytes:
        given.append(source)
        return b"\x7fELF, much longer than its source was"

    after = library.compiled(before, SOURCE, compile_)
    assert given == [SOURCE]
    content = cuda(b"cubin", b"\x7fELF, much longer than its source was")
    assert after == packed(program, (b"_lib", None), (b"cuda", content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed((b"_lib", None)), "it has 0 modules of kernels"),
        (packed((b"cuda", cuda(b"cuda", b"another source"))), "not the source that TVM tells"),
        (packed((b"cuda", cuda(b"ptx", SOURCE.encode()))), "not the source that TVM tells"),
        (packed((b"_lib", None))[:-1], "its length is not what it says"),
        (struct.pack("<QQ", 8, 1 << 60), "a vector of"),
        (packed((b"cuda", cuda(b"cuda", SOURCE.encode()))) + b"?", "its length is not"),
    ],
)
def test_what_is_laid_out_in_another_way_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(TapeoutError, match="cannot read what TVM packs") as caught:
        library.compiled(content, SOURCE, str.encode)
    assert reason in str(caught.value)
