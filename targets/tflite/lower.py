"""From the lowered model to a TFLite file, node by node.

What is integer: a node whose data comes out of DequantizeLinear and whose result goes into
QuantizeLinear computes on the int8 tensors themselves, if TFLite has such a kernel. The other
DequantizeLinear and QuantizeLinear become operators of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import ModelError, Problem
from ...lowering.clamps import clamp_of
from ...lowering.matching import array_of, halved, is_op, sole_user
from . import constraints, kernels
from .activations import activation_of
from .call import Call, Constant, NotSaidError, static
from .converters import CONVERTERS, FUSING
from .flatbuffer import Quantization, Writer
from .integers import STORED, integers, is_integer


def to_tflite(model: ir.Model, description: str = "tapeout") -> bytes:
    """Return the model as the bytes of a ``.tflite`` file.

    Inputs and outputs have the model's own names in the signature.

    Raises:
        ModelError: nodes cannot be said in TFLite; names them all, with the reasons.
    """
    lowering = _Lowering(model)
    if problems := lowering.problems():
        raise ModelError("TFLite does not take the model", problems)
    return lowering.finish(description)


def refusals(model: ir.Model) -> list[Problem]:
    """Return every reason why a model cannot be written, in the order of the graph."""
    return _Lowering(model).problems()


@dataclasses.dataclass(frozen=True)
class Unit:
    """Nodes that become one operator: `node`, and what is taken in behind it."""

    node: ir.Node
    results: tuple[ir.Value, ...]
    activation: str = "NONE"
    integer: bool = False


def units(model: ir.Model) -> list[Unit]:
    """Return what is converted, in graph order.

    Nodes that are taken in have no unit, nor has DequantizeLinear, nor a Cast of a half-precision
    constant: they become operators only where something reads their real numbers.
    """
    taken: set[ir.Node] = set()
    found = []
    for node in model.graph:
        if node in taken or is_op(node, "DequantizeLinear") or halved(node.outputs[0]) is not None:
            continue  # real numbers are made where they are asked for
        unit = _unit(node)
        for result in unit.results:
            last = result.producer()
            while last is not None and last is not node:
                taken.add(last)
                source = last.inputs[0]
                last = source.producer() if source is not None else None
        found.append(unit)
    return found


def _unit(node: ir.Node) -> Unit:
    """Take in an activation, and the QuantizeLinear that makes the node one on integers."""
    if is_op(node, "QuantizeLinear") or len(node.outputs) != 1:
        return _split(node)
    value, activation = node.outputs[0], "NONE"
    clip = sole_user(value)
    fused = _activation(clip) if clip is not None and node.op_type in FUSING else None
    if clip is not None and fused is not None:
        value, activation = clip.outputs[0], fused
    rounding = sole_user(value)
    if rounding is not None and is_op(rounding, "QuantizeLinear") and is_integer(node):
        return Unit(node, (rounding.outputs[0],), activation, integer=True)
    return Unit(node, (value,), activation)


def _split(node: ir.Node) -> Unit:
    """A node of several outputs, which passes integers on if it reads such; or QuantizeLinear."""
    results = tuple(node.outputs)
    users = [sole_user(value) for value in results]
    if all(is_op(user, "QuantizeLinear") for user in users) and is_integer(node):
        rounded = tuple(user.outputs[0] for user in users if user is not None)
        return Unit(node, rounded, integer=True)
    return Unit(node, results)


def _activation(node: ir.Node) -> str | None:
    found = clamp_of(node)
    if found is None or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    return activation_of(found[1])


class _Lowering:
    """Implements `call.Values` for one model."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._writer = Writer()
        self._tensors: dict[ir.Value, int] = {}
        self._parameters = _parameters(model)

    def problems(self) -> list[Problem]:
        """Write every node; return what cannot be written, or what no kernel computes."""
        graph = self._model.graph
        found = [
            Problem(f"input {value.name!r}", f"is {value.dtype}", "cast it before the network")
            for value in graph.inputs
            if value.dtype not in constraints.DTYPES
        ]
        if not found:
            for value in graph.inputs:
                self.tensor(value, integer=False)
        starting = {unit.node: unit for unit in units(self._model)}
        refused: set[ir.Node | None] = set()
        for node in graph:
            wrong = constraints.problems_of(node)
            unread = not found and refused.isdisjoint(_makers(node))
            if not wrong and unread and node in starting:
                wrong = [_problem(node, what) for what in self._written(starting[node])]
            if wrong:
                refused.add(node)
            found += wrong
        return found

    def _written(self, unit: Unit) -> Sequence[str]:
        """Write one unit; return what is wrong with it."""
        first = len(self._writer.calls)
        converter = CONVERTERS[unit.node.domain, unit.node.op_type]
        call = Call(unit.node, self._writer, self, unit.results, unit.integer, unit.activation)
        try:
            converter(call)
        except NotSaidError as error:
            return (str(error),)
        return kernels.refusals(self._writer, first)

    def finish(self, description: str) -> bytes:
        """Return the file, all nodes being written."""
        graph = self._model.graph
        outputs = {str(value.name): self._result(value) for value in graph.outputs}
        inputs = {str(value.name): self._tensors[value] for value in graph.inputs}
        return self._writer.finish(inputs, outputs, description)

    def tensor(self, value: ir.Value, *, integer: bool) -> int:
        """Return the tensor of a value; of the integers behind it if `integer`."""
        stored = integers(value) if integer else None
        if stored is not None:
            value = stored
        if value not in self._tensors:
            self._tensors[value] = self._made(value)
        return self._tensors[value]

    def _made(self, value: ir.Value) -> int:
        """Add the tensor of a value: a constant, reals that are stored shorter, or a plain one."""
        name, node = str(value.name), value.producer()
        stored = halved(value)
        if node is not None and is_op(node, "DequantizeLinear"):
            stored = node.inputs[0]
        found = self.constant(value) if stored is None else None
        if found is not None:
            return self._writer.constant(name, found.array, found.quantization)
        made = self._writer.tensor(
            name, static(value), _dtype_of(value), self._parameters.get(value)
        )
        if stored is not None:
            source = self.tensor(stored, integer=False)
            self._writer.operator("DEQUANTIZE", [source], [made], ("DequantizeOptions", {}))
        return made

    def constant(self, value: ir.Value) -> Constant | None:
        """Return a constant; behind a DequantizeLinear, or a Cast of halves, as it is stored."""
        node = value.producer()
        if node is not None and is_op(node, "DequantizeLinear"):
            array = array_of(node.inputs[0])
            return None if array is None else Constant(array, _quantization(node))
        array = array_of(halved(value) or value)
        return None if array is None else Constant(array, self._parameters.get(value))

    def _result(self, value: ir.Value) -> int:
        """Return the tensor of an output of the graph, which may be a constant or an input."""
        return self.tensor(value, integer=False)


def _parameters(model: ir.Model) -> dict[ir.Value, Quantization]:
    """Return what the integers of the graph mean, by value.

    What only moves integers gives what it gets the meaning of, or the other way round.
    """
    found: dict[ir.Value, Quantization] = {}
    nodes = list(model.graph)
    for node in nodes:
        if len(node.inputs) < 2 or array_of(node.inputs[1]) is None:
            continue
        if is_op(node, "QuantizeLinear"):
            found[node.outputs[0]] = _quantization(node)
        elif is_op(node, "DequantizeLinear") and node.inputs[0] is not None:
            found.setdefault(node.inputs[0], _quantization(node))
    for node in nodes:
        given = found.get(node.inputs[0]) if _moves(node) and node.inputs[0] is not None else None
        if given is not None:
            for value in node.outputs:
                found.setdefault(value, given)
    for node in reversed(nodes):
        wanted = found.get(node.outputs[0]) if _moves(node) else None
        if wanted is not None:
            for value in _moved(node):
                found.setdefault(value, wanted)
    return found


def _moves(node: ir.Node) -> bool:
    """Whether a node gives integers with one scale that it gets."""
    name = node.op_type.removesuffix("Nhwc").removesuffix("Nwc")
    return name in _MOVING and node.outputs[0].dtype in STORED


def _moved(node: ir.Node) -> Iterator[ir.Value]:
    inputs = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    yield from (value for value in inputs if value is not None)


#: Operators that give numbers that they get.
_MOVING: Final = frozenset(
    {
        "Clip", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherND", "Identity",
        "MaxPool", "Pad", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
        "Transpose", "Unsqueeze",
    }
)  # fmt: skip


def _quantization(node: ir.Node) -> Quantization:
    """Return the parameters of a QuantizeLinear or DequantizeLinear."""
    scale = array_of(node.inputs[1])
    if scale is None:
        raise NotSaidError("its scale is not a constant")
    zero = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    scale = scale.reshape(-1)
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.reshape(-1).astype(np.int64)
    rank = len(static(node.inputs[0]))
    axis = node.attributes.get_int("axis", 1) % max(1, rank) if len(scale) > 1 else 0
    return Quantization(scale.astype(np.float32), zeros, axis)


def _makers(node: ir.Node) -> Iterator[ir.Node | None]:
    """Yield the nodes that give what a node reads."""
    yield from (value.producer() for value in node.inputs if value is not None)


def _dtype_of(value: ir.Value) -> str:
    if value.dtype is None:
        raise NotSaidError(f"{value.name!r} has no dtype")
    return str(value.dtype.numpy())


def _problem(node: ir.Node, what: str) -> Problem:
    return Problem(f"node {node.name!r} ({node.op_type})", what)
