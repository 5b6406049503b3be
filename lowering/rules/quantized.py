"""What the canonical pipeline adds for networks that are quantized."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from ..integer_constants import MOVING, integer_constant, moved_constant
from ..matching import array_of, is_op, shape_of, sole_user
from ..requantizing import requantized, unclamped
from .places import Breach, Breaches, place


def integers_as_used(model: ir.Model) -> Iterator[Breach]:
    """Constant integers lie as the operator that reads their real numbers wants them.

    So no Transpose or Reshape follows their DequantizeLinear, where that has scales that allow it.
    And what is dequantized is not quantized again with the same parameters.
    """
    for node in model.graph:
        if is_op(node, *MOVING) and moved_constant(node) is not None:
            yield place(node), "it moves constant integers that are dequantized"
        elif requantized(node) is not None:
            yield place(node), "it gives the integers that were dequantized"


def saturation_clamps(model: ir.Model) -> Iterator[Breach]:
    """Nothing is clamped before a QuantizeLinear that saturates at the same numbers.

    A Relu before unsigned integers of zero point 0 has nothing to do.
    """
    for node in model.graph:
        if unclamped(node) is not None and node.inputs[0] is not None:
            clamp = node.inputs[0].producer()
            yield place(clamp if clamp is not None else node), f"bounds that {node.name!r} has too"


def dense_integers_are_gemm(model: ir.Model) -> Iterator[Breach]:
    """A product of a matrix and a constant matrix of integers is a Gemm, with what is added to it.

    What is added is a constant, of numbers or of integers behind a DequantizeLinear.
    """
    for node in model.graph:
        if not is_op(node, "MatMul") or integer_constant(node.inputs[1]) is None:
            continue
        result, user = shape_of(node.outputs[0]) or (), sole_user(node.outputs[0])
        if len(result) != 2 or user is None or not is_op(user, "Add"):
            continue
        for addend in user.inputs:
            is_constant = array_of(addend) is not None or integer_constant(addend) is not None
            if addend is not None and is_constant and shape_of(addend) == result[1:]:
                yield place(node), f"a MatMul, and an Add of the constant {addend.name!r}"


QUANTIZED: Final[tuple[Breaches, ...]] = (
    integers_as_used,
    saturation_clamps,
    dense_integers_are_gemm,
)
