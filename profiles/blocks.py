"""The blocks that a profile is made of, and the figures in them, each with how it is known."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from .quantities import (
    FIGURES,
    ApiLevel,
    Bytes,
    BytesPerSecond,
    Count,
    FeatureLevel,
    Hertz,
    Number,
    OpsPerSecond,
    Seconds,
)

Source = Literal["datasheet", "measured", "assumed"]
Holds = Literal["weights", "activations", "code", "io"]
Delegate = Literal["gpu", "nnapi"]
DType = Literal[
    "float64", "float32", "tfloat32", "float16", "bfloat16", "float8e4m3fn",
    "int64", "int32", "int16", "int8", "int4",
    "uint64", "uint32", "uint16", "uint8",
    "bool",
]  # fmt: skip

#: Bits of one element of each dtype, as it lies in a register.
BITS: Final[dict[DType, int]] = {
    "float64": 64, "float32": 32, "tfloat32": 32, "float16": 16, "bfloat16": 16,
    "float8e4m3fn": 8, "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int4": 4,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8,
    "bool": 8,
}  # fmt: skip

#: How well a figure is known, the best first; what is computed is as good as its worst factor.
SOURCES: Final[tuple[Source, ...]] = get_args(Source)

#: A profile's name, and its file's: nothing that could lead out of a folder.
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9-]*$"

#: How far a stated peak may lie from the product of its factors (datasheets round their figures).
PEAK_TOLERANCE: Final = 0.01

Value = TypeVar("Value")


#: A fault: the keys below the field, and what is wrong.
Finding = tuple[tuple[str | int, ...], str]


class FindingsError(ValueError):
    """Several faults that one validator found."""

    def __init__(self, found: list[Finding]) -> None:
        self.found = found
        told = (f"{'.'.join(map(str, keys))}: {message}" for keys, message in found)
        super().__init__("; ".join(told))


class Block(BaseModel):
    """A part of a profile: read-only, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sourced(Block, Generic[Value]):
    """A figure, and how it is known."""

    value: Value = Field(description="The figure, with its unit.")
    source: Source = Field(
        description="How it is known: by a datasheet, by measuring, or assumed for want of both."
    )
    note: str = Field(default="", description="Which datasheet, how measured, or why assumed.")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return a short name for the JSON Schema, in place of the whole annotation."""
        return FIGURES.get(params[0], f"Sourced{params[0]}")


class Runtime(Block):
    """A runtime the device carries."""

    name: str = Field(min_length=1, description="The runtime's name, as targets know it: tvm.")
    version: str = Field(min_length=1, description="The version the bundle is built for.")


class Cpu(Block):
    """The cores that inference runs on: of a big.LITTLE chip, the big ones."""

    cores: Sourced[Count] = Field(description="Physical cores of the kind described here.")
    clock: Sourced[Hertz] = Field(description="The clock all cores keep under a sustained load.")
    vector_bits: Sourced[Count] = Field(
        description="Width of the vector registers that code uses; 32, one float32, without any."
    )
    vector_registers: Sourced[Count] = Field(
        description="Vector registers of the instruction set that code can name."
    )
    fma_units: Sourced[Number] = Field(
        description="Full-width float32 multiply-adds that one core starts per cycle."
    )
    l1: Sourced[Bytes] | None = Field(default=None, description="First-level data cache of a core.")
    l2: Sourced[Bytes] | None = Field(
        default=None, description="One second-level cache, in full where cores share it."
    )
    l3: Sourced[Bytes] | None = Field(
        default=None, description="One last-level cache, in full where cores share it."
    )


class Compute(Block):
    """The peak for one dtype: cores x clock x lanes x units x 2 operations per second."""

    lanes: Sourced[Number] | None = Field(
        default=None,
        description="Multiply-adds in one instruction; by default vector_bits over the dtype's.",
    )
    units: Sourced[Number] | None = Field(
        default=None,
        description="Such instructions that one core starts per cycle; by default fma_units.",
    )
    peak: Sourced[OpsPerSecond] | None = Field(
        default=None,
        description="Operations per second over all cores; by default the product of the factors.",
    )

    def completed(self, dtype: DType, cpu: Cpu | None) -> Compute:
        """Return this entry with what follows from the CPU filled in.

        Raises:
            FindingsError: there is neither a peak nor the factors of one, or the two disagree.
        """
        stated = self.peak
        if cpu is None or (stated and not self.lanes and not self.units):
            if stated is None:
                raise FindingsError(
                    [(("peak",), "is missing, and there is no cpu to compute it from")]
                )
            return self
        lanes = self.lanes or Sourced[Number](
            value=cpu.vector_bits.value / BITS[dtype],
            source=cpu.vector_bits.source,
            note=f"{cpu.vector_bits.value} bits over {BITS[dtype]}",
        )
        units = self.units or cpu.fma_units
        product = 2 * cpu.cores.value * cpu.clock.value * lanes.value * units.value
        formula = (
            f"{cpu.cores.value} cores x {cpu.clock.value / 1e9:g} GHz x {lanes.value:g} lanes"
            f" x {units.value:g} units x 2"
        )
        if stated and not math.isclose(stated.value, product, rel_tol=PEAK_TOLERANCE):
            message = f"{stated.value / 1e9:g} Gop/s is not {formula} = {product / 1e9:g} Gop/s"
            raise FindingsError([(("peak",), message)])
        factors = (cpu.cores, cpu.clock, lanes, units)
        worst = max((factor.source for factor in factors), key=SOURCES.index)
        peak = stated or Sourced[OpsPerSecond](value=product, source=worst, note=formula)
        return Compute(lanes=lanes, units=units, peak=peak)


class Memory(Block):
    """A memory that a running model uses."""

    name: str = Field(min_length=1, description="The memory's name: dram, sram, flash.")
    size: Sourced[Bytes] = Field(description="Its whole size.")
    bandwidth: Sourced[BytesPerSecond] = Field(
        description="Its peak bandwidth, all cores together."
    )
    holds: tuple[Holds, ...] = Field(min_length=1, description="What may live there.")


class EthosU(Block):
    """An Arm Ethos-U NPU, in the words of its compiler Vela; the sections are of its vela.ini."""

    accelerator: str = Field(
        pattern=r"^ethos-u(55|65)-[0-9]+$",
        description="Vela's accelerator configuration, with the MACs per cycle: ethos-u55-128.",
    )
    system: str = Field(
        pattern=r"^[A-Za-z0-9_]+$",
        description="Vela's system configuration: clock and memories as the NPU sees them.",
    )
    memory_mode: str = Field(
        pattern=r"^[A-Za-z0-9_]+$",
        description="Vela's memory mode: what is in SRAM, and who has it: Shared_Sram.",
    )
    peak: Sourced[OpsPerSecond] = Field(description="Its peak on int8, at the system's clock.")


class Toolchain(Block):
    """What code is generated for."""

    triple: str = Field(
        min_length=1,
        description="LLVM target triple: aarch64-linux-gnu; of an FPGA ecp5-lattice-none.",
    )
    cpu: str = Field(
        min_length=1, description="LLVM processor name: cortex-a76; of an FPGA its part."
    )
    features: tuple[Annotated[str, Field(pattern=r"^[+-][A-Za-z0-9][A-Za-z0-9._-]*$")], ...] = (
        Field(default=(), description="LLVM features beyond the processor's own: +dotprod.")
    )
    abi: str | None = Field(
        default=None, description="ABI, where the triple does not settle it: lp64d on RISC-V."
    )
    glibc: str | None = Field(
        default=None,
        pattern=r"^[0-9]+\.[0-9]+$",
        description='The oldest glibc the bundle must run with, quoted: "2.28".',
    )


class Android(Block):
    """The Android that the device runs."""

    api: Sourced[ApiLevel] = Field(description="Its API level: 30 is Android 11.")
    nnapi: Sourced[FeatureLevel] | None = Field(
        default=None,
        description="NNAPI feature level, where runtime and drivers were updated beyond Android's.",
    )


class Peak(Block):
    """The peak for one dtype of a processor that has no cores to compute it from."""

    peak: Sourced[OpsPerSecond] = Field(description="Operations per second, all of it together.")


class Accelerator(Block):
    """A processor beside the cores, to which a delegate of the runtime gives operators."""

    name: str = Field(pattern=NAME_PATTERN, max_length=64, description="Its short name: adreno.")
    title: str = Field(min_length=1, description="Its name for people.")
    delegates: tuple[Delegate, ...] = Field(
        min_length=1, description="The delegates that reach it: gpu, nnapi."
    )
    compute: dict[DType, Peak] = Field(
        min_length=1, description="Peak throughput for each dtype that it computes with."
    )
    bandwidth: Sourced[BytesPerSecond] = Field(
        description="Peak bandwidth to the memory that it computes from."
    )


class Limits(Block):
    """What the device does not allow, however small the model."""

    threads: Sourced[Count] | None = Field(
        default=None, description="Most threads worth using; by default one for each core."
    )


class DefaultBudget(Block):
    """What a result may cost when the user does not say; None is no limit."""

    memory: Bytes | None = Field(default=None, description="Memory while it runs.")
    storage: Bytes | None = Field(default=None, description="The engine's size on disk.")
    latency: Seconds | None = Field(default=None, description="Time of one inference.")
