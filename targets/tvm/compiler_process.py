"""The process that TVM compiles in: reads a model from its folder, writes objects to link there.

    python -m tapeout.targets.tvm.compiler_process

`build` writes what this reads and reads what this writes. A model that TVM does not take is an
answer (`build.REFUSAL`), not a failure.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import onnx_ir as ir

from ...errors import ModelError
from .build import BLOCK, KERNELS, MEMORY, MODEL, REFUSAL, REQUEST, WORKLOADS, Memory, Request
from .compile import Compiled, compile_model, workloads_of
from .memory import memory_of

#: What a compiler makes of a model.
T = TypeVar("T")


def main(
    folder: Path,
    compile_: Callable[[ir.Model, Request], T],
    write: Callable[[T, Path], None],
    memory_of: Callable[[T, int], Memory],
) -> None:
    """Answer the request in a folder.

    Args:
        compile_: given the model and what it is for.
        write: writes the objects into the folder.
        memory_of: says what the engine needs on so many threads.
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


def _compile(model: ir.Model, request: Request) -> Compiled:
    return compile_model(model, request.toolchain, request.core, steps=request.steps)


def _write(compiled: Compiled, folder: Path) -> None:
    """Write the machine code as an object file, the weights, and what can be tuned."""
    compiled.library.write_to_file(str(folder / KERNELS), "o")
    compiled.program.weights.tofile(folder / BLOCK)
    (folder / WORKLOADS).write_text(json.dumps(workloads_of(compiled.program)), encoding="utf-8")


if __name__ == "__main__":
    main(Path.cwd(), _compile, _write, memory_of)
