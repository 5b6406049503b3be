"""The memory that TFLite's own planner allots to a model's tensors, measured in LiteRT.

It is asked for in a process of its own: what a wrong model does to the runtime stays there. There
is no call for the figure. The addresses of all tensors that are not constants tell it: the
planner puts them, and the kernels' own temporary tensors, into one piece of memory, and into a
second one what is computed once and stays, such as float32 weights that DEQUANTIZE makes. It
leaves no gaps: each tensor starts where the piece does, or where another one ends.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ...errors import ModelError, Problem

#: Tensors start at multiples of so many bytes.
_ALIGNMENT = 64

_TIMEOUT = 600.0


def arena_of(model: Path) -> int:
    """Return the bytes of the arena of the builtin kernels; a delegate may need more, or less.

    Raises:
        ModelError: LiteRT does not take the model; quotes its message.
    """
    program = f"from {__name__} import main; main({str(model)!r})"
    command = [sys.executable, "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        what = f"exit code {done.returncode}" if done.returncode > 0 else "it crashed"
        raise ModelError("LiteRT does not take the model", [Problem("", what), *_problems(lines)])
    return int(done.stdout)


def _problems(lines: list[str]) -> list[Problem]:
    return [Problem("LiteRT", line) for line in lines]


def main(path: str) -> None:
    """Print the bytes of the arena of a file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=path, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    stored = _stored(path)
    spans = []
    for detail in interpreter.get_tensor_details():
        index = detail["index"]
        try:
            array = interpreter.tensor(index)() if index not in stored else None
        except ValueError:
            continue  # a tensor that no kernel uses has no memory
        if array is not None and array.nbytes:
            start = array.__array_interface__["data"][0]
            spans.append((start, start + array.nbytes))
    sys.stdout.write(f"{_covered(spans)}\n")


def _covered(spans: list[tuple[int, int]]) -> int:
    """Return how many bytes lie in one of the spans at least, up to the next tensor's start."""
    size, reached = 0, 0
    for start, end in sorted(spans):
        end = -(-end // _ALIGNMENT) * _ALIGNMENT
        size += max(0, end - max(start, reached))
        reached = max(reached, end)
    return size


def _stored(path: str) -> set[int]:
    """Return the tensors whose bytes are in the file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(Path(path).read_bytes(), 0)
    graph = model.Subgraphs(0)
    return {
        index
        for index in range(graph.TensorsLength())
        if model.Buffers(graph.Tensors(index).Buffer()).DataLength() > 0
    }
