"""The engine of a bundle, loaded by the TVM runtime and run on an NVIDIA GPU.

Not yet run on such a card: only against the same runtime's memory of the host. It needs tvm_ffi,
libtvm_runtime.so, libtvm_runtime_cuda.so, CUDA's own libcudart.so.13 and the driver.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

HERE = Path(__file__).resolve().parent

#: DLPack's numbers of the devices, and those of a pooled allocator and of two attributes in TVM.
CPU, CUDA = 1, 2
POOLED = 2
EXISTS, CAPABILITY = 0, 4

#: What of CUDA the runtime is linked against, and the package that has it.
CUDART = "libcudart.so.13"
CUDART_PACKAGE = "nvidia-cuda-runtime"

#: The driver that CUDA 13 needs, on Linux (CUDA Toolkit Release Notes, table of drivers).
DRIVER = "NVIDIA driver 580 or newer"


class Tensor(Protocol):
    """An input or output, as the manifest declares it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class UnfitError(RuntimeError):
    """Why an engine is not given to the runtime: see `run.Engine` for the attributes."""

    code = 6

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("it is not for this machine, or not what was compiled")
        self.problems = problems


class Engine:
    """A loaded engine with the memory of its inputs on the GPU.

    `infer` computes on what lies there. `run` copies inputs and outputs.
    """

    def __init__(
        self,
        file: Path,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        threads: int | None,
        device: int = CUDA,
    ) -> None:
        """Check the file and the GPU, then load it.

        Raises:
            ImportError: a library, the driver or a GPU is missing.
            UnfitError: the file is not the manifest's engine, or not for this GPU.
            RuntimeError: the runtime does not take it.
        """
        self._ffi = load_runtime(device)
        self._device = self._ffi.device(device, 0)
        problems = damage(file)
        if device == CUDA:
            problems += wrong_gpu(
                file, str(self._call("runtime.GetDeviceAttr", CUDA, 0, CAPABILITY))
            )
        if problems:
            raise UnfitError(problems)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._buffers = {item.name: self._room(item) for item in inputs}
        try:
            machine = self._ffi.load_module(str(file))["vm_load_executable"]()
            machine["vm_initialization"](device, 0, POOLED, CPU, 0, POOLED)
            self._main = machine["main"]
        except AttributeError as error:
            raise RuntimeError(str(error)) from error

    def infer(self) -> Any:
        """Run once on what lies on the GPU, and wait for the end; returns the runtime's tensors."""
        result = self._main(*self._buffers.values())
        self._call("runtime.Device_StreamSync", self._device, 0)
        return result

    def run(self, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one compiled batch and return the outputs in the manifest's order."""
        for item in self._inputs:
            array = np.ascontiguousarray(piece[item.name])
            self._copy("FromBytes", self._buffers[item.name], array)
        result = self.infer()
        tensors = [result] if isinstance(result, self._ffi.Tensor) else list(result)
        if len(tensors) != len(self._outputs):
            declared = len(self._outputs)
            raise RuntimeError(f"it gives {len(tensors)} outputs, the manifest declares {declared}")
        arrays = [np.empty(tuple(tensor.shape), str(tensor.dtype)) for tensor in tensors]
        for tensor, array in zip(tensors, arrays, strict=True):
            self._copy("ToBytes", tensor, array)
        return arrays

    def _room(self, item: Tensor) -> Any:
        """Return memory on the device for one tensor."""
        shape = self._ffi.Shape(item.shape)
        dtype = self._ffi.dtype(item.dtype.name)
        return self._call("runtime.TVMTensorAllocWithScope", shape, dtype, self._device, None)

    def _copy(self, way: str, tensor: Any, array: np.ndarray) -> None:
        """Copy between an array and a tensor of its size on the device; returns when it is done."""
        address = ctypes.c_void_p(array.ctypes.data)
        self._call(f"runtime.TVMTensorCopy{way}", tensor, address, array.nbytes)

    def _call(self, function: str, *arguments: Any) -> Any:
        return self._ffi.get_global_func(function)(*arguments)


def load_runtime(device: int) -> Any:
    """Return tvm_ffi with the libraries for a device; raises ImportError where one is missing."""
    # tvm_ffi imports torch where there is one: seconds and memory that nothing here needs.
    sys.modules.setdefault("torch", cast(Any, None))  # None makes an import fail
    try:
        import tvm_ffi
        from tvm_ffi.libinfo import load_lib_ctypes

        load_lib_ctypes("apache-tvm", "tvm_runtime", "RTLD_GLOBAL", [HERE])
        if device == CUDA:
            ctypes.CDLL(cudart(), mode=ctypes.RTLD_GLOBAL)
            load_lib_ctypes("apache-tvm", "tvm_runtime_cuda", "RTLD_GLOBAL", [HERE])
            if not tvm_ffi.get_global_func("runtime.GetDeviceAttr")(CUDA, 0, EXISTS):
                raise ImportError(f"there is no NVIDIA GPU; it needs one, and {DRIVER}")
    except (RuntimeError, OSError) as error:
        raise ImportError(f"{error} ({DRIVER} is needed)") from error
    return tvm_ffi


def cudart() -> str:
    """Return CUDA's runtime library: that of the package from PyPI, else the system's."""
    try:
        folder = metadata.distribution(CUDART_PACKAGE).locate_file("nvidia/cu13/lib")
    except metadata.PackageNotFoundError:
        return CUDART
    return os.fspath(Path(str(folder)) / CUDART)


def damage(file: Path) -> list[str]:
    """Return in what a file is not the engine that the manifest beside it describes."""
    artifact = next(item for item in _manifest(file)["artifacts"] if item["path"] == file.name)
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if (len(content), digest) == (artifact["size"], artifact["sha256"]):
        return []
    told = f"the manifest says {artifact['size']} and {artifact['sha256']}"
    return [f"the file has {len(content)} bytes and sha256 {digest}, {told}"]


def wrong_gpu(file: Path, capability: str) -> list[str]:
    """Return why a GPU cannot run the engine; empty: it can.

    A binary runs on GPUs of the same major compute capability, and of no smaller minor one.
    """
    manifest = _manifest(file)
    wanted = str(manifest["device"]["profile"]["gpu"]["capability"])
    (major, minor), (own, least) = (
        tuple(map(int, text.split("."))) for text in (capability, wanted)
    )
    if major == own and minor >= least:
        return []
    command = f"tapeout compile {manifest['model']['file']} --device NAME"
    return [
        f"this GPU has compute capability {capability}, the engine is for {wanted}",
        f"compile it for this GPU: {command} (`tapeout devices --kind gpu` lists the names)",
    ]


def _manifest(file: Path) -> Any:
    return json.loads((file.parent / "manifest.json").read_text(encoding="utf-8"))
