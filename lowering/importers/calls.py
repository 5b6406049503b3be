"""A call of a function, as the nodes that the function is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import onnx_ir as ir

from .splicing import Replacement

_GRAPH: Final = ir.AttributeType.GRAPH


def instantiate(
    node: ir.Node,
    function: ir.Function,
    outputs: Sequence[ir.Value | None],
    defaults: Mapping[str, ir.Attr],
    version: int,
) -> Replacement:
    """Return what a call comes down to: those nodes of the function that its used outputs need.

    Args:
        node: the call.
        function: a copy for this call alone, which is taken apart.
        outputs: the values of the function that are its results, in the order of the node's.
        defaults: attributes for those that the call does not give; one that neither gives is left
            out wherever the function refers to it.
        version: the opset of the default domain that the function is written in.
    """
    given = {**defaults, **node.attributes}
    for inner in function.all_nodes():
        _resolve(inner, given)
        for value in inner.outputs:
            # Types that a file declares inside a function are those of one call of several.
            value.type = value.shape = None
    actual: dict[ir.Value | None, ir.Value | None] = dict.fromkeys(function.inputs)
    actual.update(zip(function.inputs, node.inputs, strict=False))
    for formal in function.inputs:
        for user, index in tuple(formal.uses()):
            user.replace_input_with(index, actual[formal])
    results = tuple(
        actual.get(inner, inner) if outer.uses() or outer.is_graph_output() else None
        for outer, inner in zip(node.outputs, outputs, strict=False)
    )
    steps = _needed(function, results)
    function.outputs.clear()
    function.remove(steps)
    return Replacement(steps, results, version)


def _resolve(node: ir.Node, given: Mapping[str, ir.Attr]) -> None:
    """Put in the attributes that refer to those of the call."""
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref():
            found = given.get(attribute.ref_attr_name or "")
            if found is None:
                del node.attributes[name]
            else:
                node.attributes[name] = ir.Attr(name, found.type, found.value)


def _needed(function: ir.Function, results: Sequence[ir.Value | None]) -> tuple[ir.Node, ...]:
    """Return the nodes that results depend on; the others are removed from the function."""
    wanted = set(results)
    for node in reversed(function):
        within = [node, *_inside(node)]
        if wanted.isdisjoint(node.outputs):
            function.remove(node)
            for inner in within:
                inner.resize_inputs(0)
        else:
            wanted.update(value for inner in within for value in inner.inputs)
    return tuple(function)


def _inside(node: ir.Node) -> list[ir.Node]:
    """Return the nodes of the graphs that a node holds."""
    graphs = [attr.as_graph() for attr in node.attributes.values() if attr.type == _GRAPH]
    return [inner for graph in graphs for inner in graph.all_nodes()]
