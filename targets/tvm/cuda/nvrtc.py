"""NVRTC, NVIDIA's compiler as a library: from CUDA source to the binary of one GPU, without a GPU.

It and the headers come from PyPI. It reads no file but those, and leaves no path and no time in
what it makes: the same source gives the same bytes.
"""

from __future__ import annotations

import ctypes
from importlib import metadata
from pathlib import Path
from typing import Final

from ....errors import Problem, TapeoutError

#: What has to be installed, in the versions that the extra ``cuda`` pins.
COMPILER: Final = "nvidia-cuda-nvrtc"
HEADERS: Final = "nvidia-cuda-runtime"
STANDARD_HEADERS: Final = "nvidia-cuda-cccl"
PACKAGES: Final = (COMPILER, HEADERS, STANDARD_HEADERS)

_ROOT: Final = "nvidia/cu13"
_LIBRARY: Final = "libnvrtc.so.13"

#: NVRTC looks this one up by its name, which finds it where it is loaded already.
_BUILTINS: Final = "libnvrtc-builtins.so.13.0"

#: Functions without a qualifier are the device's; warnings tell of TVM's code, not of the user's.
_OPTIONS: Final = ("--std=c++17", "-default-device", "-w")

_SUCCESS: Final = 0
_TAIL: Final = 20  # lines of the compiler's log that are shown


def compile_kernels(source: str, architecture: str) -> bytes:
    """Return the cubin (an ELF file of the GPU's machine code) of CUDA source.

    Args:
        architecture: of the GPU: ``sm_90``.

    Raises:
        TapeoutError: NVRTC refuses it; shows what it says.
    """
    library = _load()
    program = ctypes.c_void_p()
    text = source.encode()
    created = library.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None)
    _require(library, created, "creating a program")
    try:
        options = [f"--gpu-architecture={architecture}", *_OPTIONS, *_includes()]
        given = (ctypes.c_char_p * len(options))(*map(str.encode, options))
        if library.nvrtcCompileProgram(program, len(options), given) != _SUCCESS:
            said = _read(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            lines = said.strip().splitlines()[:_TAIL]
            raise TapeoutError(
                f"NVRTC does not compile the kernels for {architecture}",
                [Problem("", line) for line in lines],
            )
        return _read(library, program, "CUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _load() -> ctypes.CDLL:
    folder = _folder(COMPILER) / "lib"
    ctypes.CDLL(str(folder / _BUILTINS), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(folder / _LIBRARY))


def _includes() -> list[str]:
    return [f"-I{_folder(HEADERS) / 'include'}", f"-I{_folder(STANDARD_HEADERS) / 'include/cccl'}"]


def _folder(package: str) -> Path:
    return Path(str(metadata.distribution(package).locate_file(_ROOT)))


def _read(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _require(library, library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)), what)
    content = ctypes.create_string_buffer(size.value)
    _require(library, library[f"nvrtcGet{what}"](program, content), what)
    return content.raw


def _require(library: ctypes.CDLL, result: int, what: str) -> None:
    if result != _SUCCESS:
        tell = library.nvrtcGetErrorString
        tell.restype = ctypes.c_char_p
        raise TapeoutError(f"NVRTC fails at {what}", [Problem("", tell(result).decode())])
