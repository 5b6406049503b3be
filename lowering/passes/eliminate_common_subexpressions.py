"""Compute equal values once, and keep equal constants once."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Final

import onnx_ir as ir

from .. import provenance
from ..contents import Firsts
from ..dialect import DOMAIN
from ..editing import Editor
from ..matching import has_body, is_random, tensor_of

#: Operators whose operands may be exchanged without changing a bit of the result.
_COMMUTATIVE: Final = frozenset(
    ["Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Mul", "Or", "Xor"]
)


@dataclasses.dataclass(frozen=True)
class EliminateCommonSubexpressions(ir.passes.InPlacePass):
    """Merge nodes of one graph that do the same to the same inputs, and bit-equal constants.

    The first of them stays. Random operators, a Dropout that may be told to train and control flow
    are never merged. (The pass of the same purpose in onnx-ir merges Bernoulli and training
    Dropout nodes, and attributes that differ only in the sign of zero; hence this one.)
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for graph in tuple(model.graphs()):
            _merge_constants(graph, edit)
            _merge_nodes(graph, edit)
        return edit.result(model)


def _merge_nodes(graph: ir.Graph, edit: Editor) -> None:
    first: dict[Hashable, ir.Node] = {}
    alike: dict[ir.Node, list[ir.Node]] = {}
    for node in graph:
        if node.domain not in ("", DOMAIN) or has_body(node) or is_random(node):
            continue
        kept = first.setdefault(_identity(node), node)
        if kept is not node:
            alike.setdefault(kept, [kept]).append(node)
            for old, value in zip(node.outputs, kept.outputs, strict=True):
                edit.bypass(old, value)
    for kept, nodes in alike.items():
        provenance.record(kept, nodes)


def _identity(node: ir.Node) -> Hashable:
    """Return what two nodes must share to compute the same."""
    inputs = [id(value) for value in node.inputs]
    if node.domain == "" and node.op_type in _COMMUTATIVE:
        inputs.sort()
    attributes = sorted(
        (name, ir.serde.serialize_attribute(attribute).SerializeToString(deterministic=True))
        for name, attribute in node.attributes.items()
    )
    present = tuple(value.name != "" for value in node.outputs)
    return (*node.op_identifier(), tuple(inputs), tuple(attributes), present)


def _merge_constants(graph: ir.Graph, edit: Editor) -> None:
    """Merge equal constants; only those that share dtype and shape with another are read."""
    alike: dict[Hashable, list[tuple[ir.Value, ir.TensorProtocol]]] = {}
    for value in graph.initializers.values():
        tensor = tensor_of(value)
        if tensor is not None:
            alike.setdefault((tensor.dtype, tensor.shape.numpy()), []).append((value, tensor))
    arrays: Firsts[ir.Value] = Firsts()
    texts: dict[Hashable, ir.Value] = {}
    for key, group in alike.items():
        for value, tensor in group if len(group) > 1 else ():
            if isinstance(tensor, ir.StringTensor):
                kept = texts.setdefault((key, tuple(tensor.string_data())), value)
            else:
                kept = arrays.first(tensor.numpy(), value, key)
            if kept is not value and not value.is_graph_output():
                value.replace_all_uses_with(kept)
                edit.drop_unused(value)
