"""Tables of 256 numbers of 8 bits, of which many are looked up at once.

Where a vector is a place in a table, LLVM takes one number after the other out of it and loads from
there. Cores have instructions that take the bytes of a register or two, and which of them each lane
is to have: several of these make a table of 256.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import tvm_ffi
from tvm import DataType, tirx
from tvm.ir.expr import TensorLoad

#: TVM has no type hints.
Expr: TypeAlias = Any
Tensor: TypeAlias = Any

#: Attribute of a kernel: the feature of LLVM by which its tables are looked up.
LOOKUP: Final = "tapeout.lookup"

#: Numbers of a table.
_SIZE: Final = 256

#: A vector that fills less of an instruction's lanes is left to LLVM.
_LEAST: Final = 0.25

#: Given a part of the table by its first number and its length, and places of 8 bits without sign,
#: returns what the table has there.
Part = Callable[[int, int], Expr]


@dataclasses.dataclass(frozen=True)
class Lookup:
    """How a core looks up numbers: so many at once, and how."""

    lanes: int
    take: Callable[[Part, Expr], Expr]


def _by_two_registers(part: Part, places: Expr) -> Expr:
    """VPERMI2B: seven bits of a place choose among the bytes of two registers of 64."""
    low, high = (
        _call("llvm.x86.avx512.vpermi2var.qi.512", part(first, 64), places, part(first + 64, 64))
        for first in (0, 128)
    )
    is_high = tirx.reinterpret("int8x64", places) < tirx.const(0, "int8x64")
    return tirx.Select(is_high, high, low)


def _by_four_registers(part: Part, places: Expr) -> Expr:
    """TBL: a byte of four registers of 16, or 0 beyond them; and TBX, which leaves the others."""
    found = None
    for first in range(0, _SIZE, 64):
        near = places - tirx.const(first, places.ty.dtype) if first else places
        registers = [part(first + at, 16) for at in range(0, 64, 16)]
        if found is None:
            found = _call("llvm.aarch64.neon.tbl4.v16i8", *registers, near)
        else:
            found = _call("llvm.aarch64.neon.tbx4.v16i8", found, *registers, near)
    return found


def _by_rows(name: str, lanes: int) -> Callable[[Part, Expr], Expr]:
    """PSHUFB: four bits of a place choose among 16 bytes; one whose highest bit is set gives 0."""

    def take(part: Part, places: Expr) -> Expr:
        dtype = f"uint8x{lanes}"
        found = []
        for first in range(0, _SIZE, 16):
            row = tirx.Shuffle([part(first, 16)] * (lanes // 16), list(range(lanes)))
            # Four bits of 0 stay below the highest when 7 is added to them, and no others do.
            own = tirx.bitwise_xor(places, tirx.const(first, dtype))
            moved = tirx.call_llvm_pure_intrin(
                dtype, f"llvm.uadd.sat.v{lanes}i8", own, tirx.const(0x70, dtype)
            )
            found.append(_call(name, row, moved))
        return functools.reduce(tirx.bitwise_or, found)

    return take


#: Feature of `core.LOOKUPS` -> how a core that has it looks up numbers.
WAYS: Final = {
    "avx512vbmi": Lookup(64, _by_two_registers),
    "avx512bw": Lookup(64, _by_rows("llvm.x86.avx512.pshuf.b.512", 64)),
    "avx2": Lookup(32, _by_rows("llvm.x86.avx2.pshuf.b", 32)),
    "neon": Lookup(16, _by_four_registers),
}


def with_lookups(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a lowered kernel that looks up vectors of numbers of tables, if it says by what."""
    if LOOKUP not in function.attrs:
        return function
    lookup = WAYS[str(function.attrs[LOOKUP])]

    def looked_up(load: TensorLoad) -> Expr:
        lanes = DataType(str(load.ty.dtype)).lanes
        if not _is_table(load.source) or lanes < _LEAST * lookup.lanes:
            return load
        [places] = load.indices
        return load if isinstance(places, tirx.Ramp) else _looked_up(load.source, places, lookup)

    return tvm_ffi.structural_map(function, (TensorLoad, looked_up))


def _is_table(tensor: Tensor) -> bool:
    is_size = [isinstance(size, tirx.IntImm) and int(size) == _SIZE for size in tensor.shape]
    return is_size == [True] and str(tensor.dtype) in ("int8", "uint8")


def _looked_up(table: Tensor, places: Expr, lookup: Lookup) -> Expr:
    """Return the numbers at places that are a vector of any length."""
    count, lanes, dtype = DataType(str(places.ty.dtype)).lanes, lookup.lanes, str(table.dtype)
    narrow = places.astype(f"uint8x{count}")

    def part(first: int, length: int) -> Expr:
        at = tirx.Ramp(tirx.const(first, "int32"), tirx.const(1, "int32"), length)
        return tirx.reinterpret(f"uint8x{length}", tirx.BufferLoad(table, [at]))

    def taken(start: int) -> Expr:
        repeated = [narrow] * -(-(start + lanes) // count)
        return lookup.take(part, _lanes(repeated, start, lanes))

    whole = _lanes([taken(start) for start in range(0, count, lanes)], 0, count)
    return tirx.reinterpret(f"{dtype}x{count}", whole)


def _lanes(vectors: list[Expr], first: int, count: int) -> Expr:
    """Return so many lanes of vectors that are side by side."""
    if len(vectors) == 1 and DataType(str(vectors[0].ty.dtype)).lanes == count:
        return vectors[0]
    return tirx.Shuffle(vectors, list(range(first, first + count)))


def _call(name: str, *arguments: Expr) -> Expr:
    return tirx.call_llvm_pure_intrin(arguments[0].ty.dtype, name, *arguments)
