"""What quantization did to each node, as a table."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx_ir as ir

from ..matching import sole_user
from .contract import Outcome
from .conversion import Conversion, Integers
from .parameters import Parameters
from .placement import has_weight
from .scheme import limits


@dataclasses.dataclass(frozen=True)
class Row:
    """One node of the converted model.

    Attributes:
        format: of the numbers it computes with, as ONNX names it.
        seen: the least and the greatest number that its output took on the calibration data.
        held: the least and the greatest number that the output's integers stand for.
        scale, zero_point: of the output; None if it is not rounded.
        weights: the least and the greatest scale of its weights; None if they are float.
        sqnr: dB at the network's output, if only this node is converted; None if not measured.
        why: the reason why it is in float, else empty.
    """

    node: str
    operator: str
    format: str
    seen: tuple[float, float] | None = None
    held: tuple[float, float] | None = None
    scale: float | None = None
    zero_point: int | None = None
    weights: tuple[float, float] | None = None
    sqnr: float | None = None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        found = dataclasses.asdict(self)
        if self.sqnr is not None and not np.isfinite(self.sqnr):
            found["sqnr"] = None  # JSON has no infinity: nothing changes at the output
        return {key: list(item) if isinstance(item, tuple) else item for key, item in found.items()}


def rows(conversion: Conversion, outcome: Outcome) -> list[Row]:
    """Return a row for every node of the float model, in graph order."""
    changed = set(conversion.nodes)
    if isinstance(conversion, Integers):
        changed |= set(conversion.placement.integer)
    return [_row(node, conversion, outcome, changed) for node in conversion.model.graph]


def _row(node: ir.Node, conversion: Conversion, outcome: Outcome, changed: set[str]) -> Row:
    name, scheme = str(node.name), conversion.scheme.name
    sqnr = (outcome.costs or {}).get(name)
    why = outcome.kept.get(name) or conversion.fixed.get(name) or ""
    if not why and name not in changed:
        why = f"{scheme} leaves it"
    row = Row(name, node.op_type, "float" if why else scheme, sqnr=sqnr, why=why)
    return (
        _with_numbers(row, node, conversion, outcome) if isinstance(conversion, Integers) else row
    )


def _with_numbers(row: Row, node: ir.Node, conversion: Integers, outcome: Outcome) -> Row:
    """Add ranges and scales."""
    recipe, weights = conversion.recipe(outcome.kept), None
    if not row.why and row.node in recipe.weights:
        scales = recipe.weights[row.node].parameters.scale
        weights = (float(scales.min()), float(scales.max()))
    row = dataclasses.replace(row, weights=weights)
    value = _rounded(node, conversion)
    if value is None:
        return row
    statistics = conversion.calibration.values[str(value.name)]
    row = dataclasses.replace(row, seen=(statistics.minimum, statistics.maximum))
    if row.why:
        return row
    parameters = recipe.activations[str(value.name)]
    return dataclasses.replace(
        row,
        held=_held(parameters),
        scale=float(parameters.scale),
        zero_point=int(parameters.zero_point),
    )


def _rounded(node: ir.Node, conversion: Integers) -> ir.Value | None:
    """Return the value that holds a node's result, rounded: its output, or its activation's."""
    values = conversion.placement.values
    value = node.outputs[0]
    while str(value.name) not in values:
        user = sole_user(value)
        if user is None or has_weight(user):
            return None
        value = user.outputs[0]
    return value


def _held(parameters: Parameters) -> tuple[float, float]:
    low, high = limits(parameters.dtype)
    ends = parameters.reals(np.array([low, high], parameters.dtype.numpy()))
    return float(ends[0]), float(ends[1])
