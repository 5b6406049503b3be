"""What is computed in float32 in a file of integers: every such node, so that none is silent."""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from ...lowering.matching import array_of, is_op
from ...lowering.provenance import origins
from .lower import units

REASON: Final = "no int8 kernel in TFLite for it as it is"
_FALLBACK: Final = "computed in float32 between dequantization and quantization"


def in_float(model: ir.Model) -> dict[str, str]:
    """Return the nodes of a lowered model with integers that become operators on float32.

    Where no value is rounded to integers, the network is one of real numbers: none are named.
    """
    if not any(is_op(node, "QuantizeLinear") for node in model.graph):
        return {}
    found: dict[str, str] = {}
    for unit in units(model):
        node = unit.node
        if not unit.integer and not is_op(node, "QuantizeLinear") and _is_real(node):
            name = _name_of(node)
            part = node.op_type if name == node.name else f"{node.op_type}, a part of it"
            found.setdefault(name, f"{part}: {REASON}; {_FALLBACK}")
    return found


def _name_of(node: ir.Node) -> str:
    """Return the name of a node, or of the one that it was a part of in the user's file."""
    names = origins(node)
    return str(node.name) if node.name in names or not names else names[-1]


def _is_real(node: ir.Node) -> bool:
    computed = (value for value in node.inputs if value is not None and array_of(value) is None)
    return any(value.dtype == ir.DataType.FLOAT for value in (*computed, *node.outputs))
