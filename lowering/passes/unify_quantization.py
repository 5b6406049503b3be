"""The pass ``unify-quantization``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..integer_constants import MOVING, integer_constant, moved_constant
from ..matching import array_of, is_op, nodes_of, shape_of, sole_user
from ..requantizing import requantized, unclamped

Part = ir.Value | None


@dataclasses.dataclass(frozen=True)
class UnifyQuantization(ir.passes.InPlacePass):
    """Say integer operators by DequantizeLinear, the operator over real numbers, QuantizeLinear.

    QLinearConv and QLinearMatMul with constant scales and zero points; ConvInteger and
    MatMulInteger where a Cast to float and a Mul by the scales follow, as ONNX Runtime's dynamic
    quantization writes them: where the Mul is by a product of the data's scale and a constant,
    that is the weights' scale. Left alone: sums that are used as integers, scales of several
    dimensions.

    Constant integers are dequantized as they are used: a Transpose or a change of shape behind
    their DequantizeLinear is done to them now, so that the weights of a network that stores only
    those as integers are constants of the products. Numbers that are dequantized and quantized
    again with the same parameters stay the integers that they are. And numbers are not clamped
    before they are quantized where the integers saturate there, as they do behind a Relu.

    Ensures: the same numbers but for the rounding of float sums: where a result lies halfway
    between two integers, it may go to the other.

    Attributes:
        growth: bytes; how much the pass may add to the model's constants, which grow where several
            operators use the same integers in different layouts.
    """

    growth: int = 16 << 20

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            if node.domain == "" and (rewrite := _REWRITES.get(node.op_type)) is not None:
                rewrite(edit, node)
            elif is_op(node, *MOVING):
                self._move_constant(edit, node)
            elif (integers := requantized(node)) is not None:
                edit.bypass(node.outputs[0], integers)
            else:
                while (free := unclamped(node)) is not None and node.inputs[0] is not None:
                    edit.bypass(node.inputs[0], free)
        for node in reversed(model.graph):
            if is_op(node, "DequantizeLinear"):
                edit.remove_unused(node)
        return edit.result(model)

    def _move_constant(self, edit: Editor, node: ir.Node) -> None:
        constant, moved = integer_constant(node.inputs[0]), moved_constant(node)
        if constant is None or moved is None:
            return
        alone = sole_user(constant.node.outputs[0]) is node
        if alone or edit.grown + constant.nbytes <= self.growth:
            edit.bypass(node.outputs[0], moved.insert(edit, node, "moved"))


def _input(node: ir.Node, index: int) -> Part:
    return node.inputs[index] if index < len(node.inputs) else None


def _rank(value: Part) -> int:
    return len(shape_of(value) or ())


@dataclasses.dataclass(frozen=True)
class _Integers:
    """A tensor of integers, and how they stand for real numbers.

    `scale` and `zero` are arrays, scalars or vectors of the same length, or `scale` is a value
    that the graph computes, and `zero` is then a value too.
    """

    value: ir.Value
    scale: np.ndarray | ir.Value
    zero: np.ndarray | ir.Value
    axis: int

    def insert(self, edit: Editor, before: ir.Node, name: str) -> ir.Value:
        scale, zero = (
            edit.constant(before, f"{name}_{what}", part) if isinstance(part, np.ndarray) else part
            for what, part in (("scale", self.scale), ("zero_point", self.zero))
        )
        return edit.insert(
            before,
            "DequantizeLinear",
            [self.value, scale, zero],
            {"axis": self.axis} if _rank(scale) else {},
            name=name,
            dtype=scale.dtype,
            shape=shape_of(self.value),
        )


def _constants(parts: Sequence[Part], axis: int) -> _Integers | None:
    """Return (integers, scale, zero point), constant scalars or vectors along `axis`, or None."""
    value, scale, zero = parts
    if value is None or value.dtype is None:
        return None
    scales = array_of(scale)
    zeros = np.zeros((), value.dtype.numpy()) if zero is None else array_of(zero)
    if scales is None or zeros is None or max(scales.ndim, zeros.ndim) > 1:
        return None
    scales, zeros = (part.reshape(()) if part.size == 1 else part for part in (scales, zeros))
    if scales.ndim == zeros.ndim == 1 and scales.shape != zeros.shape:
        return None
    shape = np.broadcast_shapes(scales.shape, zeros.shape)
    dims = shape_of(value) or ()
    if shape and not (0 <= axis < len(dims) and shape == (dims[axis],)):
        return None
    return _Integers(value, np.broadcast_to(scales, shape), np.broadcast_to(zeros, shape), axis)


def _replace(
    edit: Editor, node: ir.Node, op_type: str, inputs: list[ir.Value], output: tuple[Part, Part]
) -> None:
    """Put the operator over real numbers, and QuantizeLinear, in the place of a node."""
    result = edit.insert(
        node,
        op_type,
        inputs,
        {item.name: item for item in node.attributes.values()},
        name=op_type.lower(),
        dtype=inputs[0].dtype,
        shape=shape_of(node.outputs[0]),
    )
    scale, zero = (
        value if array is None else edit.constant(node, name, array.reshape(()))
        for name, value in zip(("scale", "zero_point"), output, strict=True)
        for array in [array_of(value)]
    )
    edit.replace(node, "QuantizeLinear", [result, scale, zero])


def _is_single(*values: Part) -> bool:
    return all(array is not None and array.size == 1 for array in map(array_of, values))


def _qlinear_conv(edit: Editor, node: ir.Node) -> None:
    data = _constants(node.inputs[:3], axis=-1)
    weights = _constants(node.inputs[3:6], axis=0)
    if data is None or weights is None or not _is_single(*node.inputs[6:8]):
        return
    inputs = [data.insert(edit, node, "data"), weights.insert(edit, node, "weight")]
    if (bias := _input(node, 8)) is not None:
        scale = np.asarray(data.scale * weights.scale)
        zero = np.zeros(scale.shape, np.int32)
        inputs.append(_Integers(bias, scale, zero, 0).insert(edit, node, "bias"))
    _replace(edit, node, "Conv", inputs, (node.inputs[6], node.inputs[7]))


def _qlinear_matmul(edit: Editor, node: ir.Node) -> None:
    """Scales of a lie along its rows, those of b along its columns; y has one."""
    a = _constants(node.inputs[:3], axis=_rank(node.inputs[0]) - 2)
    columns = _rank(node.inputs[3]) - 1
    b = _constants(node.inputs[3:6], axis=columns if columns > 0 else -1)
    if a is None or b is None or not _is_single(*node.inputs[6:8]):
        return
    inputs = [a.insert(edit, node, "a"), b.insert(edit, node, "b")]
    _replace(edit, node, "MatMul", inputs, (node.inputs[6], node.inputs[7]))


def _integer_sums(edit: Editor, node: ir.Node) -> None:
    """ConvInteger, whose weights have one scale, and MatMulInteger, with many along columns."""
    cast = sole_user(node.outputs[0])
    if cast is None or not is_op(cast, "Cast") or cast.outputs[0].dtype != ir.DataType.FLOAT:
        return
    scaled = sole_user(cast.outputs[0])
    if scaled is None or not is_op(scaled, "Mul"):
        return
    if shape_of(scaled.outputs[0]) != shape_of(node.outputs[0]):
        return
    factor = scaled.inputs[1] if scaled.inputs[0] is cast.outputs[0] else scaled.inputs[0]
    columns = _rank(node.inputs[1]) - 1
    is_matmul = node.op_type == "MatMulInteger"
    found = _scales(node, factor)
    if found is None:
        return
    data, scale = found
    weights = _constants(
        (node.inputs[1], scale, _input(node, 3)), columns if is_matmul and columns > 0 else -1
    )
    if weights is None:
        return
    inputs = [data.insert(edit, scaled, "data"), weights.insert(edit, scaled, "weight")]
    attributes = {item.name: item for item in node.attributes.values()}
    op_type = node.op_type.removesuffix("Integer")
    sources = [node, cast]
    if factor is not None and (product := factor.producer()) is not None:
        sources.append(product)
    edit.replace(scaled, op_type, inputs, attributes, absorbed=sources, name=node.name)


def _zero_of(data: ir.Value, zero: Part) -> _Integers | None:
    """Return data of scale 1 with a constant zero point, 0 if it has none."""
    zeros = np.zeros(()) if zero is None else array_of(zero)
    if zeros is None or zeros.size != 1 or data.dtype is None:
        return None
    scale = np.array(1, np.float32)
    return _Integers(data, scale, zeros.reshape(()).astype(data.dtype.numpy()), -1)


def _scales(node: ir.Node, factor: Part) -> tuple[_Integers, Part] | None:
    """Take the factor of integer sums apart: return the data and the scale of the weights."""
    data, zero = node.inputs[0], _input(node, 2)
    if data is None or factor is None:
        return None
    if array_of(factor) is not None:
        # Whose scale is what does not matter to the product: all of it goes to the weights.
        found = _zero_of(data, zero)
        return None if found is None else (found, factor)
    product = factor.producer()
    if product is None or not is_op(product, "Mul"):
        return None
    constants = [value for value in product.inputs if array_of(value) is not None]
    computed = [value for value in product.inputs if value is not None and value not in constants]
    if len(constants) != 1 or len(computed) != 1 or zero is None:
        return None
    if shape_of(computed[0]) != () or shape_of(zero) != ():
        return None
    return _Integers(data, computed[0], zero, -1), constants[0]


_REWRITES: Final[dict[str, Callable[[Editor, ir.Node], None]]] = {
    "ConvInteger": _integer_sums,
    "MatMulInteger": _integer_sums,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
}
