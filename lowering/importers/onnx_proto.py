"""Rewrites of a parsed ONNX file, before anything else reads it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from typing import Final

import onnx

from .onnx_functions import domain_of
from .onnx_tensors import densify

#: Bytes of a tensor that `skeleton` keeps.
_SMALL: Final = 256

#: A domain that onnx.checker does not know, and so leaves alone.
_UNCHECKED: Final = "unchecked"

#: Operators with a definition that was replaced: the checker calls the old one deprecated.
_REPLACED: Final = frozenset(
    schema.name
    for schema in onnx.defs.get_all_schemas_with_history()
    if schema.deprecated and not schema.domain and not onnx.defs.get_schema(schema.name).deprecated
)


def graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs in the attributes of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def normalize(model: onnx.ModelProto) -> None:
    """Bring a checked model to one form, in place.

    Nodes are sorted, the default domain has one name, sparse tensors are dense, and declared types
    that are no tensors are dropped (they are inferred again).
    """
    for entry in model.opset_import:
        entry.domain = domain_of(entry.domain)
    for function in model.functions:
        function.domain = domain_of(function.domain)
        for entry in function.opset_import:
            entry.domain = domain_of(entry.domain)
        _normalize_nodes(function)
    _normalize_graph(model.graph)


def _normalize_graph(graph: onnx.GraphProto) -> None:
    for sparse in graph.sparse_initializer:
        graph.initializer.append(densify(sparse))
    graph.ClearField("sparse_initializer")
    if not all(map(_is_tensor, graph.value_info)):
        kept = [info for info in graph.value_info if _is_tensor(info)]
        graph.ClearField("value_info")
        graph.value_info.extend(kept)
    for value in [*graph.output, *graph.input]:
        if not _is_tensor(value):
            value.ClearField("type")
    _normalize_nodes(graph)


def _is_tensor(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.WhichOneof("value") == "tensor_type")


def _normalize_nodes(owner: onnx.GraphProto | onnx.FunctionProto) -> None:
    for node in owner.node:
        if node.domain:
            node.domain = domain_of(node.domain)
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                dense = densify(attribute.sparse_tensor)
                attribute.Clear()
                attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
                attribute.t.CopyFrom(dense)
        for graph in graphs_of(node):
            _normalize_graph(graph)
    order = _order(owner.node)
    if order != list(range(len(order))):
        nodes = list(owner.node)
        copies = [onnx.NodeProto.FromString(nodes[index].SerializeToString()) for index in order]
        owner.ClearField("node")
        owner.node.extend(copies)


def _order(nodes: Sequence[onnx.NodeProto]) -> list[int]:
    """Return a topological order, that of the file where it is one."""
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [
        {producers[name] for name in names_used(node) if name in producers} - {index}
        for index, node in enumerate(nodes)
    ]
    users: list[list[int]] = [[] for _ in nodes]
    for index, needed in enumerate(needs):
        for other in needed:
            users[other].append(index)
    missing = [len(needed) for needed in needs]
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    return order


def names_used(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node takes from its graph, for itself and the graphs it holds."""
    used = set(filter(None, node.input))
    for graph in graphs_of(node):
        inner = {value.name for value in graph.input}
        inner |= {tensor.name for tensor in graph.initializer}
        inner |= {name for item in graph.node for name in item.output}
        for item in graph.node:
            used |= names_used(item) - inner
    return used


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a normalized model without its weights, for onnx.checker.

    In the place of each weight stands an empty tensor: the checker looks at their data alone,
    which is checked already, and never at their shapes. What it demands of declared types beyond
    the specification is filled in, and nodes whose definition was replaced, which it refuses, are
    said to be of a domain that it does not know.
    """
    bare = onnx.ModelProto(ir_version=model.ir_version)
    bare.opset_import.extend(model.opset_import)
    bare.opset_import.add(domain=_UNCHECKED, version=1)
    for function in model.functions:
        copy = bare.functions.add(
            name=function.name, domain=function.domain, overload=function.overload
        )
        copy.input.extend(function.input)
        copy.output.extend(function.output)
        copy.attribute.extend(function.attribute)
        copy.opset_import.extend(function.opset_import)
        copy.opset_import.add(domain=_UNCHECKED, version=1)
        for default in function.attribute_proto:
            _copy_attribute(default, copy.attribute_proto.add())
        for node in function.node:
            _copy_node(node, copy.node.add())
    _copy_graph(model.graph, bare.graph)
    for value in [*bare.graph.input, *bare.graph.output]:
        tensor = value.type.tensor_type
        tensor.elem_type = tensor.elem_type or onnx.TensorProto.FLOAT
        tensor.shape.SetInParent()
    return bare


def _copy_graph(graph: onnx.GraphProto, copy: onnx.GraphProto) -> None:
    copy.name = graph.name or "graph"
    copy.input.extend(graph.input)
    copy.output.extend(graph.output)
    for tensor in graph.initializer:
        _copy_tensor(tensor, copy.initializer.add())
    for node in graph.node:
        _copy_node(node, copy.node.add())


def _copy_node(node: onnx.NodeProto, copy: onnx.NodeProto) -> None:
    copy.name, copy.op_type, copy.domain = node.name, node.op_type, node.domain
    if not node.domain and node.op_type in _REPLACED:
        copy.domain = _UNCHECKED
    copy.overload = node.overload
    copy.input.extend(node.input)
    copy.output.extend(node.output)
    for attribute in node.attribute:
        _copy_attribute(attribute, copy.attribute.add())


def _copy_attribute(attribute: onnx.AttributeProto, copy: onnx.AttributeProto) -> None:
    holds_tensor, holds_graph = attribute.HasField("t"), attribute.HasField("g")
    if holds_tensor == holds_graph:  # numbers, texts, or a contradiction for the checker to find
        copy.CopyFrom(attribute)
        return
    copy.name, copy.type = attribute.name, attribute.type
    if holds_tensor:
        _copy_tensor(attribute.t, copy.t)
    else:
        _copy_graph(attribute.g, copy.g)


def _copy_tensor(tensor: onnx.TensorProto, copy: onnx.TensorProto) -> None:
    held = tensor.data_location != onnx.TensorProto.EXTERNAL
    # What has many elements is large: asking for its size would write it out.
    if held and math.prod(tensor.dims) <= 8 * _SMALL and tensor.ByteSize() <= _SMALL:
        copy.CopyFrom(tensor)
    else:
        copy.name, copy.data_type = tensor.name, tensor.data_type
        copy.dims.append(0)
