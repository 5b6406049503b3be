"""The engine of a bundle, loaded by the TVM runtime: tvm_ffi and libtvm_runtime.so."""

from __future__ import annotations

import functools
import math
import mmap
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

HERE = Path(__file__).resolve().parent

#: Generated code loads whole vectors from the start of a tensor: TVM's kAllocAlignment, in bytes.
ALIGNMENT = 64

#: What lies beside the engine: its constants, as they are in memory.
WEIGHTS = ".weights"

#: How the runtime's threads wait: after so many looks for work they sleep, 50 us or less (it would
#: be 300000). And where they run: wherever this process may, as the system moves them (they would
#: be bound to the first processors of the machine, even where this process has others).
WAITING = {"TVM_THREAD_POOL_SPIN_COUNT": "100", "TVM_BIND_THREADS": "0"}


class Tensor(Protocol):
    """An input or output, as the manifest declares it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def room(size: int) -> np.ndarray:
    """Return so many bytes that start where the generated code assumes."""
    found = np.empty(size + ALIGNMENT, np.uint8)
    start = -found.ctypes.data % ALIGNMENT
    return found[start : start + size]


def aligned(tensor: Tensor) -> np.ndarray:
    """Return an array for a tensor."""
    size = math.prod(tensor.shape) * tensor.dtype.itemsize
    return room(size).view(tensor.dtype).reshape(tensor.shape)


def mapped(file: Path, size: int) -> np.ndarray:
    """Return the bytes of a file, of which the system reads those that are needed.

    Raises:
        OSError: it cannot be read.
        RuntimeError: it has not the size.
    """
    with file.open("rb") as stream:
        found = stream.seek(0, os.SEEK_END)
        if found != size:
            raise RuntimeError(f"{file} has {found} bytes, the engine's weights are {size}")
        if not size:
            return room(0)  # there is no mapping of nothing
        # A copy on write, since DLPack had no arrays to read only before its version 1.
        return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)


class Engine:
    """A loaded engine with its input and output buffers.

    Attributes:
        buffers: the inputs, by name.
        library: its functions.
        arguments: what they take: inputs, outputs, weights and workspace.
    """

    def __init__(
        self, file: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor], threads: int | None
    ) -> None:
        """Load it; raises ImportError without the runtime, RuntimeError where it is broken."""
        count = {} if threads is None else {"TVM_NUM_THREADS": str(threads)}
        for name, value in {**count, **WAITING}.items():
            os.environ.setdefault(name, value)
        # tvm_ffi imports torch where there is one: seconds and memory that nothing here needs.
        sys.modules.setdefault("torch", cast(Any, None))  # None makes an import fail
        try:
            import tvm_ffi
            from tvm_ffi.libinfo import load_lib_ctypes

            load_lib_ctypes("apache-tvm", "tvm_runtime", "RTLD_GLOBAL", [HERE])
        except (RuntimeError, OSError) as error:
            raise ImportError(str(error)) from error
        self.buffers = {tensor.name: aligned(tensor) for tensor in inputs}
        self._outputs = list(map(aligned, outputs))
        try:
            self.library = library = tvm_ffi.load_module(str(file))
            weights = mapped(file.with_suffix(WEIGHTS), library["weights_size"]())
            workspace = room(library["workspace_size"]())
            arrays = [*self.buffers.values(), *self._outputs, weights, workspace]
            self.arguments = tuple(map(tvm_ffi.from_dlpack, arrays))
            self._infer = functools.partial(library["infer"], *self.arguments)
        except (AttributeError, OSError) as error:
            raise RuntimeError(str(error)) from error

    def infer(self) -> None:
        """Run once on what the buffers hold."""
        self._infer()

    def run(self, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one compiled batch and return the outputs in the manifest's order."""
        for name, buffer in self.buffers.items():
            buffer[...] = piece[name]
        try:
            self._infer()
        except (TypeError, ValueError) as error:  # the engine's own checks of what it is given
            raise RuntimeError(f"the engine is not what the manifest declares: {error}") from error
        return [output.copy() for output in self._outputs]
