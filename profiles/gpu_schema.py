"""What a profile says of an NVIDIA GPU, beside its peaks and its memories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from .blocks import Block, DType, Finding, FindingsError, Sourced, Toolchain
from .quantities import Bytes, BytesPerSecond, Count, Hertz

#: A compute capability, as CUDA writes it.
Capability = Annotated[str, Field(pattern=r"^[1-9][0-9]?\.[0-9]$")]

#: PCI Express generation -> bytes/s of one lane in one direction: the transfer rate and its line
#: code (8b/10b up to generation 2, 128b/130b from 3 on), PCI Express Base Specification 5.0.
LANE: Final[Mapping[int, float]] = {
    1: 2.5e9 * 8 / 10 / 8,
    2: 5e9 * 8 / 10 / 8,
    3: 8e9 * 128 / 130 / 8,
    4: 16e9 * 128 / 130 / 8,
    5: 32e9 * 128 / 130 / 8,
}

#: How far a stated bandwidth may round up that of its lanes.
ROUNDED: Final = 1e-3

#: The compute capability from which on tensor cores compute with a dtype (CUDA C++ Programming
#: Guide, "Element Types and Matrix Sizes" and the PTX ISA's table of mma by target).
SINCE: Final[Mapping[DType, tuple[int, int]]] = {
    "tfloat32": (8, 0),
    "bfloat16": (8, 0),
    "float8e4m3fn": (8, 9),
}

#: The compute capability from which on tensor cores skip the zeros of 2:4 sparse weights.
SPARSE_SINCE: Final = (8, 0)


def number(capability: str) -> tuple[int, int]:
    """Return ``8.9`` as (8, 9), which compares as capabilities do."""
    major, _, minor = capability.partition(".")
    return int(major), int(minor)


class Pcie(Block):
    """The PCI Express link between the GPU's memory and the host's."""

    generation: Sourced[Annotated[int, Field(ge=1, le=max(LANE))]] = Field(
        description="Its generation: 4 is 16 GT/s for each lane."
    )
    lanes: Sourced[Annotated[int, Field(ge=1, le=16)]] = Field(description="Its lanes.")
    bandwidth: Sourced[BytesPerSecond] = Field(
        description="Its bandwidth in one direction: that of the lanes, or what was measured."
    )

    @model_validator(mode="after")
    def _within_its_lanes(self) -> Pcie:
        most = LANE[self.generation.value] * self.lanes.value
        if self.bandwidth.value > most * (1 + ROUNDED):
            message = (
                f"{self.bandwidth.value / 1e9:g} GB/s is more than {self.lanes.value} lanes of"
                f" generation {self.generation.value} carry in one direction, {most / 1e9:.4g} GB/s"
            )
            raise FindingsError([(("bandwidth",), message)])
        return self


class Gpu(Block):
    """An NVIDIA GPU; `Profile.compute` has its dense peaks, without sparsity."""

    capability: Capability = Field(description='Its compute capability, quoted: "8.9".')
    also: tuple[Capability, ...] = Field(
        default=(), description="Further capabilities that one engine must serve."
    )
    multiprocessors: Sourced[Count] = Field(description="Its streaming multiprocessors (SMs).")
    clock: Sourced[Hertz] = Field(description="The boost clock that its peaks are given for.")
    l2: Sourced[Bytes] = Field(description="Its second-level cache, which all SMs share.")
    sparse: bool = Field(description="Whether tensor cores skip the zeros of 2:4 sparse weights.")
    integrated: bool = Field(
        default=False, description="Whether it computes from the CPU's memory, as Jetson's does."
    )
    host: Literal["x86_64", "aarch64"] = Field(
        default="x86_64", description="The CPU beside it, as uname -m says."
    )
    pcie: Pcie | None = Field(
        default=None, description="The link to the host; for a card with its own memory."
    )
    nvlink: Sourced[BytesPerSecond] | None = Field(
        default=None, description="NVLink to other GPUs, both directions and all links together."
    )

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Every capability that one engine must serve, its own first."""
        return (self.capability, *self.also)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Gpu:
        found: list[Finding] = []
        for index, capability in enumerate(self.also):
            if capability in self.capabilities[: index + 1]:
                found.append((("also", index), f"{capability!r} is there twice; keep one"))
        least = min(map(number, self.capabilities))
        if self.sparse and least < SPARSE_SINCE:
            told = (
                f"tensor cores are sparse from compute capability 8.0 on, not in {_dotted(least)}"
            )
            found.append((("sparse",), f"{told}; write false"))
        if self.integrated and self.pcie is not None:
            told = "a GPU that computes from the CPU's memory has none"
            found.append((("pcie",), f"{told}; remove it, or integrated"))
        if not self.integrated and self.pcie is None:
            told = "is missing on a card that has its own memory"
            found.append((("pcie",), f"{told}; give generation and lanes, or integrated: true"))
        if found:
            raise FindingsError(found)
        return self

    def against(self, dtypes: tuple[DType, ...], toolchain: Toolchain) -> list[Finding]:
        """Return where the rest of its profile contradicts it."""
        found: list[Finding] = []
        least = min(map(number, self.capabilities))
        for index, dtype in enumerate(dtypes):
            since = SINCE.get(dtype, least)
            if least < since:
                told = f"{dtype!r} is computed from compute capability {_dotted(since)} on"
                found.append((("dtypes", index), f"{told}, not in {_dotted(least)}; remove it"))
        own = f"sm_{self.capability.replace('.', '')}"
        if toolchain.cpu.rstrip("af") != own:  # sm_90a: with what only this architecture has
            told = f"{toolchain.cpu!r} is not of gpu.capability {self.capability}"
            found.append((("toolchain", "cpu"), f"{told}; write {own}"))
        return found


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
