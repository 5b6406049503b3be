"""Constraints that several targets have, how a broken one is told, and the size of a model.

A constraint is a small function of a node: it returns what breaks it, or None if it holds. Its
docstring is the reason, in the message and in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final

import onnx_ir as ir

from ..errors import Problem
from ..lowering import resizing
from ..lowering.analysis.tensors import constant_bytes
from ..lowering.matching import array_of, shape_of
from ..lowering.spatial import is_windowed, window_attributes

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


def values_of(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the inputs and outputs of a node that are there."""
    yield from (value for value in node.inputs if value is not None)
    yield from (value for value in node.outputs if value.name)


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input; None if it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def of_dtypes(value: ir.Value, dtypes: Container[ir.DataType | None]) -> str | None:
    """Return that a value has none of the dtypes; None if it has one."""
    if value.dtype in dtypes:
        return None
    return f"{value.name!r} is {value.dtype.name if value.dtype else 'of no dtype'}"


def is_constant(value: ir.Value) -> bool:
    """Whether a value is a constant, as it stands."""
    return array_of(value) is not None


def constants(
    *indices: int, reason: str, known: Callable[[ir.Value], bool] = is_constant
) -> Constraint:
    """Return the constraint that these inputs, if given, are constants: that `known` holds."""

    def constant_inputs(node: ir.Node) -> str | None:
        for index in indices:
            value = input_of(node, index)
            if value is not None and not known(value):
                return f"input {index}, {value.name!r}, is computed"
        return None

    constant_inputs.__doc__ = reason
    return constant_inputs


def no_output(index: int, reason: str) -> Constraint:
    """Return the constraint that an optional output is not used."""

    def unused_output(node: ir.Node) -> str | None:
        if index < len(node.outputs):
            value = node.outputs[index]
            if value.name and (value.uses() or value.is_graph_output()):
                return f"output {index}, {value.name!r}, is asked for"
        return None

    unused_output.__doc__ = reason
    return unused_output


def known_window(node: ir.Node) -> str | None:
    """Pads must lead from the input's shape to the output's, and must not be negative."""
    if not is_windowed(node) or window_attributes(node) is not None:
        return None
    pads = node.attributes.get_ints("pads", None)
    return f"pads = {list(pads) if pads else 'those of auto_pad or output_shape'}"


def space_of(most: int, reason: str) -> Constraint:
    """Return the constraint that windows slide over no more than so many dimensions."""

    def few_dimensions(node: ir.Node) -> str | None:
        rank = len(shape_of(node.inputs[0]) or ()) - 2
        return None if 1 <= rank <= most else f"there are {rank}"

    few_dimensions.__doc__ = reason
    return few_dimensions


def whole_lengths(node: ir.Node) -> str | None:
    """Runtimes disagree where scales do not lead to whole numbers: give sizes instead."""
    broken = resizing.broken_length(node)
    return None if broken is None else f"{resizing.mode_of(node)} to a length of {broken:g}"


def floats_to_interpolate(node: ir.Node) -> str | None:
    """How integers are rounded between two neighbours is not specified: cast to float before."""
    mode = node.attributes.get_string("mode", "nearest")
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    if mode == "nearest" or dtype is None or dtype.is_floating_point():
        return None
    return f"mode = {mode!r} of {dtype.name}"


#: Operators of which input 1 says what axes they work on.
REDUCTIONS: Final = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
)
