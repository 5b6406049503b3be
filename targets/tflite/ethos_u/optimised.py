"""What is in a file that Vela made: what is left to the CPU, and the memory that it planned.

TFLite Micro lays its tensors where the file's own plan says: the metadata
``OfflineMemoryAllocation``, whose int32 are a version, a subgraph, the number of tensors, and the
offset of each in the arena, -1 for constants (tensorflow/tflite-micro,
tensorflow/lite/micro/docs/memory_management.md).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ....errors import TapeoutError
from ..operators import Graph, Operand, Operator, graph_of

_PLAN: Final = b"OfflineMemoryAllocation"
_HEADER: Final = 3  # int32 before the offsets

#: The inputs of Vela's operator that are not the network's own (kernels/ethos_u/ethosu.cc): the
#: commands, the weights, the arena, and the NPU's own SRAM, which is the arena where it has none.
_ARENA: Final = 2
_FAST: Final = 3


@dataclasses.dataclass(frozen=True)
class Optimised:
    """An optimised file.

    Attributes:
        arena: bytes of the arena of tensors, as TFLite Micro lays it out by the file's plan.
        fast: bytes of SRAM that the NPU has to itself; 0 where it works in the arena.
    """

    graph: Graph
    arena: int
    fast: int

    @property
    def commands(self) -> tuple[Operator, ...]:
        """The operators that the NPU runs."""
        return tuple(item for item in self.graph.operators if item.name == "CUSTOM")

    @property
    def left(self) -> tuple[Operator, ...]:
        """The operators that the CPU runs."""
        return tuple(item for item in self.graph.operators if item.name != "CUSTOM")


def optimised(content: bytes) -> Optimised:
    """Return what is in the bytes of a file that Vela made.

    Raises:
        TapeoutError: there is no plan of its memory in it.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = graph_of(model)
    commands = [item for item in graph.operators if item.name == "CUSTOM"]
    return Optimised(graph, _arena(model, graph), max(map(_fast, commands), default=0))


def _fast(command: Operator) -> int:
    arena, fast = command.input(_ARENA), command.input(_FAST)
    return fast.bytes if fast is not None and fast is not arena else 0


def _arena(model: Any, graph: Graph) -> int:
    plans = [item for item in model.metadata or () if item.name == _PLAN]
    if not plans:
        raise TapeoutError("Vela left no plan of the memory in its file")
    words = np.asarray(model.buffers[plans[0].buffer].data, np.uint8).view(np.int32)
    offsets = words[_HEADER:].tolist()
    planned = [item for item in _operands(graph) if offsets[item.index] >= 0]
    return max((offsets[item.index] + item.bytes for item in planned), default=0)


def _operands(graph: Graph) -> tuple[Operand, ...]:
    """Return every tensor that an operator reads or makes, once."""
    found = {
        item.index: item
        for operator in graph.operators
        for item in (*operator.inputs, *operator.outputs)
        if item is not None
    }
    return tuple(found.values())
