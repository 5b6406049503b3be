"""The engine of a bundle, loaded by TensorRT for RTX and run on the first GPU that it serves.

It has been run by a recording stand-in for the two libraries only, not yet on a GPU.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import fit

#: The driver that CUDA 13 needs, on Linux (CUDA Toolkit Release Notes, table of drivers).
DRIVER = "NVIDIA driver 580 or newer"

#: What precedes and follows the inference in `Engine.time`, in order.
STEPS = ("inputs to the GPU", "inference", "outputs to the host")


class Tensor(Protocol):
    """An input or output, as the manifest declares it."""

    name: str
    dtype: np.dtype[Any]


class UnfitError(RuntimeError):
    """Why an engine is not given to the runtime: see `run.Engine` for the attributes."""

    code = 6

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("it is not for this machine, or not what was compiled")
        self.problems = problems


class ShapeError(RuntimeError):
    """Which input shapes no optimization profile holds."""

    code = 2


class Cuda:
    """CUDA's runtime API: what `cuda.bindings.runtime` has, failures as exceptions."""

    def __init__(self, driver: str = DRIVER) -> None:
        """Raise ImportError where the package, the driver or a GPU is missing.

        Args:
            driver: what driver it needs, in words.
        """
        self._api = importlib.import_module("cuda.bindings.runtime")
        try:
            self.count: int = self("cudaGetDeviceCount")
        except RuntimeError as error:
            raise ImportError(f"CUDA does not start ({error}): it needs a GPU, {driver}") from error

    def __call__(self, function: str, *arguments: Any) -> Any:
        """Call a function by name, return its first result; raises RuntimeError if it fails."""
        error, *results = getattr(self._api, function)(*arguments)
        if error != self._api.cudaError_t.cudaSuccess:
            _, text = self._api.cudaGetErrorString(error)
            raise RuntimeError(f"{function}: {text.decode()}")
        return results[0] if results else None

    def gpus(self) -> list[fit.Gpu]:
        """Return the GPUs that the driver shows (CUDA_VISIBLE_DEVICES hides some)."""
        kinds = self._api.cudaDeviceAttr
        version = (
            kinds.cudaDevAttrComputeCapabilityMajor,
            kinds.cudaDevAttrComputeCapabilityMinor,
        )
        found = []
        for index in range(self.count):
            name = self("cudaGetDeviceProperties", index).name.decode()
            numbers = (self("cudaDeviceGetAttribute", kind, index) for kind in version)
            found.append(fit.Gpu(index, name, ".".join(map(str, numbers))))
        return found

    def copy(self, target: int, source: int, size: int, way: str, stream: Any) -> None:
        """Copy bytes, `way` being HostToDevice or DeviceToHost, in the order of a stream."""
        kind = getattr(self._api.cudaMemcpyKind, f"cudaMemcpy{way}")
        self("cudaMemcpyAsync", target, source, size, kind, stream)


@dataclasses.dataclass
class Buffer:
    """Memory for one tensor, on the GPU and, page-locked, in the host; it grows as it must."""

    cuda: Cuda
    size: int = 0
    device: int = 0
    host: int = 0

    def reserve(self, size: int) -> None:
        """Hold `size` bytes at least."""
        if self.size >= size and self.device:
            return
        if self.device:
            self.cuda("cudaFree", self.device)
            self.cuda("cudaFreeHost", self.host)
        self.size = max(size, 1)  # a tensor without elements needs an address, too
        self.device = self.cuda("cudaMalloc", self.size)
        self.host = self.cuda("cudaMallocHost", self.size)

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return the host's memory as an array."""
        raw = memoryview((ctypes.c_ubyte * self.size).from_address(self.host))
        return np.frombuffer(raw, dtype, int(np.prod(shape))).reshape(shape)


class Engine:
    """A loaded engine, with its memory and a stream on the GPU; they live as long as the process.

    `infer` computes on what lies on the GPU. `run` copies inputs and outputs.
    """

    #: The library that loads it, in words.
    library = "TensorRT-RTX"

    def __init__(
        self, file: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor], threads: int | None
    ) -> None:
        """Check the file and the machine, then load it.

        Raises:
            ImportError: a package, the driver or a GPU is missing.
            UnfitError: the file is not the manifest's engine, or not for this machine.
            RuntimeError: the runtime does not load it, or it has other tensors than the manifest.
        """
        content, self._trt, self._cuda, gpu = self._open(file)
        self._cuda("cudaSetDevice", gpu.index)
        self._stream = self._cuda("cudaStreamCreate")
        self._free: int = self._cuda("cudaMemGetInfo")
        self._log = _logger(self._trt)
        self._runtime = self._trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise RuntimeError(_last(self._log, f"{self.library} does not take it"))
        strategy = self._trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        self._context = self._engine.create_execution_context(strategy)
        if self._context is None:
            raise RuntimeError(_last(self._log, "it gets no execution context"))
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._require_tensors()
        self._buffers = {item.name: Buffer(self._cuda) for item in (*inputs, *outputs)}
        self._events = [self._cuda("cudaEventCreate") for _ in range(len(STEPS) + 1)]
        self._profile = 0
        self._bound: dict[str, tuple[int, ...]] | None = None

    def _open(self, file: Path) -> tuple[bytes, Any, Cuda, fit.Gpu]:
        """Return a checked engine, both libraries, and the GPU to run on; see `__init__`."""
        content = _content(file)
        record = fit.Record.read(file.with_name("manifest.json"), file.name)
        return content, *_prepared(record, content)

    def infer(self) -> None:
        """Run once more on the inputs that lie on the GPU, and wait for the end."""
        self._enqueue()
        self._cuda("cudaStreamSynchronize", self._stream)

    def run(self, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one batch and return copies of the outputs in the manifest's order."""
        self._bind({item.name: piece[item.name].shape for item in self._inputs})
        for item in self._inputs:
            np.copyto(self._view(item), piece[item.name])
        self._send()
        self._enqueue()
        self._fetch()
        self._cuda("cudaStreamSynchronize", self._stream)
        return [self._view(item).copy() for item in self._outputs]

    def time(self) -> dict[str, float]:
        """Run once more; return the seconds of `STEPS` and, as "latency", of all three.

        By CUDA events in the stream: the copies are to and from page-locked memory.
        """
        calls = (self._send, self._enqueue, self._fetch)
        self._cuda("cudaEventRecord", self._events[0], self._stream)
        for call, event in zip(calls, self._events[1:], strict=True):
            call()
            self._cuda("cudaEventRecord", event, self._stream)
        self._cuda("cudaEventSynchronize", self._events[-1])
        pairs = zip(STEPS, self._events, self._events[1:], strict=False)
        steps = {step: self._elapsed(start, end) for step, start, end in pairs}
        return {"latency": self._elapsed(self._events[0], self._events[-1]), **steps}

    def memory(self) -> dict[str, int]:
        """Return bytes on the GPU: what the engine asks for, and what the driver counts.

        The driver's count is that of all programs: others may change it at the same time.
        """
        return {
            "weights": self._weights(),
            f"activations (optimization profile {self._profile})": (
                self._engine.get_device_memory_size_for_profile_v2(self._profile)
            ),
            "inputs and outputs": sum(buffer.size for buffer in self._buffers.values()),
            "taken in all": self._free - self._cuda("cudaMemGetInfo"),
        }

    def _weights(self) -> int:
        return int(self._engine.get_engine_stat(self._trt.EngineStat.TOTAL_WEIGHTS_SIZE))

    def _require_tensors(self) -> None:
        """Raise RuntimeError where the engine's inputs and outputs are not the manifest's."""
        names = map(self._engine.get_tensor_name, range(self._engine.num_io_tensors))
        found = sorted(
            (name, self._engine.get_tensor_mode(name).name, self._dtype(name)) for name in names
        )
        wanted = sorted(
            (item.name, mode, item.dtype.name)
            for mode, items in (("INPUT", self._inputs), ("OUTPUT", self._outputs))
            for item in items
        )
        if found != wanted:
            raise RuntimeError(f"its tensors are {found}, the manifest declares {wanted}")

    def _dtype(self, name: str) -> str:
        """Return the dtype of a tensor, as NumPy names it."""
        kind = self._engine.get_tensor_dtype(name)
        try:
            return str(np.dtype(self._trt.nptype(kind)).name)
        except TypeError:
            return str(kind.name)

    def _bind(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Give every tensor its shape and its memory."""
        if shapes == self._bound:
            return
        self._bound = None  # whatever fails below
        if any(-1 in tuple(self._engine.get_tensor_shape(name)) for name in shapes):
            self._profile = self._profile_for(shapes)
            stream = int(self._stream)
            ready = self._context.set_optimization_profile_async(self._profile, stream)
            self._require(ready, f"optimization profile {self._profile} cannot be set")
            for name, shape in shapes.items():
                given = self._context.set_input_shape(name, shape)
                self._require(given, f"the shape {list(shape)} of {name!r} cannot be set")
        for item in (*self._inputs, *self._outputs):
            buffer = self._buffers[item.name]
            buffer.reserve(int(np.prod(self._shape(item))) * item.dtype.itemsize)
            known = self._context.set_tensor_address(item.name, buffer.device)
            self._require(known, f"{item.name!r} cannot be given memory")
        self._bound = shapes

    def _profile_for(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return the optimization profile that holds shapes; of several the narrowest."""
        fitting = []
        for index in range(self._engine.num_optimization_profiles):
            ranges = {name: self._range(name, index) for name in shapes}
            if all(_within(shape, *ranges[name]) for name, shape in shapes.items()):
                room = sum(int(np.prod(most)) for _, most in ranges.values())
                fitting.append((room, index))
        if not fitting:
            raise ShapeError(
                "no optimization profile holds "
                + ", ".join(f"{name!r} {list(shape)}" for name, shape in shapes.items())
            )
        return min(fitting)[1]

    def _range(self, name: str, profile: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        least, _, most = self._engine.get_tensor_profile_shape(name, profile)
        return tuple(least), tuple(most)

    def _shape(self, item: Tensor) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(item.name))
        if any(dim < 0 for dim in shape):
            raise RuntimeError(f"the shape {list(shape)} of {item.name!r} is known too late")
        return shape

    def _view(self, item: Tensor) -> np.ndarray:
        return self._buffers[item.name].view(self._shape(item), item.dtype)

    def _send(self) -> None:
        for item in self._inputs:
            buffer, size = self._buffers[item.name], self._view(item).nbytes
            self._cuda.copy(buffer.device, buffer.host, size, "HostToDevice", self._stream)

    def _enqueue(self) -> None:
        self._require(self._context.execute_async_v3(int(self._stream)), "the inference fails")

    def _fetch(self) -> None:
        for item in self._outputs:
            buffer, size = self._buffers[item.name], self._view(item).nbytes
            self._cuda.copy(buffer.host, buffer.device, size, "DeviceToHost", self._stream)

    def _elapsed(self, start: Any, end: Any) -> float:
        return float(self._cuda("cudaEventElapsedTime", start, end)) / 1e3  # from milliseconds

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise RuntimeError(_last(self._log, what))


def _prepared(record: fit.Record, content: bytes) -> tuple[Any, Cuda, fit.Gpu]:
    """Return both libraries, and the GPU to run on, if everything fits; the engine is not loaded.

    Raises:
        ImportError: a package, the driver or a GPU is missing, and the file is as it should be.
        UnfitError: something does not fit; everything is listed.
    """
    problems = record.damage(content)
    gpus: list[fit.Gpu] = []
    try:
        trt = importlib.import_module("tensorrt_rtx")
        problems += record.wrong_version(trt.__version__)
        cuda = Cuda()
        gpus = cuda.gpus()
        problems += record.wrong_gpus(gpus)
    except ImportError as error:
        if not problems:
            raise
        problems.append(f"the runtime does not load: {error}")
    if problems:
        raise UnfitError([*problems, record.rebuild(gpus)])
    return trt, cuda, next(gpu for gpu in gpus if record.serves(gpu))


def _logger(trt: Any) -> Any:
    """Return a logger that keeps what goes wrong, as `lines`."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # whose class is known on the device only
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.lines.append(text)

    return Logger()


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnfitError([f"{file.name}: {error.strerror}"]) from error


def _last(log: Any, what: str) -> str:
    """Return what failed, with the library's last word on it."""
    return f"{what}: {log.lines[-1]}" if log.lines else what


def _within(shape: tuple[int, ...], least: tuple[int, ...], most: tuple[int, ...]) -> bool:
    if len(shape) != len(least):
        return False
    return all(low <= dim <= high for dim, low, high in zip(shape, least, most, strict=True))
