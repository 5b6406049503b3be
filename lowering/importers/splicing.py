"""Edits of a graph that is being imported: names, constants, and nodes that stand for another."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from .. import provenance
from ..opset import WORKING_OPSET


@dataclasses.dataclass(frozen=True)
class Replacement:
    """What stands for a node.

    Attributes:
        nodes: in order, in no graph yet; constants that they read are values with a tensor.
        outputs: the values that stand for the node's outputs; None for one that is not used.
        version: the opset that the nodes are written in; None for what each node says itself.
    """

    nodes: tuple[ir.Node, ...]
    outputs: tuple[ir.Value | None, ...]
    version: int | None = WORKING_OPSET


class Names:
    """The names of nodes and values in one graph; every node gets one."""

    def __init__(self, graph: ir.Graph) -> None:
        self._values = _Taken()
        self._nodes = _Taken()
        for value in [*graph.inputs, *graph.initializers.values()]:
            self._values.add(str(value.name))
        for node in graph:
            node.name = self.of_node(node.name or node.op_type)
            for value in node.outputs:
                self._values.add(str(value.name))

    def of_node(self, name: str) -> str:
        """Return a name for a new node, this one where it is free."""
        return self._nodes.fresh(name)

    def of_value(self, name: str) -> str:
        """Return a name for a new value, this one where it is free."""
        return self._values.fresh(name)


class _Taken(set[str]):
    """Names that are taken, and how often each was asked for: thousands ask for the same."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        found = name
        while found in self:
            self._asked[name] = self._asked.get(name, 0) + 1
            found = f"{name}_{self._asked[name]}"
        self.add(found)
        return found


def replace_by_constants(
    node: ir.Node, tensors: tuple[ir.TensorProtocol, ...], names: Names
) -> None:
    """Put constants in the place of a node; they take the names of its outputs."""
    outputs = tuple(
        ir.val(value.name, const_value=tensor) if value.name else None
        for value, tensor in zip(node.outputs, tensors, strict=True)
    )
    splice(node, Replacement((), outputs), names)


def splice(node: ir.Node, replacement: Replacement, names: Names) -> tuple[ir.Node, ...]:
    """Put nodes made for it in the place of a node; return them.

    The last of them takes the node's name.
    """
    for step in replacement.nodes:
        step.version = replacement.version
        step.name = names.of_node(f"{node.name}/{step.op_type}")
        for value in step.outputs:
            if value.name != "":
                value.name = names.of_value(f"{node.name}/{value.name or step.op_type}")
    steps = _put(node, replacement, names)
    if replacement.nodes:
        replacement.nodes[-1].name = node.name
    for step in steps:
        provenance.record(step, [node])
    return steps


def take_branch(node: ir.Node, branch: ir.Graph, names: Names) -> tuple[ir.Node, ...]:
    """Put one branch of an If in its place; return its nodes."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH and attribute.as_graph() is not branch:
            _detach(attribute.as_graph())
    outputs = tuple(branch.outputs)
    branch.outputs.clear()
    for name, constant in list(branch.initializers.items()):
        del branch.initializers[name]
        constant.name = names.of_value(name)
        if node.graph is not None:
            node.graph.register_initializer(constant)
    steps = tuple(branch)
    branch.remove(steps)
    for step in steps:
        step.version = step.version or node.version
        step.name = names.of_node(step.name or step.op_type)
        for value in step.outputs:
            if value.name:
                value.name = names.of_value(value.name)
    return _put(node, Replacement(steps, outputs, None), names)


def _put(node: ir.Node, replacement: Replacement, names: Names) -> tuple[ir.Node, ...]:
    """Put named nodes in the place of a node; return them.

    A new value that stands for an output takes its name, but one that was there before keeps its
    own. An output of the graph is always given by a node of its own.
    """
    graph = node.graph
    if graph is None:
        raise ValueError(f"node {node.name!r} is in no graph")
    steps = list(replacement.nodes)
    made = set(steps)
    for step in steps:
        for value in step.inputs:
            _register(graph, value, f"{node.name}/constant", names)
    graph.insert_before(node, steps)
    for old, new in zip(node.outputs, replacement.outputs, strict=False):
        if new is None:
            continue
        called = str(old.name)
        is_new = _register(graph, new, called, names) or new.producer() in made
        if old.is_graph_output() and (new.producer() not in made or new.is_graph_output()):
            identity = ir.node("Identity", [new], name=names.of_node(f"{node.name}/Identity"))
            graph.insert_before(node, identity)
            steps.append(identity)
            identity.outputs[0].type, identity.outputs[0].shape = new.type, new.shape
            new, is_new = identity.outputs[0], True
        new.shape = old.shape if new.shape is None else new.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        if is_new:
            old.name, new.name = None, called
    graph.remove(node, safe=True)
    return tuple(steps)


def _register(graph: ir.Graph, value: ir.Value | None, name: str, names: Names) -> bool:
    """Make a new constant an initializer; return whether it is one."""
    if value is None or value.const_value is None or value.graph is not None:
        return False
    if value.producer() is not None:
        return False
    value.name = names.of_value(name)
    graph.register_initializer(value)
    return True


def _detach(graph: ir.Graph) -> None:
    """Make the nodes of a graph that is dropped use nothing of other graphs."""
    graph.outputs.clear()
    for node in ir.traversal.RecursiveGraphIterator(graph):
        node.resize_inputs(0)
