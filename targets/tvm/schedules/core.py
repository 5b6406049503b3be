"""What schedules know of the core that a kernel runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

from pydantic import PositiveInt

from ....profiles.schema import Cpu
from .arithmetic import FLOATS, WIDE, WORD, Arithmetic, integers_of
from .workload import STRICT, Choice, Workload

#: Cycles from the start of a multiply-add to its result: 4 on all x86 cores since Skylake and Zen
#: 2, and on all of Arm's since Cortex-A57 (their optimization guides).
LATENCY: Final = 4

#: So many uses outweigh that a number is copied by itself; counted in instructions.
_USES: Final = 64
#: LLVM's features of cores that compute in half precision, with twice the numbers in a vector.
_HALVES: Final = ("fullfp16", "avx512fp16", "zvfh")

#: LLVM's features of cores that look up many numbers of a table at once, the fastest first.
LOOKUPS: Final = ("avx512vbmi", "avx512bw", "avx2", "neon")

#: Bytes of a number of single precision.
_SINGLE: Final = WORD // 8

#: Caches of a profile that gives none, in bytes.
_L1: Final = 32 << 10
_L2: Final = 256 << 10


@dataclasses.dataclass(frozen=True)
class Operands:
    """How a multiply-add comes by what it multiplies: a vector, and one number for all lanes.

    Attributes:
        number: where the number lies: in memory, in a vector register, or apart from these.
        vector: what it costs to load a vector, in loads of one number.
        group: so many registers one instruction takes as one vector.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    number: Literal["memory", "vector", "apart"]
    vector: PositiveInt
    group: PositiveInt = 1


#: LLVM's feature -> the operands of a core that has it; those of x86 where there is none (what a
#: vector costs is measured on a Cascade Lake). NEON takes a number from a lane; to RISC-V without
#: vectors, a float is one. With them it computes the address of each vector first, and groups of 8
#: registers would leave no choice of tiles.
OPERANDS: Final = {
    "neon": Operands("vector", 1),
    "v": Operands("apart", 2, group=4),
    "f": Operands("vector", 1),
}
_MEMORY: Final = Operands("memory", 4)


@dataclasses.dataclass(frozen=True)
class Core:
    """One core, of those that share the work.

    Attributes:
        lanes: numbers in a vector register, of the width below.
        registers: vector registers that code can name.
        units: multiply-adds of whole vectors that it starts per cycle.
        l1, l2: bytes of its data caches, in full where cores share one.
        integers: what it computes products of integers of 8 bits with.
        threads: so many such cores share a kernel.
        operands: of its multiply-adds.
        halves: whether it computes in half precision.
        width: bytes of a number: 4; as kernels in half precision see the core, 2.
        choices: what measurement chose in the place of the analysis.
        lookup: LLVM's feature by which it looks up many numbers of a table at once; empty: none.
        direct: whether convolutions are computed with all multiplications, which takes the least
            memory.
    """

    lanes: int
    registers: int
    units: float
    l1: int
    l2: int
    integers: Arithmetic = WIDE
    threads: int = 1
    operands: Operands = _MEMORY
    halves: bool = False
    width: int = _SINGLE
    choices: Mapping[Workload, Choice] = dataclasses.field(
        default_factory=lambda: MappingProxyType({}), compare=False
    )
    lookup: str = ""
    direct: bool = False

    @property
    def near(self) -> float:
        """Bytes per cycle that come from its second-level cache: half a register, measured."""
        return self.lanes * self.width / 2

    @property
    def stream(self) -> float:
        """Bytes per cycle that come from beyond its caches, ahead of their use; an estimate.

        As cores have longer vectors, they have faster memory: 40 GB/s measured on a Zen 4.
        """
        return self.lanes * self.width // _SINGLE

    @property
    def splits(self) -> bool:
        """Whether it starts two multiply-adds of half a vector where it starts one of a whole.

        Cores of x86 that start one in a cycle have two units, which are one for the longest
        vectors: Zen 4, and Ice Lake for laptops (measurements of uops.info).
        """
        return self.operands == _MEMORY and self.units == 1

    def vectors(self, lanes: int) -> float:
        """Return the time for so many lanes, in vectors."""
        parts = 2 if self.splits else 1
        return -(-lanes * parts // self.lanes) / parts

    def of_work(self, work: Workload) -> Core:
        """Return the core as a kernel sees it: with vectors of half the lanes where they fit."""
        core = self.of_dtype(work.dtype)
        least = 1 if work.dtype in FLOATS else core.single.least_lanes
        half, rest = core.lanes // 2, work.outputs // work.group % core.lanes
        if work.kind == "depthwise" or not core.splits or half < least or not 0 < rest <= half:
            return core
        return dataclasses.replace(core, lanes=half, units=2 * core.units)

    def of_dtype(self, dtype: str) -> Core:
        """Return the core as kernels see it that compute with numbers of a dtype."""
        if dtype != "float16" or not self.halves or self.width != _SINGLE:
            return self
        return dataclasses.replace(self, lanes=2 * self.lanes, width=_SINGLE // 2)

    @property
    def single(self) -> Arithmetic:
        """What it computes products of integers row by row with."""
        return self.integers.single or self.integers

    def integers_for(self, rows: int, inputs: int, uses: int) -> Arithmetic:
        """Return what it computes products of integers with.

        Pairs of rows are always copied, and number by number where there are no whole words.

        Args:
            rows: of the product, next to each other.
            inputs: channels of a number of the product.
            uses: multiply-adds with each number of the input.
        """
        together = self.integers.together
        pays = inputs % together == 0 or (inputs > together and uses >= _USES)
        return self.integers if rows >= self.integers.rows and pays else self.single

    @property
    def alone(self) -> Arithmetic:
        """What it computes convolutions of integers of each channel by itself with."""
        return self.integers.alone or self.integers

    @classmethod
    def of(cls, cpu: Cpu, features: Collection[str], threads: int = 1) -> Core:
        """Return what a profile says of its cores, and LLVM of the features of its processor."""
        lanes = max(1, cpu.vector_bits.value // WORD)
        return cls(
            lanes=lanes,
            registers=cpu.vector_registers.value,
            units=cpu.fma_units.value,
            l1=cpu.l1.value if cpu.l1 else _L1,
            l2=cpu.l2.value if cpu.l2 else _L2,
            integers=integers_of(features, lanes),
            threads=threads,
            operands=next((OPERANDS[name] for name in OPERANDS if name in features), _MEMORY),
            halves=any(name in features for name in _HALVES),
            lookup=next((name for name in LOOKUPS if name in features), ""),
        )
