"""Stand-ins for `tensorrt_rtx` and `cuda.bindings.runtime`: they record what they are called for.

There is no GPU where the tests run. These prove which functions of the two libraries are called, in
which order and with which memory, not that a GPU does what is asked of it. The engine that they run
gives y = 2 x + 1.
"""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import hashlib
import json
import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

VERSION = "1.7.1.116"


def engine_file(size: int = 96, version: str = VERSION, mask: int = 0x0C) -> bytes:
    """Return the header of an engine for capabilities 8.6 and 8.9, and zeros up to `size` bytes."""
    numbers = bytes(map(int, version.split(".")))
    head = struct.pack("<4s12xQ4s4sQ", b"vtrt", size, numbers, b"vtrt", mask)
    return head + bytes(size - len(head))


Error = enum.Enum(
    "Error", {"cudaSuccess": 0, "cudaErrorMemoryAllocation": 2, "cudaErrorInsufficientDriver": 35}
)
Copy = enum.Enum("Copy", "cudaMemcpyHostToDevice cudaMemcpyDeviceToHost")
Attribute = enum.Enum(
    "Attribute", "cudaDevAttrComputeCapabilityMajor cudaDevAttrComputeCapabilityMinor"
)
Mode = enum.Enum("Mode", "INPUT OUTPUT")
Number = enum.Enum("Number", "FLOAT HALF BF16")

#: The shape of an input: as the network has it, and least, usual and most of each profile.
Profiles = tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]


@dataclasses.dataclass
class Machine:
    """A machine with GPUs and both libraries, and what they were called for.

    Attributes:
        gpus: compute capabilities.
        shape: of the tensors `x` and `y`; -1 where it is not known until it runs.
        profiles: optimization profiles of `x`.
        number: what the tensors hold.
        refuses: the function that fails, by its name.
    """

    gpus: tuple[str, ...] = ("8.9",)
    version: str = VERSION
    shape: tuple[int, ...] = (2, 3)
    profiles: Profiles = ()
    number: Number = Number.FLOAT
    refuses: str = ""
    calls: list[str] = dataclasses.field(default_factory=list)
    memory: dict[int, Any] = dataclasses.field(default_factory=dict)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let imports find the two libraries of this machine."""
        modules = {"tensorrt_rtx": _tensorrt(self), "cuda.bindings.runtime": _cuda(self)}
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def note(self, *words: Any) -> bool:
        """Record a call; return whether it succeeds."""
        self.calls.append(" ".join(map(str, words)))
        return bool(words[0] != self.refuses)

    def allocate(self, size: int) -> int:
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)


def _cuda(machine: Machine) -> types.ModuleType:
    events: list[int] = []

    def record(event: int, stream: int) -> tuple[Error]:
        assert stream == 7
        events.append(event)
        machine.note("cudaEventRecord", event)
        return (Error.cudaSuccess,)

    def elapsed(start: int, end: int) -> tuple[Error, float]:
        return Error.cudaSuccess, float(events.index(end) - events.index(start))  # milliseconds

    def copy(target: int, source: int, size: int, kind: Copy, stream: int) -> tuple[Error]:
        assert stream == 7
        machine.note("cudaMemcpyAsync", kind.name, size)
        assert size <= min(len(machine.memory[target]), len(machine.memory[source]))
        ctypes.memmove(target, source, size)
        return (Error.cudaSuccess,)

    def allocate(name: str, size: int) -> tuple[Error, int | None]:
        if not machine.note(name, size):
            return Error.cudaErrorMemoryAllocation, None
        return Error.cudaSuccess, machine.allocate(size)

    def free(name: str, address: int) -> tuple[Error]:
        machine.note(name, len(machine.memory.pop(address)))
        return (Error.cudaSuccess,)

    def count() -> tuple[Error, int | None]:
        if machine.gpus:
            return Error.cudaSuccess, len(machine.gpus)
        return Error.cudaErrorInsufficientDriver, None

    def attribute(kind: Attribute, index: int) -> tuple[Error, int]:
        major, minor = machine.gpus[index].split(".")
        is_major = kind is Attribute.cudaDevAttrComputeCapabilityMajor
        return Error.cudaSuccess, int(major if is_major else minor)

    def simple(name: str, *results: Any) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            machine.note(name, *arguments)
            return (Error.cudaSuccess, *results)

        return call

    names = iter(range(100))
    module: Any = types.ModuleType("cuda.bindings.runtime")
    module.cudaError_t, module.cudaMemcpyKind, module.cudaDeviceAttr = Error, Copy, Attribute
    module.cudaGetErrorString = lambda error: (Error.cudaSuccess, error.name.encode())
    module.cudaGetDeviceCount = count
    module.cudaDeviceGetAttribute = attribute
    module.cudaGetDeviceProperties = lambda index: (
        Error.cudaSuccess,
        types.SimpleNamespace(name=f"card {index}".encode()),
    )
    module.cudaSetDevice = simple("cudaSetDevice")
    module.cudaStreamCreate = simple("cudaStreamCreate", 7)
    module.cudaStreamSynchronize = simple("cudaStreamSynchronize")
    module.cudaEventCreate = lambda: (Error.cudaSuccess, next(names))
    module.cudaEventRecord = record
    module.cudaEventSynchronize = simple("cudaEventSynchronize")
    module.cudaEventElapsedTime = elapsed
    module.cudaMemcpyAsync = copy
    module.cudaMalloc = lambda size: allocate("cudaMalloc", size)
    module.cudaMallocHost = lambda size: allocate("cudaMallocHost", size)
    module.cudaFree = lambda address: free("cudaFree", address)
    module.cudaFreeHost = lambda address: free("cudaFreeHost", address)
    module.cudaMemGetInfo = lambda: (Error.cudaSuccess, 1_000_000 - sum_of(machine), 2_000_000)
    return module


def sum_of(machine: Machine) -> int:
    return sum(map(len, machine.memory.values()))


class Context:
    """An execution context, which computes on the host."""

    def __init__(self, machine: Machine, dtype: np.dtype[Any]) -> None:
        self.machine, self.dtype = machine, dtype
        self.shape = machine.shape
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        assert stream == 7
        return self.machine.note("set_optimization_profile_async", index)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return self.machine.note("set_input_shape", name, list(shape))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return self.machine.note("set_tensor_address", name)

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == 7
        if not self.machine.note("execute_async_v3"):
            return False
        x, y = (self._array(name) for name in ("x", "y"))
        y[...] = 2 * x + 1
        return True

    def _array(self, name: str) -> np.ndarray:
        block = self.machine.memory[self.addresses[name]]
        return np.frombuffer(block, self.dtype, int(np.prod(self.shape))).reshape(self.shape)


def _tensorrt(machine: Machine) -> types.ModuleType:
    dtypes = {Number.FLOAT: np.float32, Number.HALF: np.float16}

    def nptype(number: Number) -> type:
        if number not in dtypes:
            raise TypeError("Could not resolve")
        return dtypes[number]

    class ILogger:
        Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")

    def create_execution_context(strategy: str) -> Context | None:
        made = Context(machine, np.dtype(dtypes.get(machine.number)))
        return made if machine.note("create_execution_context", strategy) else None

    engine = types.SimpleNamespace(
        num_io_tensors=2,
        num_optimization_profiles=max(len(machine.profiles), 1),
        get_tensor_name=lambda index: ("y", "x")[index],
        get_tensor_mode=lambda name: Mode.INPUT if name == "x" else Mode.OUTPUT,
        get_tensor_dtype=lambda name: machine.number,
        get_tensor_shape=lambda name: machine.shape,
        get_tensor_profile_shape=lambda name, index: machine.profiles[index],
        get_device_memory_size_for_profile_v2=lambda index: 4096 * (index + 1),
        get_engine_stat=lambda stat: 512,
        create_execution_context=create_execution_context,
    )

    class Runtime:
        def __init__(self, log: Any) -> None:
            self.log = log

        def deserialize_cuda_engine(self, content: bytes) -> Any:
            if machine.note("deserialize_cuda_engine", len(content)):
                return engine
            self.log.log(ILogger.Severity.ERROR, "the engine is of another world")
            return None

    module: Any = types.ModuleType("tensorrt_rtx")
    module.__version__ = machine.version
    module.ILogger, module.Runtime, module.TensorIOMode = ILogger, Runtime, Mode
    module.nptype = nptype
    module.EngineStat = types.SimpleNamespace(TOTAL_WEIGHTS_SIZE=0)
    module.ExecutionContextAllocationStrategy = types.SimpleNamespace(
        ON_PROFILE_CHANGE="ON_PROFILE_CHANGE"
    )
    return module


def varying(profiles: Profiles, multiple: int = 1) -> dict[str, Any]:
    """Return what a manifest says of shapes whose first dimension, `n`, varies."""
    ranges = [dict(zip(("min", "opt", "max"), profile, strict=True)) for profile in profiles]
    return {
        "inputs": {"x": ["n", 3]},
        "outputs": {"y": ["n", None]},
        "profiles": [{"x": limits} for limits in ranges],
        "multiples": {"n": multiple} if multiple > 1 else {},
    }


def manifest(content: bytes, dtype: str, shapes: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a manifest says of a bundle with this engine, which is for an RTX 4090."""
    tensor = {"shape": [2, 3], "dtype": dtype, "quantization": None}
    artifact = {"path": "engine.trt", "size": len(content)}
    return {
        "runtime": {"name": "tensorrt-rtx", "version": VERSION},
        "model": {"file": "it's a net.onnx"},
        "device": {
            "name": "rtx-4090",
            "profile": {"gpu": {"capability": "8.9", "also": ["8.6"]}},
        },
        "plan": {"runtime": "tensorrt-rtx", "precision": "fp16", "options": {}},
        "engine": "engine.trt",
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
        "shapes": shapes,
        "artifacts": [{**artifact, "sha256": hashlib.sha256(content).hexdigest()}],
    }


def bundle(
    folder: Path,
    content: bytes,
    dtype: str = "float32",
    shapes: dict[str, Any] | None = None,
) -> Path:
    """Write engine and manifest of a bundle."""
    folder.mkdir()
    (folder / "engine.trt").write_bytes(content)
    text = json.dumps(manifest(content, dtype, shapes))
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    return folder
