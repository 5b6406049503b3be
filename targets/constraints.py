"""What the constraints of all targets share: how a broken one is told, and the size of a model.

A constraint is a small function of a node: it returns what breaks it, or None if it holds. Its
docstring is the reason, in the message and in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_ir as ir

from ..errors import Problem
from ..lowering.analysis.tensors import constant_bytes

Constraint = Callable[[ir.Node], str | None]


def place_of(node: ir.Node) -> str:
    """Return how messages name a node."""
    return f"node {node.name!r} ({node.op_type})"


def broken(node: ir.Node, constraints: Iterable[Constraint]) -> list[Problem]:
    """Return every constraint that does not hold of a node, with its reason."""
    return [
        Problem(place_of(node), what, " ".join((constraint.__doc__ or "").split()).rstrip("."))
        for constraint in constraints
        if (what := constraint(node)) is not None
    ]


def oversized(model: ir.Model, most: int) -> list[Problem]:
    """Return the problem that the constants take more than `most` bytes, if they do."""
    weights = constant_bytes(model)
    if weights <= most:
        return []
    what = f"its constants take {weights} bytes, and {most} are the most"
    return [Problem("model", what, "quantize it, or split it in two")]
