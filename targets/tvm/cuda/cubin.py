"""The GPU's machine code within an engine: ELF files, whose header says which GPU they are for.

Fields as in LLVM's ``llvm/BinaryFormat/ELF.h``: the machine is EM_CUDA; the compute capability lies
in the flags, its place said by the version of NVIDIA's ABI.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Final

_MAGIC: Final = b"\x7fELF"
_EM_CUDA: Final = 190
_ABI_VERSION: Final = 8  # the place of e_ident[EI_ABIVERSION]

#: Version of the ABI -> by how many bits the capability is shifted in the flags (EF_CUDA_SM of
#: ELFABIVERSION_CUDA_V1, and of V2).
_SHIFTS: Final = {7: 0, 8: 8}

#: e_ident, e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize,
#: e_phnum, e_shentsize, e_shnum, e_shstrndx.
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
#: sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info, sh_addralign,
#: sh_entsize.
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
#: st_name, st_info, st_other, st_shndx, st_value, st_size.
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_SHT_SYMTAB, _STT_FUNC, _STB_GLOBAL = 2, 2, 1


@dataclasses.dataclass(frozen=True)
class Cubin:
    """One binary for a GPU.

    Attributes:
        architecture: ``sm_90``; empty where the version of its ABI is not known here.
        kernels: what it defines, sorted.
    """

    architecture: str
    kernels: tuple[str, ...]


def find(content: bytes) -> list[Cubin]:
    """Return every binary for a GPU that lies anywhere within a file, in order."""
    found, start = [], content.find(_MAGIC)
    while start >= 0:
        cubin = _parse(content[start:]) if _is_cubin(content, start) else None
        if cubin is not None:
            found.append(cubin)
        start = content.find(_MAGIC, start + 1)
    return found


def _is_cubin(content: bytes, start: int) -> bool:
    if len(content) - start < _HEADER.size:
        return False
    return bool(_HEADER.unpack_from(content, start)[2] == _EM_CUDA)


def _parse(content: bytes) -> Cubin | None:
    """Return what a binary says of itself; None if it is cut off, or not a binary at all."""
    ident, *_, table, flags, _, _, _, size, count, _ = _HEADER.unpack_from(content)
    shift = _SHIFTS.get(ident[_ABI_VERSION])
    architecture = "" if shift is None else f"sm_{flags >> shift & 0xFF}"
    try:
        sections = [_SECTION.unpack_from(content, table + size * k) for k in range(count)]
        names = sorted(_functions(content, sections))
    except (struct.error, IndexError, ValueError):
        return None
    return Cubin(architecture, tuple(names))


def _functions(content: bytes, sections: list[tuple[int, ...]]) -> Iterator[str]:
    """Yield the names of the global functions in the symbol table."""
    for _, kind, _, _, offset, size, link, _, _, each in sections:
        if kind != _SHT_SYMTAB or each != _SYMBOL.size:
            continue
        strings = sections[link][4]
        for place in range(offset, offset + size, each):
            name, info, *_ = _SYMBOL.unpack_from(content, place)
            if info == _STB_GLOBAL << 4 | _STT_FUNC:
                end = content.index(b"\0", strings + name)
                yield content[strings + name : end].decode("ascii")
