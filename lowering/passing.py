"""Operators that give the very numbers that they get: moved, repeated, picked, none computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import onnx_ir as ir

from .layout.nhwc import is_channels_last
from .matching import scalar_of
from .opset import DOMAIN


def passed_on(node: ir.Node) -> int:
    """Return how many of a node's first inputs are numbers that all its outputs are made of.

    0 if it computes. Such a node gives the same on integers as on the numbers they stand for.
    """
    if node.domain == DOMAIN:
        passes = is_channels_last(node) and node.op_type.startswith("MaxPool")
        return _one(node) if passes else 0
    row = _ROWS.get(node.op_type) if node.domain == "" else None
    return 0 if row is None else row(node)


def _one(node: ir.Node) -> int:
    """One input, unless outputs beside it count elements."""
    needed = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    return 0 if needed and node.op_type != "Split" else 1


def _pad(node: ir.Node) -> int:
    """Padding by other numbers than zero need not be one of the integers."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    return 1 if value is None or scalar_of(value) == 0 else 0


def _resize(node: ir.Node) -> int:
    mode = node.attributes.get_string("mode", "nearest")
    crops = node.attributes.get_string("coordinate_transformation_mode", "").startswith("tf_crop")
    return 1 if mode == "nearest" and not crops else 0


def _all(node: ir.Node) -> int:
    return len(node.inputs)


_ROWS: Final[dict[str, Callable[[ir.Node], int]]] = {
    **dict.fromkeys(
        (
            "Expand", "Flatten", "Gather", "MaxPool", "Reshape", "Slice", "Split", "Squeeze",
            "Tile", "Transpose", "Unsqueeze",
        ),
        _one,
    ),
    "Concat": _all,
    "Pad": _pad,
    "Resize": _resize,
}  # fmt: skip
