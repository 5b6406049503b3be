"""The process that TVM compiles in: reads a model from its folder, writes objects to link there.

    python -m tapeout.targets.tvm.compiler_process

`build` writes what this reads and reads what this writes. A model that TVM does not take is an
answer (`build.REFUSAL`), not a failure.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from ...errors import ModelError
from .build import CPU, MEMORY, MODEL, REFUSAL, REQUEST, WORKLOADS, Request
from .compile import Compiled, compile_model, workloads_of
from .memory import memory_of


def main(
    folder: Path,
    compile_: Callable[[ir.Model, Request], Compiled],
    write: Callable[[Compiled, Path], None],
) -> None:
    """Answer the request in a folder.

    Args:
        compile_: given the model and what it is for.
        write: writes the objects into the folder.
    """
    request = Request.model_validate_json((folder / REQUEST).read_bytes())
    try:
        compiled = compile_(ir.load(folder / MODEL), request)
    except ModelError as error:
        problems = [dataclasses.asdict(problem) for problem in error.problems]
        refusal = {"summary": error.summary, "problems": problems}
        (folder / REFUSAL).write_text(json.dumps(refusal), encoding="utf-8")
        return
    write(compiled, folder)
    memory = dataclasses.asdict(memory_of(compiled, request.threads))
    (folder / MEMORY).write_text(json.dumps(memory), encoding="utf-8")
    (folder / WORKLOADS).write_text(json.dumps(workloads_of(compiled)), encoding="utf-8")


def _compile(model: ir.Model, request: Request) -> Compiled:
    return compile_model(model, request.toolchain, request.core)


def _write_objects(compiled: Compiled, folder: Path) -> None:
    """Write the kernels, and the program with its weights, as object files."""

    def rename(_: str, objects: Sequence[str], **__: Any) -> None:
        for written, name in zip(objects, CPU.objects, strict=True):
            Path(written).replace(folder / name)

    rename.object_format = "o"  # type: ignore[attr-defined]  # how TVM learns the kind of file
    compiled.executable.export_library("", fcompile=rename, workspace_dir=str(folder))


if __name__ == "__main__":
    main(Path.cwd(), _compile, _write_objects)
