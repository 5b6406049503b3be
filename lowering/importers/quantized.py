"""What is wrong with a quantized node: scales and zero points that do not fit the integers.

ONNX's inference does not compare them, and ONNX Runtime only does when it runs.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from ..matching import shape_of

Shape = tuple[int, ...]

_SINGLE: Final[tuple[Shape, ...]] = ((), (1,))


def linear_fault(node: ir.Node) -> str:
    """Return what is wrong with a QuantizeLinear or DequantizeLinear, or "".

    Scale and zero point are one number, one for each position of an axis, or one for each block
    along it; both alike.
    """
    data, scale, zero = (_shape(node, index) for index in (0, 1, 2))
    axis, block = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
    if data is None or scale is None:
        return ""
    if block or scale not in _SINGLE:
        if not -len(data) <= axis < len(data):
            return f"axis {axis} is not in an input of {len(data)} dimensions"
        if block < 0:
            return f"block_size is {block}"
        wanted: Shape = (data[axis],)
        if block:
            blocks = -(-data[axis] // block)
            wanted = tuple(
                blocks if place == axis % len(data) else size for place, size in enumerate(data)
            )
        if scale != wanted:
            return (
                f"its scale has shape {list(scale)}, but one that goes with its input of shape "
                f"{list(data)} has {list(wanted)}"
            )
    if zero is None or zero == scale or (zero in _SINGLE and scale in _SINGLE):
        return ""
    return f"its zero point has shape {list(zero)}, but its scale has {list(scale)}"


def product_fault(node: ir.Node) -> str:
    """Return what is wrong with the scales and zero points of a product of integers, or ""."""
    for index, name, axis, parameters in _TENSORS[node.op_type]:
        data = None if index is None else _shape(node, index)
        length = _length(data, axis)
        for what, place in parameters:
            shape = _shape(node, place)
            if shape is None or shape in _SINGLE or shape == (length,):
                continue
            if "MatMul" in node.op_type and data is not None and _broadcasts(shape, data):
                continue
            wanted = "[]" if length is None else f"[] or [{length}]"
            return f"the {what} of {name} has shape {list(shape)}, not {wanted}"
    return ""


def _length(data: Shape | None, axis: int | None) -> int | None:
    if data is None or axis is None or not -len(data) <= axis < len(data):
        return None
    return data[axis]


def _broadcasts(shape: Shape, data: Shape) -> bool:
    """Whether the scales of a matrix, or a stack of them, have its dimensions."""
    alike = zip(shape, data, strict=False)
    return 1 < len(shape) == len(data) and all(part in (1, size) for part, size in alike)


def _shape(node: ir.Node, index: int) -> Shape | None:
    return shape_of(node.inputs[index]) if index < len(node.inputs) else None


_Tensor = tuple[int | None, str, int | None, tuple[tuple[str, int], ...]]


def _tensor(index: int | None, name: str, axis: int | None, scale: int, zero: int) -> _Tensor:
    return index, name, axis, (("scale", scale), ("zero point", zero))


#: Of each operator: input, name, the axis along which scales may be many, and where they are.
_TENSORS: Final[dict[str, tuple[_Tensor, ...]]] = {
    "ConvInteger": (
        (0, "x", None, (("zero point", 2),)),
        (1, "w", 0, (("zero point", 3),)),
    ),
    "MatMulInteger": (
        (0, "a", -2, (("zero point", 2),)),
        (1, "b", -1, (("zero point", 3),)),
    ),
    "QLinearConv": (
        _tensor(0, "x", None, 1, 2),
        _tensor(3, "w", 0, 4, 5),
        _tensor(None, "y", None, 6, 7),
    ),
    "QLinearMatMul": (
        _tensor(0, "a", -2, 1, 2),
        _tensor(3, "b", -1, 4, 5),
        _tensor(None, "y", None, 6, 7),
    ),
}
