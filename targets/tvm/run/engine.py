"""The engine of a bundle, loaded by the TVM runtime: tvm_ffi and libtvm_runtime.so."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

HERE = Path(__file__).resolve().parent

#: Generated code loads whole vectors from the start of a tensor: TVM's kAllocAlignment, in bytes.
ALIGNMENT = 64

#: How the runtime's threads wait: after so many looks for work they sleep, 50 us or less (it would
#: be 300000). And where they run: wherever this process may, as the system moves them (they would
#: be bound to the first processors of the machine, even where this process has others).
WAITING = {"TVM_THREAD_POOL_SPIN_COUNT": "100", "TVM_BIND_THREADS": "0"}


class Tensor(Protocol):
    """An input or output, as the manifest declares it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def aligned(tensor: Tensor) -> np.ndarray:
    """Return an array for the tensor whose data starts where the generated code assumes."""
    size = math.prod(tensor.shape) * tensor.dtype.itemsize
    room = np.empty(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(tensor.dtype).reshape(tensor.shape)


class Engine:
    """A loaded engine with its input buffers."""

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
        self._tensor_type = tvm_ffi.Tensor
        self._arguments = [tvm_ffi.from_dlpack(buffer) for buffer in self.buffers.values()]
        try:
            self.machine = tvm_ffi.load_module(str(file))["vm_load_executable"]()
            self.machine["vm_initialization"](1, 0, 2)  # kDLCPU, device 0, pooled allocator
            self._main = self.machine["main"]
        except AttributeError as error:
            raise RuntimeError(str(error)) from error

    def infer(self) -> Any:
        """Run once on what the buffers hold; returns the runtime's own tensors."""
        return self._main(*self._arguments)

    def run(self, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one compiled batch and return the outputs in the manifest's order."""
        for name, buffer in self.buffers.items():
            buffer[...] = piece[name]
        result = self.infer()
        tensors = [result] if isinstance(result, self._tensor_type) else list(result)
        return [np.from_dlpack(tensor).copy() for tensor in tensors]
