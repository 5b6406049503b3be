"""What the operators that only bound their input have in common: the range they keep it in."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import onnx_ir as ir

from .matching import array_of, is_op, shape_of

Number = int | float

#: The operators that may bound their input.
CLAMPING: Final = ("Clip", "Max", "Min", "Relu")


@dataclasses.dataclass(frozen=True)
class Clamp:
    """``min(max(x, low), high)``, as Clip does it; None is no bound. NaN stays NaN."""

    low: Number | None = None
    high: Number | None = None

    def then(self, other: Clamp) -> Clamp:
        """Return the one clamp that equals this and, on its result, `other`."""
        return Clamp(
            other.low if self.low is None else other.of(self.low),
            other.high if self.high is None else other.of(self.high),
        )

    def of(self, number: Number) -> Number:
        """Return a number clamped."""
        if self.low is not None:
            number = max(number, self.low)
        return number if self.high is None else min(number, self.high)

    def simplified(self, dtype: ir.DataType) -> Clamp:
        """Return an equal clamp without bounds that every number of the dtype keeps.

        ONNX reads an absent bound as the least or the largest finite number, so a bound there, or
        beyond, is none. Bounds that cross give what Clip gives for them: the upper one.
        """
        low, high = self.low, self.high
        if low is not None and high is not None and low > high:
            low = high
        return Clamp(
            None if low is None or low <= dtype.min else low,
            None if high is None or high >= dtype.max else high,
        )


def number_of(value: ir.Value | None) -> Number | None:
    """Return the one number in a constant; None if it is not one number, or NaN."""
    array = array_of(value)
    if array is None or array.size != 1:
        return None
    item = array.reshape(-1)[0]
    if array.dtype.kind in "iu":
        return int(item)
    number = float(item)
    return None if math.isnan(number) else number


def clamp_of(node: ir.Node | None) -> tuple[ir.Value, Clamp] | None:
    """Return what a node bounds, and by what; None if it does anything else."""
    if node is None or not is_op(node, *CLAMPING) or node.inputs[0] is None:
        return None
    if node.op_type == "Relu":
        return node.inputs[0], Clamp(low=0)
    if node.op_type == "Clip":
        bounds = [*node.inputs[1:], None, None][:2]
        low, high = (number_of(value) for value in bounds)
        if any(
            value is not None and number is None
            for value, number in zip(bounds, (low, high), strict=True)
        ):
            return None
        return node.inputs[0], Clamp(low, high)
    operands = operands_and_numbers(node)
    if operands is None or len(operands[0]) != 1:
        return None
    return operands[0][0], clamp_by(node, operands[1])


def clamp_by(node: ir.Node, numbers: list[Number]) -> Clamp:
    """Return what a Min or Max with these numbers does to the other operands."""
    return Clamp(low=max(numbers)) if node.op_type == "Max" else Clamp(high=min(numbers))


def operands_and_numbers(node: ir.Node) -> tuple[list[ir.Value], list[Number]] | None:
    """Return the tensors and the numbers that a Min or Max is of; None if it is not of both.

    A constant of one element is a number where the other operands give the output its shape.
    """
    values: list[ir.Value] = []
    numbers: list[Number] = []
    for value in node.inputs:
        number = number_of(value)
        if number is not None:
            numbers.append(number)
        elif value is not None:
            values.append(value)
    shapes = [shape for value in values if (shape := shape_of(value)) is not None]
    if not numbers or not values or len(shapes) != len(values):
        return None
    same = np.broadcast_shapes(*shapes) == shape_of(node.outputs[0])
    return (values, numbers) if same else None


def is_canonical_clip(node: ir.Node) -> bool:
    """Whether a Clip has constant scalar bounds, each of which bounds something."""
    found = clamp_of(node)
    if found is None or node.op_type != "Clip" or found[0].dtype is None:
        return False
    clamp = found[1]
    bounds = [value for value in node.inputs[1:] if value is not None]
    return (
        bool(bounds)
        and node.inputs[-1] is not None
        and all(shape_of(value) == () for value in bounds)
        and clamp == clamp.simplified(found[0].dtype)
    )
