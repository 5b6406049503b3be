"""The header of a TensorRT-RTX engine file: for which GPUs and by which version it was built.

NVIDIA documents no part of it. This is what engines of every capability and of several at once
have in common, little-endian, the same for versions 1.6 and 1.7:

======  =====  ============================================================
offset  bytes  content
======  =====  ============================================================
0x00    4      ``vtrt``
0x10    8      the size of the whole file
0x18    4      the version that built it: major, minor, patch, build
0x1c    4      ``vtrt``
0x20    8      the compute capabilities that it holds code for, a bit of `BITS` for each
======  =====  ============================================================

Every bundle carries this file in ``run/``: it imports nothing but the standard library.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable
from typing import Final

MAGIC: Final = b"vtrt"

#: The bit of each compute capability in the mask.
BITS: Final = {"7.5": 0x01, "8.0": 0x02, "8.6": 0x04, "8.9": 0x08, "12.0": 0x10, "12.1": 0x20}

_LAYOUT: Final = struct.Struct("<4s12xQ4s4sQ")

#: How many bytes of a file `parse` needs.
SIZE: Final = _LAYOUT.size


class HeaderError(ValueError):
    """Why a file is no engine."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What the header of an engine says.

    Attributes:
        size: bytes of the whole file.
        version: of the TensorRT-RTX that built it: "1.7.1.116".
        mask: the capabilities that it holds code for, as bits.
    """

    size: int
    version: str
    mask: int

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The capabilities of the mask, ascending; a bit that is none of `BITS` as "bit 0x40"."""
        known = [name for name, bit in BITS.items() if self.mask & bit]
        rest = self.mask & ~sum(BITS.values())
        return (*known, *(f"bit {1 << i:#x}" for i in range(rest.bit_length()) if rest >> i & 1))


def mask_of(capabilities: Iterable[str]) -> int:
    """Return the mask of capabilities, each once; raises KeyError for one that is none."""
    return sum(BITS[name] for name in dict.fromkeys(capabilities))


def parse(content: bytes) -> Header:
    """Read the first `SIZE` bytes (or more) of an engine; raises HeaderError if it is none."""
    if len(content) < SIZE:
        raise HeaderError(f"has {len(content)} bytes, the header of an engine alone has {SIZE}")
    magic, size, version, again, mask = _LAYOUT.unpack_from(content)
    if magic != MAGIC or again != MAGIC:
        raise HeaderError(f"is no engine of TensorRT-RTX: it starts with {content[:4]!r}")
    return Header(size, ".".join(map(str, version)), mask)


def unfit(header: Header, size: int, version: str, capabilities: Iterable[str]) -> list[str]:
    """Return everything in which an engine is not what its maker meant it to be.

    Args:
        size: bytes of the file.
        version: of the runtime that it is for.
        capabilities: of the GPUs that it is for, exactly.
    """
    problems = []
    if header.size != size:
        problems.append(f"has {size} bytes, its header says {header.size}: a part is missing")
    if header.version != version:
        problems.append(f"was built by TensorRT-RTX {header.version}, not {version}")
    wanted = tuple(dict.fromkeys(capabilities))
    unknown = [name for name in wanted if name not in BITS]
    if unknown:
        known = ", ".join(BITS)
        problems.append(f"cannot serve compute capability {', '.join(unknown)}: there are {known}")
    elif header.mask != mask_of(wanted):
        found = ", ".join(header.capabilities) or "none"
        problems.append(f"is for compute capability {found}, not {', '.join(wanted)}")
    return problems
