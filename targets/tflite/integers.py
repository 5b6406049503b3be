"""Which nodes compute on int8: those between DequantizeLinear and QuantizeLinear with a kernel.

What else of a quantized network becomes an operator on real numbers, and `fallbacks` names it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from ...lowering.matching import array_of, is_op, shape_of
from ...lowering.quantization.placement import data_inputs
from ...lowering.quantized import Quantized, dequantized
from .call import Said
from .converters import INTEGER

#: Dtypes of activations.
STORED: Final = (ir.DataType.INT8,)


def is_integer(node: ir.Node) -> bool:
    """Whether a kernel computes the node on the integers that it reads."""
    test = INTEGER.get(node.op_type)
    return test is not None and _reads_integers(node) and _sums_fit(node) and test(Said(node))


def integers(value: ir.Value | None) -> ir.Value | None:
    """Return the int8 value behind a DequantizeLinear of one scale."""
    node = value.producer() if value is not None else None
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    source = node.inputs[0]
    one_scale = shape_of(node.inputs[1]) in ((), (1,))
    return source if one_scale and source is not None and source.dtype in STORED else None


def _reads_integers(node: ir.Node) -> bool:
    """Whether all data comes out of DequantizeLinear, and weights are integers too."""
    return all(integers(node.inputs[index]) is not None for index in data_inputs(node)) and all(
        array_of(value) is None or value.dtype != ir.DataType.FLOAT or _is_steering(node, index)
        for index, value in enumerate(node.inputs)
        if value is not None
    )


def _is_steering(node: ir.Node, index: int) -> bool:
    """Whether a float constant is no data: bounds, the scales of Resize, the filling of Pad."""
    return node.op_type in ("Clip", "Pad", "Resize") and index > 0


#: Our names of operators whose kernels add up products of integers.
_SUMS: Final = ("ConvNhwc", "ConvNwc", "ConvTransposeNhwc", "ConvTransposeNwc", "Gemm")


def _sums_fit(node: ir.Node) -> bool:
    """Whether a weight is symmetric, and the bias has the scale of the sums of products.

    The kernels take both for granted. Only FULLY_CONNECTED reads a zero point of its weights.
    """
    if node.op_type not in _SUMS:
        return True
    data, weight = dequantized(node.inputs[0]), dequantized(node.inputs[1])
    if data is None or weight is None or array_of(weight.integers) is None:
        return False
    if weight.dtype != ir.DataType.INT8 or weight.zero.any():
        return False
    bias = dequantized(node.inputs[2]) if len(node.inputs) > 2 else None
    given = len(node.inputs) > 2 and node.inputs[2] is not None
    return not given or (bias is not None and _is_bias(bias, data, weight))


def _is_bias(bias: Quantized, data: Quantized, weight: Quantized) -> bool:
    sums = data.scale.astype(np.float64) * weight.scale.astype(np.float64)
    if bias.dtype != ir.DataType.INT32 or bias.zero.any() or array_of(bias.integers) is None:
        return False
    if bias.scale.size != sums.size:
        # Of a transposed convolution of several groups, the scales of one group's channels repeat.
        sums = np.tile(sums, max(1, bias.scale.size // sums.size))
    return sums.size in (1, bias.scale.size) and np.allclose(bias.scale, sums, rtol=1e-5, atol=0)
