"""What is computed in float32 in a file of integers: every such node, so that none is silent."""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from ...lowering.matching import array_of, is_op
from .lower import units

REASON: Final = "no int8 kernel in TFLite for it as it is"
_FALLBACK: Final = "computed in float32 between dequantization and quantization"


def in_float(model: ir.Model) -> dict[str, str]:
    """Return the nodes of a lowered model with integers that become operators on float32.

    Where no value is rounded to integers, the network is one of real numbers: none are named.
    """
    if not any(is_op(node, "QuantizeLinear") for node in model.graph):
        return {}
    return {
        str(unit.node.name): f"{unit.node.op_type}: {REASON}; {_FALLBACK}"
        for unit in units(model)
        if not unit.integer and not is_op(unit.node, "QuantizeLinear") and _is_real(unit.node)
    }


def _is_real(node: ir.Node) -> bool:
    computed = (value for value in node.inputs if value is not None and array_of(value) is None)
    return any(value.dtype == ir.DataType.FLOAT for value in (*computed, *node.outputs))
