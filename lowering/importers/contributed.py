"""Quantized operators that ONNX Runtime contributed (domain ``com.microsoft``), said in ONNX's own.

``onnxruntime.quantization`` writes them into models in its operator-oriented format, and ONNX
Runtime itself into those that it saves optimized. Each computes as ONNX's operator does between
DequantizeLinear and QuantizeLinear, and becomes just that; but of QLinearSoftmax, ONNX Runtime
1.31 gives 0 where the result is 1 and beyond the integers, which here are saturated.
Source: docs/ContribOperators.md of ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import onnx_ir as ir

from ..matching import shape_of
from .contributed_operators import ATTRIBUTES
from .inference import InvalidNodeError
from .packed_blocks import unpacked
from .splicing import Replacement

Parts = tuple[ir.Value | None, ...]


def said_in_onnx(node: ir.Node) -> Replacement:
    """Return what stands for a node for which `is_contributed` holds.

    Args:
        node: its inputs have dtypes and static shapes.

    Raises:
        InvalidNodeError: an input is missing, or it asks for what ONNX does not have.
    """
    known = ATTRIBUTES[node.op_type]
    for item in node.attributes.values():
        if known.get(item.name) != item.type:
            raise InvalidNodeError(f"{node.op_type} has no attribute {item.name!r} of this type")
    if len(node.outputs) != 1:
        raise InvalidNodeError(f"{node.op_type} has 1 output, not {len(node.outputs)}")
    steps = _Steps(node)
    output = _MAKERS[node.op_type](steps, node)
    return Replacement(tuple(steps.nodes), (output,))


class _Steps:
    """The nodes that stand for one node, as they are made."""

    def __init__(self, node: ir.Node) -> None:
        self.nodes: list[ir.Node] = []
        self._node = node

    def inputs(self, start: int, count: int) -> Parts:
        """Return some inputs; one that is left out is None."""
        found = self._node.inputs[start : start + count]
        return (*found, *[None] * (count - len(found)))

    def add(
        self, op_type: str, inputs: Iterable[ir.Value | None], attributes: Iterable[ir.Attr] = ()
    ) -> ir.Value:
        kept = list(inputs)
        while kept and kept[-1] is None:
            kept.pop()
        step = ir.Node("", op_type, kept, attributes)
        self.nodes.append(step)
        return step.outputs[0]

    def real(self, parts: Parts, axis: int | None = None) -> ir.Value:
        """Dequantize (integers, scale, zero point), where scales are many along an axis."""
        integers, scale, zero = parts
        if integers is None or scale is None:
            raise InvalidNodeError(f"{self._node.op_type} lacks an input or its scale")
        return self.add("DequantizeLinear", (integers, scale, zero), _axis(axis))

    def integer(self, value: ir.Value, parts: Parts, dtype: ir.DataType | None) -> ir.Value:
        """Quantize by (scale, zero point); without one, to integers of the dtype."""
        scale, zero = parts
        if scale is None:
            raise InvalidNodeError(f"{self._node.op_type} lacks the scale of its output")
        if zero is not None or dtype is None:
            return self.add("QuantizeLinear", (value, scale, zero))
        attributes = [ir.AttrInt64("output_dtype", dtype.value)]
        return self.add("QuantizeLinear", (value, scale), attributes)


Maker = Callable[[_Steps, ir.Node], ir.Value]


def _axis(axis: int | None) -> list[ir.Attr]:
    return [] if axis is None else [ir.AttrInt64("axis", axis)]


def _dtype(node: ir.Node, index: int = 0) -> ir.DataType | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None else value.dtype


def _same(steps: _Steps, node: ir.Node) -> ir.Value:
    """QuantizeLinear and DequantizeLinear, which differ in nothing but the domain."""
    return steps.add(node.op_type, node.inputs, node.attributes.values())


def _binary(op_type: str) -> Maker:
    def make(steps: _Steps, node: ir.Node) -> ir.Value:
        operands = [steps.real(steps.inputs(start, 3)) for start in (0, 3)]
        return steps.integer(steps.add(op_type, operands), steps.inputs(6, 2), _dtype(node))

    return make


def _unary(op_type: str, *own: str) -> Maker:
    """An operator of one input, without the attributes `own`, which ONNX's does not have."""

    def make(steps: _Steps, node: ir.Node) -> ir.Value:
        if node.attributes.get_int("channels_last", 0):
            raise InvalidNodeError(f"{node.op_type} with channels_last = 1 is not supported")
        kept = [item for item in node.attributes.values() if item.name not in own]
        result = steps.add(op_type, [steps.real(steps.inputs(0, 3))], kept)
        return steps.integer(result, steps.inputs(3, 2), _dtype(node))

    return make


def _softmax(steps: _Steps, node: ir.Node) -> ir.Value:
    """Before opset 13, all axes from ``axis`` on were one: the same where that is the last."""
    rank, axis = len(shape_of(node.inputs[0]) or ()), node.attributes.get_int("axis", -1)
    if node.attributes.get_int("opset", 13) < 13 and axis % max(rank, 1) != rank - 1:
        raise InvalidNodeError(f"QLinearSoftmax of opset < 13 with axis {axis} is not supported")
    return _unary("Softmax", "opset")(steps, node)


def _where(steps: _Steps, node: ir.Node) -> ir.Value:
    """The condition comes first, and has no scale."""
    condition = steps.inputs(0, 1)[0]
    chosen = [steps.real(steps.inputs(start, 3)) for start in (1, 4)]
    result = steps.add("Where", (condition, *chosen))
    return steps.integer(result, steps.inputs(7, 2), _dtype(node, 1))


def _concat(steps: _Steps, node: ir.Node) -> ir.Value:
    starts = range(2, len(node.inputs), 3)
    values = [steps.real(steps.inputs(start, 3)) for start in starts]
    result = steps.add("Concat", values, node.attributes.values())
    return steps.integer(result, steps.inputs(0, 2), _dtype(node, 2))


def _gemm(steps: _Steps, node: ir.Node) -> ir.Value:
    """The bias has the scale alpha x a's x b's; without an output scale, the output is float."""
    a, b = steps.inputs(0, 3), steps.inputs(3, 3)
    column = 0 if node.attributes.get_int("transB", 0) else 1
    inputs = [steps.real(a), steps.real(b, column)]
    attributes = list(node.attributes.values())
    if (bias := steps.inputs(6, 1)[0]) is not None:
        scale = steps.add("Mul", (a[1], b[1]))
        rank = len(shape_of(bias) or ())
        inputs.append(steps.real((bias, scale, None), max(rank - 1, 0)))
        attributes.append(ir.AttrFloat32("beta", node.attributes.get_float("alpha", 1.0)))
    result = steps.add("Gemm", inputs, attributes)
    output = steps.inputs(7, 2)
    return result if output[0] is None else steps.integer(result, output, _dtype(node))


def _matmul_to_float(steps: _Steps, node: ir.Node) -> ir.Value:
    """Integers on both sides, of one scale or one a column of b; a bias may follow."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = steps.inputs(0, 7)
    operands = [steps.real((a, a_scale, a_zero)), steps.real((b, b_scale, b_zero), _columns(b))]
    return _biased(steps, steps.add("MatMul", operands), bias)


def _dynamic_matmul(steps: _Steps, node: ir.Node) -> ir.Value:
    """The data is quantized by its range."""
    a, b, b_scale, b_zero, bias = steps.inputs(0, 5)
    quantize = ir.Node("", "DynamicQuantizeLinear", [a], num_outputs=3)
    steps.nodes.append(quantize)
    integers, scale, zero = quantize.outputs
    operands = [steps.real((integers, scale, zero)), steps.real((b, b_scale, b_zero), _columns(b))]
    return _biased(steps, steps.add("MatMul", operands), bias)


def _columns(value: ir.Value | None) -> int:
    return max(len(shape_of(value) or ()) - 1, 0)


def _biased(steps: _Steps, result: ir.Value, bias: ir.Value | None) -> ir.Value:
    return result if bias is None else steps.add("Add", [result, bias])


def _matmul_nbits(steps: _Steps, node: ir.Node) -> ir.Value:
    """The weight is constant, [outputs, inputs] in blocks along the inputs; a bias may follow."""
    parts, block = unpacked(node)
    attributes = [ir.AttrInt64("axis", 1), ir.AttrInt64("block_size", block)]
    weight = steps.add("DequantizeLinear", parts, attributes)
    turned = steps.add("Transpose", [weight], [ir.AttrInt64s("perm", (1, 0))])
    result = steps.add("MatMul", [*steps.inputs(0, 1), turned])
    return _biased(steps, result, steps.inputs(5, 1)[0])


_MAKERS: Final[dict[str, Maker]] = {
    "DequantizeLinear": _same,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulIntegerToFloat": _matmul_to_float,
    "MatMulNBits": _matmul_nbits,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearAveragePool": _unary("AveragePool", "channels_last"),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool", "channels_last"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
    "QuantizeLinear": _same,
}
