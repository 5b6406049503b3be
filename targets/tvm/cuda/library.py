"""What TVM embeds in a library beside machine code: the modules that its own imports.

The layout is tvm-ffi's (``src/ffi/extra/library_module.cc``), integers little-endian:

    bytes: u64, then so many bytes:
        import tree: two vectors (count: u64, then u64 each); the first has one more than modules
        for each module: kind: string (length: u64, then bytes), and its content: string, unless
        the kind is ``_lib``, which stands for the machine code

The content of the kind ``cuda`` is a string, its format; a table of functions; a string, the code
(``SaveToBytes`` of TVM's CUDA module).

Without a GPU's driver TVM puts the *source* of the kernels there, in the format ``cuda``, for the
device to compile. Here it is compiled at once, and put there in the format ``cubin``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from ....errors import Problem, TapeoutError

_COUNT: Final = struct.Struct("<Q")
_LIBRARY: Final = b"_lib"
_CUDA: Final = b"cuda"
_SOURCE, _BINARY = b"cuda", b"cubin"

#: The symbol that TVM's loader asks a library for.
SYMBOL: Final = "__tvm_ffi__library_bin"


def compiled(packed: bytes, source: str, compile_: Callable[[str], bytes]) -> bytes:
    """Return what TVM packed, with the CUDA source of its kernels compiled.

    Args:
        packed: the modules.
        source: that of the kernels, as the module of the kind ``cuda`` tells it.
        compile_: returns the binary of a source.

    Raises:
        TapeoutError: it is not laid out as above; better no engine than one without its kernels.
    """
    reader = _Reader(packed)
    if reader.count() != len(packed) - _COUNT.size:
        raise _unknown("its length is not what it says")
    modules = len(reader.vector()) - 1
    reader.vector()
    result, found = packed[_COUNT.size : reader.at], 0
    for _ in range(modules):
        kind = reader.string()
        result += _string(kind)
        if kind == _LIBRARY:
            continue
        content = reader.string()
        if kind == _CUDA:
            content, found = _replaced(content, source.encode(), compile_), found + 1
        result += _string(content)
    if found != 1 or reader.at != len(packed):
        raise _unknown(f"it has {found} modules of kernels, and ends at {reader.at}")
    return _COUNT.pack(len(result)) + result


def assembly(content: str) -> str:
    """Return the assembly that defines the symbol as the bytes of a file."""
    return f"""\
    .section .rodata,"a",@progbits
    .globl {SYMBOL}
    .type {SYMBOL}, @object
    .p2align 6
{SYMBOL}:
    .incbin "{content}"
    .size {SYMBOL}, . - {SYMBOL}
    .section .note.GNU-stack,"",@progbits
"""


def _replaced(content: bytes, source: bytes, compile_: Callable[[str], bytes]) -> bytes:
    head, tail = _string(_SOURCE), _string(source)
    if not content.startswith(head) or not content.endswith(tail):
        raise _unknown("its kernels are not the source that TVM tells")
    table = content[len(head) : -len(tail)]
    return _string(_BINARY) + table + _string(compile_(source.decode()))


def _string(content: bytes) -> bytes:
    return _COUNT.pack(len(content)) + content


def _unknown(what: str) -> TapeoutError:
    return TapeoutError("cannot read what TVM packs into a library", [Problem(SYMBOL, what)])


class _Reader:
    """Reads integers, vectors and strings one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def count(self) -> int:
        (found,) = _COUNT.unpack(self._take(_COUNT.size))
        return int(found)

    def vector(self) -> list[int]:
        size = self.count()
        if size > len(self._content):
            raise _unknown(f"a vector of {size} at byte {self.at}")
        return [self.count() for _ in range(size)]

    def string(self) -> bytes:
        return self._take(self.count())

    def _take(self, size: int) -> bytes:
        start, self.at = self.at, self.at + size
        if self.at > len(self._content):
            raise _unknown(f"it ends within {size} bytes at {start}")
        return self._content[start : self.at]
