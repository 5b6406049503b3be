"""Let products by integer weights round their data when they run."""

from __future__ import annotations

import dataclasses
from typing import Final

import onnx_ir as ir

from ..matching import array_of, is_op, nodes_of
from ..nhwc import is_channels_last
from ..quantized import dequantized

#: The key of `Node.metadata_props` that such a node has, and its value.
KEY: Final = "tapeout.data"
ROUNDED: Final = "int8"


@dataclasses.dataclass(frozen=True)
class QuantizeAtRunTime(ir.passes.InPlacePass):
    """Mark Conv, Gemm and MatMul of constant int8 weights and real data: dynamic quantization.

    Their kernels may find the range of the data, round it to 8 bits, and add up integers. The
    model stays what it is, in real numbers; the mark allows what computes it to deviate from it by
    that rounding. Weights have no zero points.

    Ensures: `rounds_at_run_time` holds for those nodes and for no others.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for node in nodes_of(model):
            if _has_integer_weights(node) and not rounds_at_run_time(node):
                node.metadata_props[KEY] = ROUNDED
                modified = True
        return ir.passes.PassResult(model, modified)


def rounds_at_run_time(node: ir.Node) -> bool:
    """Whether a node's kernel may round its data to 8 bits."""
    return node.metadata_props.get(KEY) == ROUNDED


def _has_integer_weights(node: ir.Node) -> bool:
    conv = is_channels_last(node) and node.op_type in ("ConvNhwc", "ConvNwc")
    if not conv and not is_op(node, "Conv", "Gemm", "MatMul"):
        return False
    weight = dequantized(node.inputs[1])
    return (
        weight is not None
        and weight.dtype == ir.DataType.INT8
        and array_of(weight.integers) is not None
        and not weight.zero.any()
        and dequantized(node.inputs[0]) is None
    )
