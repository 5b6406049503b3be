"""What a device *is*: the schema of a profile, where every figure says how it is known.

In a file a quantity is text with its unit (``2.4 GHz``, ``8 GiB``, ``17.1 GB/s``). In memory, and
in the JSON of `Profile.to_json`, it is a plain number in the base unit: bytes, bytes/s, hertz,
operations/s (one multiply-accumulate is two operations), seconds.

`json_schema` derives from it the JSON Schema that editors complete from.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from .blocks import (
    NAME_PATTERN,
    Accelerator,
    Android,
    Block,
    Compute,
    Cpu,
    DefaultBudget,
    Delegate,
    DType,
    EthosU,
    Finding,
    FindingsError,
    Limits,
    Memory,
    Runtime,
    Source,
    Sourced,
    Toolchain,
)
from .fpga_schema import Fpga
from .gpu_schema import Gpu

__all__ = [
    "NAME_PATTERN",
    "NNAPI_SINCE",
    "Accelerator",
    "Block",
    "Compute",
    "Cpu",
    "DType",
    "Delegate",
    "EthosU",
    "Finding",
    "FindingsError",
    "Fpga",
    "Gpu",
    "Kind",
    "Profile",
    "Source",
    "Sourced",
    "Toolchain",
]

Kind = Literal["cpu", "gpu", "mobile", "fpga"]

#: The kinds whose own cores run inference, with or without accelerators beside them.
_WITH_CPU: Final[tuple[Kind, ...]] = ("cpu", "mobile")

#: The first Android API level with NNAPI.
NNAPI_SINCE: Final = 27


class Profile(Block):
    """One device."""

    name: str = Field(
        pattern=NAME_PATTERN, max_length=64, description="Its name in the catalogue and its file's."
    )
    title: str = Field(min_length=1, description="Its name for people.")
    vendor: str = Field(min_length=1, description="Who makes it.")
    kind: Kind = Field(description="The family of devices it belongs to.")
    runtimes: tuple[Runtime, ...] = Field(
        min_length=1, description="The runtimes it can carry, the preferred first."
    )
    dtypes: tuple[DType, ...] = Field(
        min_length=1, description="Element types that its runtimes compute with."
    )
    cpu: Cpu | None = Field(
        default=None, description="The cores; for the kinds cpu and mobile, and no other."
    )
    ethos_u: EthosU | None = Field(
        default=None, description="The NPU that the runtime ethos-u is for."
    )
    gpu: Gpu | None = Field(
        default=None, description="The NVIDIA GPU; for the kind gpu, and no other."
    )
    fpga: Fpga | None = Field(
        default=None, description="The FPGA and its board; for the kind fpga, and no other."
    )
    compute: dict[DType, Compute] = Field(
        description="Peak throughput for each dtype that has one."
    )
    memories: tuple[Memory, ...] = Field(
        min_length=1, description="The memories, the one that activations live in first."
    )
    toolchain: Toolchain = Field(description="What code is generated for.")
    android: Android | None = Field(
        default=None, description="The Android of a phone; for the kind mobile only."
    )
    accelerators: tuple[Accelerator, ...] = Field(
        default=(), description="What delegates can compute on; for the kind mobile only."
    )
    limits: Limits = Field(default=Limits(), description="What the device does not allow.")
    budget: DefaultBudget = Field(
        default=DefaultBudget(), description="What a result may cost when the user does not say."
    )

    @field_validator("compute", mode="after")
    @classmethod
    def _complete_peaks(
        cls, compute: dict[DType, Compute], info: ValidationInfo
    ) -> dict[DType, Compute]:
        """Fill in what follows from CPU or FPGA, and refuse a peak that its factors contradict."""
        if not {"cpu", "dtypes", "fpga"} <= info.data.keys():
            return compute  # those fields are wrong themselves, and reported so
        fpga: Fpga | None = info.data["fpga"]
        completed: dict[DType, Compute] = {}
        found: list[Finding] = []
        for dtype, entry in compute.items():
            if dtype not in info.data["dtypes"]:
                found.append(((dtype,), f"{dtype!r} is not among dtypes"))
            if fpga is not None and dtype == "int8" and not entry.model_fields_set:
                completed[dtype] = Compute(peak=fpga.peak)
                continue
            try:
                completed[dtype] = entry.completed(dtype, info.data["cpu"])
            except FindingsError as error:
                found += [((dtype, *keys), message) for keys, message in error.found]
        if found:
            raise FindingsError(found)
        return completed

    @model_validator(mode="after")
    def _agrees_with_kind(self) -> Profile:
        found: list[Finding] = []
        kind = f"a profile of the kind {self.kind!r}"
        inferring = self.kind in _WITH_CPU
        if inferring != (self.cpu is not None):
            needs = "needs a block cpu" if inferring else "has no block cpu"
            found.append((("cpu",), f"{kind} {needs}"))
        if (self.kind == "gpu") != (self.gpu is not None):
            needs = "needs a block gpu" if self.gpu is None else "has no block gpu"
            found.append((("gpu",), f"{kind} {needs}"))
        if (self.kind == "fpga") != (self.fpga is not None):
            needs = "needs a block fpga" if self.fpga is None else "has no block fpga"
            found.append((("fpga",), f"{kind} {needs}"))
        if self.fpga is not None:
            found += self.fpga.against(self.memories, self.dtypes)
        if self.gpu is not None:
            found += self.gpu.against(self.dtypes, self.toolchain)
            if "float32" not in self.compute:
                lacking = "is missing: tensor cores do not compute all; give the CUDA cores' peak"
                found.append((("compute", "float32"), lacking))
        if self.kind != "mobile":
            given = {"android": self.android, "accelerators": self.accelerators}
            found += [((key,), f"{kind} has no {key}") for key in given if given[key]]
        names = [item.name for item in self.accelerators]
        for index, item in enumerate(self.accelerators):
            if item.name in names[:index]:
                twice = f"{item.name!r} is there twice"
                found.append((("accelerators", index, "name"), twice))
            if "nnapi" in item.delegates and not self._has_nnapi:
                missing = f"NNAPI is part of Android, from API {NNAPI_SINCE} on; see android.api"
                found.append((("accelerators", index, "delegates"), missing))
        if found:
            raise FindingsError(found)
        return self

    @property
    def _has_nnapi(self) -> bool:
        return self.android is not None and self.android.api.value >= NNAPI_SINCE

    def peak(self, dtype: str) -> float | None:
        """Return the operations per second for a dtype, None where the profile gives no figure."""
        entry = next((entry for name, entry in self.compute.items() if name == dtype), None)
        return entry.peak.value if entry is not None and entry.peak is not None else None

    def reached_by(self, delegate: Delegate) -> tuple[Accelerator, ...]:
        """Return the accelerators that a delegate computes on, in the profile's order."""
        return tuple(item for item in self.accelerators if delegate in item.delegates)

    @property
    def threads(self) -> int:
        """How many threads one inference should use."""
        if self.limits.threads is not None:
            return self.limits.threads.value
        return self.cpu.cores.value if self.cpu is not None else 1

    @property
    def main_memory(self) -> Memory:
        """The memory that activations live in; the first one if none says so."""
        holding = (memory for memory in self.memories if "activations" in memory.holds)
        return next(holding, self.memories[0])

    @property
    def capacity(self) -> int | None:
        """Bytes of the memory that holds all of a model; None where it lies in several."""
        whole = {"weights", "activations", "io"}
        return self.main_memory.size.value if whole <= {*self.main_memory.holds} else None

    def to_json(self) -> dict[str, Any]:
        """Return the whole profile, quantities in base units, for `catalog.from_json`."""
        return self.model_dump(mode="json")

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 (hex) of the canonical JSON: sorted keys, no spaces, UTF-8."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
