"""The process that TVM and NVRTC compile in; as `targets.tvm.compiler_process`, for a GPU.

python -m tapeout.targets.tvm.cuda.compiler_process
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm

from ....errors import TapeoutError
from ..build import KERNELS
from ..compiler_process import main
from . import library, nvrtc
from .build import CONTENT, PROGRAM
from .compile import Compiled, compile_model
from .memory import memory_of


def _write_objects(compiled: Compiled, folder: Path) -> None:
    """Write what the host runs as an object file, and all else with the assembly that embeds it."""

    def pack(module: tvm.runtime.Module, *_: Any) -> str:
        packed = tvm.get_global_func("runtime.ModulePackImportsToTensor")(module)
        content = library.compiled(
            packed.numpy().tobytes(),
            kernels(module),
            lambda source: nvrtc.compile_kernels(source, str(compiled.target.attrs["arch"])),
        )
        (folder / CONTENT).write_bytes(content)
        (folder / PROGRAM).write_text(library.assembly(CONTENT), encoding="ascii")
        return PROGRAM

    def rename(_: str, objects: Sequence[str], **__: Any) -> None:
        on_host, _program = objects
        Path(on_host).replace(folder / KERNELS)

    rename.object_format = "o"  # type: ignore[attr-defined]  # how TVM learns the kind of file
    compiled.executable.export_library(
        "", fcompile=rename, fpack_imports=pack, workspace_dir=str(folder)
    )


def kernels(module: tvm.runtime.Module) -> str:
    """Return the CUDA source of a module's kernels, wherever it imports them."""
    if module.kind == "cuda":
        return str(module.inspect_source("cuda"))
    found = [text for imported in module.imports if (text := kernels(imported))]
    if len(found) > 1:
        raise TapeoutError("TVM made several modules of kernels where one was expected")
    return found[0] if found else ""


if __name__ == "__main__":
    # Where there is a driver TVM would compile the kernels itself, in ways of its own.
    os.environ["TVM_COMPILE_FORCE_FALLBACK"] = "1"
    main(
        Path.cwd(),
        lambda model, request: compile_model(model, request.toolchain),
        _write_objects,
        memory_of,
    )
