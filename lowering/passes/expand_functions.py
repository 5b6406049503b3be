"""Take operators apart that ONNX defines by simpler ones."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from .. import provenance
from ..expansion import Expanded, NotFollowedError, expand
from ..matching import nodes_of


@dataclasses.dataclass(frozen=True)
class ExpandFunctions(ir.passes.InPlacePass):
    """Replace each of these operators by the ONNX function that defines it.

    Requires static shapes; what the definition computes from them is computed here. A node whose
    definition branches on data or loops stays as it is.

    Attributes:
        operators: their names, joined by ``+``.
    """

    operators: str = (
        "Attention+CenterCropPad+DynamicQuantizeLinear+NegativeLogLikelihoodLoss"
        "+RotaryEmbedding+SoftmaxCrossEntropyLoss"
    )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        wanted = set(self.operators.split("+"))
        opset = model.opset_imports[""]
        names = _Names(model)
        modified = False
        pending = [node for node in nodes_of(model) if _is_one_of(node, wanted)]
        for node in pending:
            try:
                expanded = expand(node, opset)
            except NotFollowedError:
                continue
            _put(node, expanded, names)
            # A definition may use another of these operators.
            pending += [step for step in expanded.nodes if _is_one_of(step, wanted)]
            modified = True
        return ir.passes.PassResult(model, modified)


def _is_one_of(node: ir.Node, operators: set[str]) -> bool:
    return node.domain == "" and node.op_type in operators


class _Names:
    """Names that are not in the model yet."""

    def __init__(self, model: ir.Model) -> None:
        self._taken: set[str] = set()
        for graph in model.graphs():
            self._taken.update(str(value.name) for value in graph.inputs)
            self._taken.update(graph.initializers)
            for node in graph:
                self._taken.update([str(node.name), *(str(value.name) for value in node.outputs)])

    def new(self, name: str) -> str:
        found, number = name, 1
        while found in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._taken.add(found)
        return found


def _put(node: ir.Node, expanded: Expanded, names: _Names) -> None:
    graph = node.graph
    if graph is None:
        return
    for step in expanded.nodes:
        step.name = names.new(f"{node.name}/{step.op_type}")
        for value in step.outputs:
            value.name = names.new(f"{node.name}/{value.name}") if value.name else ""
        for read in step.inputs:
            _register(graph, read, node, names)
        graph.insert_before(node, step)
        provenance.record(step, [node])
    for old, new in zip(node.outputs, expanded.outputs, strict=False):
        if new is not None:
            _register(graph, new, node, names)
            _stand_in(old, new, node, graph, names)
    graph.remove(node, safe=True)


def _stand_in(old: ir.Value, new: ir.Value, node: ir.Node, graph: ir.Graph, names: _Names) -> None:
    """Let `new` be what the node's output `old` was; an output of the graph keeps its name."""
    if old.is_graph_output():
        if new.producer() is None or new.producer() not in graph or new.is_graph_output():
            identity = ir.node("Identity", [new], name=names.new(f"{node.name}/Identity"))
            graph.insert_before(node, identity)
            provenance.record(identity, [node])
            new = identity.outputs[0]
        old.name, new.name = names.new(f"{old.name}/old"), old.name
    new.type, new.shape = old.type, old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def _register(graph: ir.Graph, value: ir.Value | None, node: ir.Node, names: _Names) -> None:
    """Make a constant of the definition an initializer."""
    if value is None or value.const_value is None or value.graph is not None:
        return
    value.name = value.const_value.name = names.new(f"{node.name}/{value.name}")
    graph.register_initializer(value)
