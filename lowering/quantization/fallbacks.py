"""What stays float in a network of integers, node by node, and why: nothing does so silently."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from ..half_precision import NAMES
from ..matching import array_of, is_op
from .placement import Placement, refusal
from .scheme import LINEAR, Scheme


def in_float(
    model: ir.Model, scheme: Scheme, placement: Placement, wide: Mapping[str, str]
) -> dict[str, str]:
    """Return the nodes that compute in float under a scheme, with the reason and the fallback.

    Nodes without real numbers, such as those that compute indices, are not among them; nor, where
    the scheme rounds the factors of sums alone (`Scheme.shared` is false), those that sum nothing.

    Args:
        model: canonical, channels-first, in float; `placement` says where its integers are.
        wide: the nodes whose numbers `Scheme.rest` cannot hold, and why: they are in float32.
    """
    integer = frozenset(placement.integer)

    def fallback(name: str) -> str:
        why = f", as {wide[name]}" if name in wide else ""
        dtype = NAMES[ir.DataType.FLOAT if why else scheme.rest]
        return f"computed in {dtype} between dequantization and quantization{why}"

    return {
        str(node.name): f"{node.op_type}: {_reason(node, scheme)}; {fallback(str(node.name))}"
        for node in model.graph
        if node.name not in integer and _is_real(node) and (scheme.shared or is_op(node, *LINEAR))
    }


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
