"""What a rule is, and how it names the place that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

#: Where a rule does not hold, and what is found there.
Breach = tuple[str, str]
Breaches = Callable[[ir.Model], Iterator[Breach]]


def place(item: ir.Node | ir.Value) -> str:
    """Return how messages call a node or a value."""
    if isinstance(item, ir.Node):
        return f"node {item.name!r} ({item.op_type})"
    return f"value {item.name!r}"


def values_of(model: ir.Model) -> Iterator[ir.Value]:
    """Yield every value of the main graph once: inputs, constants, outputs of nodes.

    Optional outputs that a node leaves out, which have an empty name, are no values.
    """
    yield from model.graph.inputs
    yield from model.graph.initializers.values()
    for node in model.graph:
        yield from (value for value in node.outputs if value.name != "")
