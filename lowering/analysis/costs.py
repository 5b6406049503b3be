"""What a model costs to run, whatever runs it: MACs, other arithmetic, bytes moved, parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import onnx_ir as ir

from ..provenance import origins
from .arithmetic import Work
from .operators import OPERATORS, Kind, kind_of, operator_of
from .tensors import (
    bodies_of,
    bytes_of,
    elements_of,
    inputs_of,
    op_of,
    outputs_of,
    require_static,
    shape_of,
)

_CONTROL = ("If", "Loop", "Scan")


@dataclasses.dataclass(frozen=True)
class NodeCost:
    """What one node costs when it runs by itself: every tensor is read and written once.

    Attributes:
        name: the node's name.
        op: the operator, with its domain if that is not ONNX's own.
        origins: the names of the nodes in the user's file that it stands for.
        shape: of the first output.
        macs: multiply-accumulates; taps on padding count.
        ops: all other arithmetic, in additions (`arithmetic.DIVISION`, `TRANSCENDENTAL`).
        bytes_read: activations and parameters read; a view reads and writes nothing.
        bytes_weights: the parameters among `bytes_read`.
        parameters: elements of the parameters that the node reads.
        known: False where `ops` is a guess of one per output element, for want of a rule.
    """

    name: str
    op: str
    kind: Kind
    origins: tuple[str, ...]
    shape: tuple[int, ...]
    macs: int
    ops: int
    bytes_read: int
    bytes_weights: int
    bytes_written: int
    parameters: int
    known: bool

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Costs:
    """The nodes of the main graph in its order, and their sums.

    A parameter is an initializer that is read while the model runs: one that only says a shape,
    axes or bounds is not. In the totals a parameter that several nodes share counts once.
    """

    nodes: tuple[NodeCost, ...]
    parameters: int
    bytes_parameters: int

    @property
    def macs(self) -> int:
        return sum(node.macs for node in self.nodes)

    @property
    def ops(self) -> int:
        return sum(node.ops for node in self.nodes)

    @property
    def bytes_read(self) -> int:
        return sum(node.bytes_read for node in self.nodes)

    @property
    def bytes_written(self) -> int:
        return sum(node.bytes_written for node in self.nodes)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The operators that no rule counts, each once, in the order of the graph."""
        return tuple(dict.fromkeys(node.op for node in self.nodes if not node.known))

    def to_json(self) -> dict[str, Any]:
        return {
            "nodes": [node.to_json() for node in self.nodes],
            "macs": self.macs,
            "ops": self.ops,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "parameters": self.parameters,
            "bytes_parameters": self.bytes_parameters,
            "unknown": list(self.unknown),
        }


def of(model: ir.Model) -> Costs:
    """Count the main graph of a checked, static model.

    Raises:
        ModelError: values without a static shape or an element type; all are named.
    """
    require_static(model.graph)
    held = parameters(model.graph)
    return Costs(
        tuple(_node_cost(node) for node in model.graph),
        sum(elements_of(value) for value in held),
        sum(bytes_of(value) for value in held),
    )


def parameters(graph: ir.Graph) -> list[ir.Value]:
    """Return the initializers of a graph and its bodies that are read while the model runs."""
    found: dict[ir.Value, None] = dict.fromkeys(
        value for value in graph.outputs if value.is_initializer()
    )
    for node in graph:
        found |= dict.fromkeys(value for value in traffic(node) if value.is_initializer())
        for body in bodies_of(node):
            found |= dict.fromkeys(parameters(body))
    return list(found)


def is_view(node: ir.Node) -> bool:
    """Return whether the node's only output is its input's bytes, in another shape or type.

    Besides Reshape and its kin: a Transpose that moves only dimensions of one element.
    """
    if len(outputs_of(node)) != 1:
        return False
    if op_of(node) != "Transpose":
        return operator_of(node).view
    shape = shape_of(node.inputs[0]) if node.inputs[0] is not None else ()
    permutation = node.attributes.get("perm")
    axes = permutation.as_ints() if permutation is not None else range(len(shape))[::-1]
    moved = [axis for axis in axes if shape[axis] != 1]
    return moved == sorted(moved)


def traffic(node: ir.Node) -> dict[ir.Value, int]:
    """Return the bytes that the node has to read of each input; settled inputs are left out."""
    operator, inputs = operator_of(node), inputs_of(node)
    position = {value: index for index, value in reversed(list(enumerate(node.inputs)))}
    most = sum(bytes_of(value) for value in outputs_of(node))
    return {
        value: min(bytes_of(value), most)
        if position.get(value) in operator.sparse
        else bytes_of(value)
        for value in inputs
        if position.get(value) not in operator.settled
    }


def work_of(node: ir.Node) -> tuple[Work, bool]:
    """Return the node's arithmetic, its bodies' included, and whether a rule counted all of it."""
    if op_of(node) not in _CONTROL:
        return operator_of(node).work(node), op_of(node) in OPERATORS
    bodies = [[work_of(inner) for inner in body] for body in bodies_of(node)]
    sums = [sum((work for work, _ in body), Work()) for body in bodies]
    known = all(known for body in bodies for _, known in body)
    if op_of(node) == "If":
        return max(sums, key=lambda work: (work.macs, work.ops), default=Work()), known
    times = _trips(node)
    return sum(sums, Work()) * (1 if times is None else times), known and times is not None


def _trips(node: ir.Node) -> int | None:
    """Return how often a loop's body runs; None where the model does not say."""
    if op_of(node) == "Loop":
        count = node.inputs[0]
        constant = count.const_value if count is not None else None
        return None if constant is None else int(constant.numpy().reshape(()))
    scanned = node.attributes["num_scan_inputs"].as_int()
    first, axes = node.inputs[-scanned], node.attributes.get("scan_input_axes")
    axis = axes.as_ints()[0] if axes is not None else 0
    return shape_of(first)[axis] if first is not None else None


def _node_cost(node: ir.Node) -> NodeCost:
    work, known = work_of(node)
    outputs = outputs_of(node)
    moved = {} if is_view(node) else traffic(node)
    weights = {value: size for value, size in traffic(node).items() if value.is_initializer()}
    return NodeCost(
        name=str(node.name),
        op=op_of(node),
        kind=kind_of(node),
        origins=origins(node),
        shape=shape_of(outputs[0]) if outputs else (),
        macs=work.macs,
        ops=work.ops,
        bytes_read=sum(moved.values()),
        bytes_weights=sum(size for value, size in weights.items() if value in moved),
        bytes_written=0 if is_view(node) else sum(bytes_of(value) for value in outputs),
        parameters=sum(elements_of(value) for value in weights),
        known=known,
    )
