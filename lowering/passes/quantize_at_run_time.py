"""Let products by integer weights round their data when they run."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from ..layout.nhwc import is_channels_last
from ..matching import array_of, is_op, nodes_of
from ..quantized import dequantized
from ..run_time import let_round, rounds_at_run_time


@dataclasses.dataclass(frozen=True)
class QuantizeAtRunTime(ir.passes.InPlacePass):
    """Mark Conv, Gemm and MatMul of constant int8 weights and real data: dynamic quantization.

    Their kernels find the range of the data, round it to 8 bits, and add up integers. Weights have
    no zero points.

    Ensures: `run_time.rounds_at_run_time` holds for those nodes; the graph stays what it is.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        found = [
            node
            for node in nodes_of(model)
            if _has_integer_weights(node) and not rounds_at_run_time(node)
        ]
        for node in found:
            let_round(node)
        return ir.passes.PassResult(model, bool(found))


def _has_integer_weights(node: ir.Node) -> bool:
    conv = is_channels_last(node) and node.op_type.startswith("Conv")
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
