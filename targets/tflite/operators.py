"""The operators of a TFLite model as what decides about them sees them: plain data, in order.

A delegate's rules, its partitions and the reports on them need to know what is in a model, whether
it lies in a file or is still being written. Both are the same objects of the schema, read here.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

#: TensorType -> its name, as numpy writes it where numpy has it.
_DTYPES: Final[dict[int, str]] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}

_OPERATORS: Final[dict[int, str]] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}

#: Bits of one element; strings and resources have no fixed size.
_BITS: Final[Mapping[str, int]] = {
    "bool": 8, "int2": 2, "int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16,
    "float16": 16, "bfloat16": 16, "int32": 32, "uint32": 32, "float32": 32, "int64": 64,
    "uint64": 64, "float64": 64, "complex64": 64, "complex128": 128,
}  # fmt: skip

_UNKNOWN_TO_NUMPY: Final = ("int2", "int4", "uint4", "bfloat16")


@dataclasses.dataclass(frozen=True, eq=False)
class Operand:
    """A tensor of the model.

    Attributes:
        index: its number in the file, which no other tensor has.
        scales, zero_points: its quantization parameters: none, one, or one per channel.
        array: its elements if it is a constant; None for data.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    array: np.ndarray | None = None

    @property
    def is_constant(self) -> bool:
        return self.array is not None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return -(-self.size * _BITS.get(self.dtype, 0) // 8)

    @property
    def scale(self) -> float:
        """The one scale; 0 if there is none, as the runtime has it."""
        return self.scales[0] if len(self.scales) == 1 else 0.0

    @property
    def zero_point(self) -> int:
        return self.zero_points[0] if len(self.zero_points) == 1 else 0


@dataclasses.dataclass(frozen=True, eq=False)
class Operator:
    """One operator.

    Attributes:
        index: its place in the order of execution.
        name: of the builtin: ``CONV_2D``; ``CUSTOM`` for all others.
        inputs: None for an optional one that is absent.
        fields: of its options, named as in the schema's Python code: ``fusedActivationFunction``.
    """

    index: int
    name: str
    version: int
    inputs: tuple[Operand | None, ...]
    outputs: tuple[Operand, ...]
    fields: Mapping[str, Any]

    @property
    def label(self) -> str:
        """How a report names it: TFLite's operators have no names, but their results have."""
        return self.outputs[0].name if self.outputs else f"{self.name}_{self.index}"

    def input(self, index: int) -> Operand | None:
        """Return an input; None if it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """The operators in the order of execution, with what goes into the model and comes out."""

    operators: tuple[Operator, ...]
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]

    def readers(self, operand: Operand) -> tuple[Operator, ...]:
        """Return the operators that read a tensor."""
        return tuple(self._readers.get(operand.index, ()))

    def producer(self, operand: Operand) -> Operator | None:
        """Return the operator that makes a tensor; None for inputs of the model and constants."""
        return self._producers.get(operand.index)

    @functools.cached_property
    def _readers(self) -> dict[int, list[Operator]]:
        found: dict[int, list[Operator]] = {}
        for operator in self.operators:
            for index in dict.fromkeys(item.index for item in operator.inputs if item is not None):
                found.setdefault(index, []).append(operator)
        return found

    @functools.cached_property
    def _producers(self) -> dict[int, Operator]:
        return {item.index: operator for operator in self.operators for item in operator.outputs}


def read(data: bytes) -> Graph:
    """Return the graph of a TFLite file that we wrote: that of its first subgraph."""
    return graph_of(schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0)))


def graph_of(model: Any) -> Graph:
    """Return the graph of a ModelT, the first subgraph, before or after it is written."""
    subgraph = model.subgraphs[0]
    operands = [
        _operand(index, tensor, model.buffers) for index, tensor in enumerate(subgraph.tensors)
    ]
    operators = []
    for index, item in enumerate(subgraph.operators):
        code = model.operatorCodes[item.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        operators.append(
            Operator(
                index,
                _OPERATORS[builtin],
                code.version,
                tuple(operands[number] if number >= 0 else None for number in item.inputs),
                tuple(operands[number] for number in item.outputs),
                vars(item.builtinOptions) if item.builtinOptions is not None else {},
            )
        )
    return Graph(
        tuple(operators),
        tuple(operands[number] for number in subgraph.inputs),
        tuple(operands[number] for number in subgraph.outputs),
    )


def _operand(index: int, tensor: Any, buffers: list[Any]) -> Operand:
    shape = tuple(int(size) for size in tensor.shape) if tensor.shape is not None else ()
    dtype, content = _DTYPES[tensor.type], buffers[tensor.buffer].data
    array = None
    if content is not None and np.size(content):
        # Bytes in a file; elements of any dtype, or one alone, in what is still being written.
        array = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
        if dtype in _BITS and dtype not in _UNKNOWN_TO_NUMPY:
            array = array.view(np.dtype(dtype)).reshape(shape)
    found = tensor.quantization
    scales, zeros = (
        () if numbers is None else tuple(item.item() for item in np.asarray(numbers))
        for numbers in ((found.scale, found.zeroPoint) if found is not None else (None, None))
    )
    name = tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name)
    return Operand(index, name, shape, dtype, scales, zeros, array)
