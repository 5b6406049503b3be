"""What stays float in a network of integers, node by node, and why: nothing does so silently."""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from ..matching import array_of, is_op
from .placement import Placement, refusal
from .scheme import Scheme


def in_float(model: ir.Model, scheme: Scheme, placement: Placement) -> dict[str, str]:
    """Return the nodes that compute in float32 under a scheme, with the reason and the fallback.

    Nodes without real numbers, such as those that compute indices, are not among them.

    Args:
        model: canonical, channels-first, in float; `placement` says where its integers are.
    """
    integer = frozenset(placement.integer)
    return {
        str(node.name): f"{node.op_type}: {_reason(node, scheme)}; {_FALLBACK}"
        for node in model.graph
        if node.name not in integer and _is_real(node)
    }


_FALLBACK: Final = "computed in float32 between dequantization and quantization"


def _is_real(node: ir.Node) -> bool:
    """Whether a node computes real numbers, or from them."""
    computed = (value for value in node.inputs if value is not None and array_of(value) is None)
    return any(value.dtype == ir.DataType.FLOAT for value in (*computed, *node.outputs))


def _reason(node: ir.Node, scheme: Scheme) -> str:
    if why := refusal(node, scheme):
        return why
    if node.op_type in scheme.passing:
        return "it passes on what is in float"
    if is_op(node, "Clip", "Relu"):
        return "it bounds what is in float"
    if is_op(node, "Concat") and scheme.same_in_concat:
        return "its inputs have scales that are fixed, and are not the same"
    return "nothing that computes in integers reads it"
