"""What products are computed with: floats, or the integers that a core has instructions for.

An instruction for integers takes one word of data, and one word of weights for each lane, and adds
the products of the numbers in them to sums of 32 bits, exactly, modulo 2^32:

    sums[lane] += data[0] x weights[lane, 0] + data[1] x weights[lane, 1] + ...

One for pairs takes words of two rows, for the sums of each with half as many channels.

Sums of float16 lose digits with each number that is added, so that only so many are added in it:
the sums of these are added in float32. Of n random numbers the first lose about sqrt(n / 2) times
what one rounding does, 12 of 288, and the others next to nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

#: Bits of a sum.
WORD: Final = 32


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """What a product is computed with.

    Attributes:
        data, weight, sum: dtypes.
        together: how many numbers of the data an instruction takes for each lane: a word.
        instructions: sums -> LLVM's name of it; none: multiplication and addition.
        accumulates: whether the instruction adds, too.
        rows: that an instruction takes words of.
        single: what takes its place where there are no pairs of rows; None: nothing.
        alone: what takes its place where each channel is by itself; None: nothing.
        most: so many products are added in `sum`, if their number has such divisors; 0: all.
    """

    data: str
    weight: str
    sum: str
    together: int = 1
    instructions: Mapping[int, str] = dataclasses.field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    accumulates: bool = True
    rows: int = 1
    single: Arithmetic | None = None
    alone: Arithmetic | None = None
    most: int = 0

    @property
    def bits(self) -> int:
        """Bits of a number of a word."""
        return int(self.data.lstrip("floatuin"))

    @property
    def word(self) -> int:
        """Bits of a word: of integers no less than a sum has, which they become one by one."""
        return max(self.together * self.bits, 0 if self.sum == self.data else WORD)

    @property
    def total(self) -> str:
        """The dtype in which sums of parts are added."""
        return "float32" if self.most else self.sum

    @property
    def least_lanes(self) -> int:
        """The lanes of its shortest vector."""
        return min(self.instructions, default=1)

    def words(self, numbers: int) -> int:
        """Return how many words hold so many numbers."""
        return -(-numbers // self.together)


FLOAT: Final = Arithmetic("float32", "float32", "float32")

#: Products have 16 bits, and so have sums of few of them, which are added to those of 32.
SHORT: Final = Arithmetic("int8", "int8", "int32")
#: A window of 3 x 3 numbers of 32 channels.
HALF: Final = Arithmetic("float16", "float16", "float16", most=288)

#: What computes with floats, by their dtype.
FLOATS: Final = {arithmetic.data: arithmetic for arithmetic in (FLOAT, HALF)}

#: int16 holds a number of 8 bits less any zero point, and all have a product of 16 bits.
WIDE: Final = Arithmetic("int16", "int16", "int32", alone=SHORT)

_VNNI: Final = {lanes: f"llvm.x86.avx512.vpdpbusd.{32 * lanes}" for lanes in (4, 8, 16)}
_SMMLA: Final = {4: "llvm.aarch64.neon.smmla.v4i32.v16i8"}
_SDOT: Final = {4: "llvm.aarch64.neon.sdot.v4i32.v16i8"}
_PAIRS: Final = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}


def _pairs(*lanes: int) -> Arithmetic:
    chosen = MappingProxyType({count: _PAIRS[count] for count in lanes})
    return Arithmetic("int16", "int16", "int32", 2, chosen, accumulates=False)


_DOTS: Final = Arithmetic("int8", "int8", "int32", 4, MappingProxyType(_SDOT), alone=SHORT)

#: LLVM's feature -> what a core that has it computes with, the fastest first. VPDPBUSD takes data
#: without sign, SDOT and SMMLA with it.
_INTEGERS: Final[tuple[tuple[str, Arithmetic], ...]] = (
    ("avx512vnni", Arithmetic("uint8", "int8", "int32", 4, MappingProxyType(_VNNI))),
    (
        "avxvnni",
        Arithmetic("uint8", "int8", "int32", 4, MappingProxyType({n: _VNNI[n] for n in (4, 8)})),
    ),
    ("avx512bw", _pairs(4, 8, 16)),
    ("avx2", _pairs(4, 8)),
    ("sse2", _pairs(4)),
    (
        "i8mm",
        Arithmetic(
            *("int8", "int8", "int32", 8, MappingProxyType(_SMMLA)),
            rows=2,
            single=_DOTS,
            alone=SHORT,
        ),
    ),
    ("dotprod", _DOTS),
)


def integers_of(features: Collection[str], lanes: int) -> Arithmetic:
    """Return what a core computes products of integers of 8 bits with.

    Args:
        features: LLVM's names of what it has.
        lanes: numbers of 32 bits in its vectors.
    """
    found = (
        arithmetic
        for feature, arithmetic in _INTEGERS
        if feature in features and lanes in arithmetic.instructions
    )
    return next(found, WIDE)


def feature_of(arithmetic: Arithmetic) -> str:
    """Return LLVM's feature that an arithmetic for integers is of; empty: it needs none."""
    return next((feature for feature, found in _INTEGERS if found == arithmetic), "")


def arithmetic_for(feature: str) -> Arithmetic:
    """Return what `feature_of` names; raises ValueError if it names nothing."""
    known = {"": WIDE, **dict(_INTEGERS)}
    if feature not in known:
        raise ValueError(f"{feature!r} is none of {', '.join(filter(None, known))}")
    return known[feature]
