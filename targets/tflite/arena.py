"""The memory that TFLite's own planner allots to a model's tensors, measured in LiteRT.

It is asked for in a process of its own: what a wrong model does to the runtime stays there. There
is no call for the figure. The addresses of all tensors that are not constants tell it: the
planner puts them, and the kernels' own temporary tensors, into one piece of memory.
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
    constant, persistent = _apart(path)
    spans, kept = [], 0
    for detail in interpreter.get_tensor_details():
        index = detail["index"]
        try:
            array = interpreter.tensor(index)() if index not in constant else None
        except ValueError:
            continue  # a tensor that no kernel uses has no memory
        if array is None:
            continue
        if index in persistent:
            kept += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
            continue
        start = array.__array_interface__["data"][0]
        spans.append((start, start + array.nbytes))
    size = max(end for _, end in spans) - min(start for start, _ in spans) if spans else 0
    sys.stdout.write(f"{size + kept}\n")


def _apart(path: str) -> tuple[set[int], set[int]]:
    """Return the tensors that are not in the arena.

    They are those whose bytes are in the file, and what DEQUANTIZE makes of such: it is computed
    once and stays, in a second piece of memory.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(Path(path).read_bytes(), 0)
    graph = model.Subgraphs(0)
    constant = {
        index
        for index in range(graph.TensorsLength())
        if model.Buffers(graph.Tensors(index).Buffer()).DataLength() > 0
    }
    persistent = set()
    for index in range(graph.OperatorsLength()):
        node = graph.Operators(index)
        code = model.OperatorCodes(node.OpcodeIndex()).BuiltinCode()
        if code == schema.BuiltinOperator.DEQUANTIZE and node.Inputs(0) in constant:
            persistent.add(node.Outputs(0))
    return constant, persistent
