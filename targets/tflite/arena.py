"""The memory that TFLite's own planner allots to a model's tensors, measured in LiteRT.

It is asked for in a process of its own: what a wrong model does to the runtime stays there. There
is no call for the figure. The addresses of all tensors that are not constants tell it: the
planner puts them, and the kernels' own temporary tensors, into one piece of memory, and into a
second one what is computed once and stays, such as float32 weights that DEQUANTIZE makes. It
leaves no gaps: each tensor starts where the piece does, or where another one ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from ...errors import ModelError, Problem

#: What measures: a program that imports LiteRT and nothing of ours, so that it starts fast.
_PROGRAM: Final = Path(__file__).resolve().with_name("arena_process.py")

#: Tensors start at multiples of so many bytes.
_ALIGNMENT: Final = 64

_TIMEOUT: Final = 600.0


def arena_of(model: Path) -> int:
    """Return the bytes of the arena of the builtin kernels; a delegate may need more, or less.

    Raises:
        ModelError: LiteRT does not take the model; quotes its message.
    """
    command = [sys.executable, "-I", "-B", str(_PROGRAM), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        what = f"exit code {done.returncode}" if done.returncode > 0 else "it crashed"
        raise ModelError("LiteRT does not take the model", [Problem("", what), *_problems(lines)])
    stored = _stored(model)
    spans = [(start, end) for index, start, end in json.loads(done.stdout) if index not in stored]
    return _covered(spans)


def _problems(lines: list[str]) -> list[Problem]:
    return [Problem("LiteRT", line) for line in lines]


def _covered(spans: list[tuple[int, int]]) -> int:
    """Return how many bytes lie in one of the spans at least, up to the next tensor's start."""
    size, reached = 0, 0
    for start, end in sorted(spans):
        end = -(-end // _ALIGNMENT) * _ALIGNMENT
        size += max(0, end - max(start, reached))
        reached = max(reached, end)
    return size


def _stored(path: Path) -> set[int]:
    """Return the tensors whose bytes are in the file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    return {
        index
        for index in range(graph.TensorsLength())
        if model.Buffers(graph.Tensors(index).Buffer()).DataLength() > 0
    }
