"""A lowered model held against itself at other input sizes: what differs, and what must not.

Both are the same pipeline's, so nodes and values have the same names. Constants and shapes may
differ; nodes, their wiring and their attributes may not.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ...errors import Problem
from ..matching import array_of, shape_of, tensor_of
from ..rules.places import place

#: The constant that a node reads: the node's name, and which of its inputs it is.
Spot = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Sighting:
    """What one probe shows beside the base.

    Attributes:
        constants: those that differ from the base's.
        shapes: of all inputs and outputs of nodes that are no constants, by name.
        problems: what differs and must not.
    """

    constants: dict[Spot, np.ndarray]
    shapes: dict[str, tuple[int, ...]]
    problems: tuple[Problem, ...]


def compare(base: ir.Model, other: ir.Model, cause: str) -> Sighting:
    """Compare two lowered models, node by node.

    Args:
        cause: what they differ by, for messages.
    """
    known = {str(node.name): node for node in base.graph}
    found = {str(node.name): node for node in other.graph}
    problems = [
        Problem(place(node), f"is there for some sizes only: it depends on {cause}")
        for here, there in ((known, found), (found, known))
        for name, node in here.items()
        if name not in there
    ]
    if not problems and list(known) != list(found):
        problems.append(Problem("graph", f"the order of its nodes depends on {cause}"))
    constants: dict[Spot, np.ndarray] = {}
    for name, node in known.items():
        if name in found:
            problems += _differences(node, found[name], cause)
            constants |= _constants(node, found[name])
    if _outputs(base) != _outputs(other):
        problems.append(Problem("graph", f"its outputs depend on {cause}"))
    return Sighting(constants, shapes_of(other), tuple(problems))


def shapes_of(model: ir.Model) -> dict[str, tuple[int, ...]]:
    """Return the static shapes of the inputs and of all outputs of nodes, by name."""
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    return {str(value.name): shape_of(value) or () for value in values if value.name}


def _outputs(model: ir.Model) -> list[str]:
    return [str(value.name) for value in model.graph.outputs]


def _differences(node: ir.Node, other: ir.Node, cause: str) -> list[Problem]:
    """Say what makes two nodes of one name different nodes."""
    if node.op_identifier() != other.op_identifier():
        return [Problem(place(node), f"is {other.op_type} for other sizes: depends on {cause}")]
    if _wires(node) != _wires(other):
        return [Problem(place(node), f"what it reads or gives depends on {cause}")]
    problems = []
    for name in sorted({*node.attributes, *other.attributes}):
        ours, theirs = node.attributes.get(name), other.attributes.get(name)
        if _content(ours) != _content(theirs):
            shown = f"{_shown(ours)} and {_shown(theirs)}"
            problems.append(
                Problem(place(node), f"its attribute {name} depends on {cause}: {shown}")
            )
    return problems


def _wires(node: ir.Node) -> list[str | None]:
    """Return the names of what a node reads and gives; constants only by their being there."""
    reads = (
        None if value is None else "" if tensor_of(value) is not None else value.name
        for value in node.inputs
    )
    return [*reads, "->", *(value.name for value in node.outputs)]


def _content(attribute: ir.Attr | None) -> bytes:
    if attribute is None:
        return b""
    return bytes(ir.serde.serialize_attribute(attribute).SerializeToString(deterministic=True))


def _shown(attribute: ir.Attr | None) -> str:
    return "none" if attribute is None else str(attribute.value)[:60]


def _constants(node: ir.Node, other: ir.Node) -> dict[Spot, np.ndarray]:
    found = {}
    for index, (ours, theirs) in enumerate(zip(node.inputs, other.inputs, strict=False)):
        if ours is None or theirs is None:
            continue
        first, second = array_of(ours), array_of(theirs)
        if first is not None and second is not None and not is_same(first, second):
            found[str(node.name), index] = second
    return found


def is_same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two arrays are equal in dtype, shape and numbers; NaN equals NaN."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
