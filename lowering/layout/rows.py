"""Which operators work in any layout of their data, and how: one row an operator.

A row is asked with a node and its *reference layout*: that of its output for an elementwise
operator, that of its first input for every other. It answers with the `Move`, or None where the
node cannot work in that layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ..matching import array_of, ints_of, is_op, shape_of
from ..regrouping import regroup
from .layouts import Layout, Move, identity, is_identity, permuted

Row = Callable[[ir.Node, Layout], Move | None]


def _rank(value: ir.Value | None) -> int:
    return len(shape_of(value) or ())


def _elementwise(node: ir.Node, layout: Layout) -> Move | None:
    """Inputs are broadcast to the output's shape."""
    inputs: list[Layout | None] = []
    for value in node.inputs:
        shape = shape_of(value)
        if value is None or shape is None or all(size == 1 for size in shape):
            inputs.append(None)
        elif len(shape) == len(layout) or array_of(value) is not None:
            inputs.append(layout)
        else:
            missing = len(layout) - len(shape)
            tail = tuple(axis - missing for axis in layout[missing:])
            if min(tail) < 0:
                return None
            inputs.append(tail)
    return Move(tuple(inputs), (layout,) * len(node.outputs))


def _along_axis(default: int, data_inputs: int = 1) -> Row:
    """An attribute ``axis`` names one axis of the data, which is the first inputs."""

    def row(node: ir.Node, layout: Layout) -> Move | None:
        axis = node.attributes.get_int("axis", default) % len(layout)
        rest = (None,) * (len(node.inputs) - data_inputs)
        return Move(
            (layout,) * data_inputs + rest,
            (layout,) * len(node.outputs),
            {"axis": layout.index(axis)},
        )

    return row


def _concat(node: ir.Node, layout: Layout) -> Move | None:
    return _along_axis(0, len(node.inputs))(node, layout)


def _quantize(node: ir.Node, layout: Layout) -> Move | None:
    """Scale and zero point are scalars, or vectors along the axis; not in blocks."""
    if _rank(node.inputs[1]) > 1 or node.attributes.get_int("block_size"):
        return None
    if _rank(node.inputs[1]) == 0:
        return Move((layout, *(None for _ in node.inputs[1:])), (layout,))
    return _along_axis(1)(node, layout)


def _quantize_by_range(node: ir.Node, layout: Layout) -> Move | None:
    """The scale and the zero point, its other outputs, are scalars: the tensor's range is."""
    return Move((layout,), (layout, *(() for _ in node.outputs[1:])))


def _cumulative(node: ir.Node, layout: Layout) -> Move | None:
    axes = ints_of(node.inputs[1])
    if axes is None or len(axes) != 1:
        return None
    axis = np.array(layout.index(axes[0] % len(layout)), np.int64)
    return Move((layout, None), (layout,), constants={1: axis})


def without(layout: Layout, removed: Iterable[int]) -> Layout:
    """Return the layout of a tensor that has lost some axes."""
    kept = [axis for axis in layout if axis not in set(removed)]
    return tuple(sorted(kept).index(axis) for axis in kept)


def _arg_reduce(node: ir.Node, layout: Layout) -> Move | None:
    axis = node.attributes.get_int("axis", 0) % len(layout)
    keeps = node.attributes.get_int("keepdims", 1)
    result = layout if keeps else without(layout, [axis])
    return Move((layout,), (result,), {"axis": layout.index(axis)})


def _reduce(node: ir.Node, layout: Layout) -> Move | None:
    """Axes are a constant second input; without one, all axes are reduced, or none."""
    rank = len(layout)
    keeps = node.attributes.get_int("keepdims", 1)
    axes = ints_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if not axes:
        if len(node.inputs) > 1 and node.inputs[1] is not None and axes is None:
            return None
        none = node.attributes.get_int("noop_with_empty_axes", 0)
        result = layout if keeps or none else ()
        return Move((layout, None)[: len(node.inputs)], (result,))
    reduced = [axis % rank for axis in axes]
    result = layout if keeps else without(layout, reduced)
    return Move((layout, None), (result,), constants={1: _positions(layout, reduced)})


def _positions(layout: Layout, axes: Sequence[int]) -> np.ndarray:
    return np.array([layout.index(axis % len(layout)) for axis in axes], np.int64)


def _axes_of(node: ir.Node, index: int, count: int) -> tuple[int, ...] | None:
    """Return the axes that an optional constant input lists; by default the first `count`."""
    if len(node.inputs) <= index or node.inputs[index] is None:
        return tuple(range(count))
    return ints_of(node.inputs[index])


def _pad(node: ir.Node, layout: Layout) -> Move | None:
    pads = ints_of(node.inputs[1])
    axes = _axes_of(node, 3, len(layout))
    if pads is None or axes is None:
        return None
    rest = (None,) * (len(node.inputs) - 1)
    if len(node.inputs) > 3:
        return Move((layout, *rest), (layout,), constants={3: _positions(layout, axes)})
    begins, ends = pads[: len(layout)], pads[len(layout) :]
    moved = np.array(permuted(begins, layout) + permuted(ends, layout), np.int64)
    return Move((layout, *rest), (layout,), constants={1: moved})


def _slice(node: ir.Node, layout: Layout) -> Move | None:
    axes = _axes_of(node, 3, (shape_of(node.inputs[1]) or (0,))[0])
    if axes is None:
        return None
    rest = (None,) * (len(node.inputs) - 1)
    return Move((layout, *rest), (layout,), constants={3: _positions(layout, axes)})


def _resize(node: ir.Node, layout: Layout) -> Move | None:
    """Scales or sizes are constants; the resized axes stay where the reference takes them."""
    crops = node.attributes.get_string("coordinate_transformation_mode", "").startswith("tf_crop")
    if crops or not _resizes_there(node, layout):
        return None
    rest = (None,) * (len(node.inputs) - 1)
    if "axes" in node.attributes:
        axes = tuple(layout.index(axis) for axis in node.attributes["axes"].as_ints())
        return Move((layout, *rest), (layout,), {"axes": axes})
    constants = {}
    for index in range(2, len(node.inputs)):
        array = array_of(node.inputs[index])
        if array is not None and array.size == len(layout):
            constants[index] = array[list(layout)]
        elif node.inputs[index] is not None and (array is None or array.size):
            return None
    return Move((layout, *rest), (layout,), constants=constants)


def _resizes_there(node: ir.Node, layout: Layout) -> bool:
    """Whether ONNX Runtime, the reference, resizes the axes where the layout puts them.

    It finds nearest neighbours along all axes. It interpolates linearly along all of up to three,
    and of more along all but the first two, or but the first and the last of four.
    """
    mode = node.attributes.get_string("mode", "nearest")
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if mode == "cubic" or before is None or after is None:
        return False
    resized = {layout.index(axis) for axis in layout if before[axis] != after[axis]}
    if mode == "nearest" or len(layout) <= 3 or resized.isdisjoint((0, 1)):
        return True
    return len(layout) == 4 and resized.isdisjoint((0, 3))


def _tile(node: ir.Node, layout: Layout) -> Move | None:
    repeats = array_of(node.inputs[1])
    if repeats is None:
        return None
    return Move((layout, None), (layout,), constants={1: repeats[list(layout)]})


def _expand(node: ir.Node, layout: Layout) -> Move | None:
    result = shape_of(node.outputs[0])
    if result is None or len(result) != len(layout) or array_of(node.inputs[1]) is None:
        return None
    target = np.array(permuted(result, layout), np.int64)
    return Move((layout, None), (layout,), constants={1: target})


def _gather(node: ir.Node, layout: Layout) -> Move | None:
    """One index takes the axis away, a vector of them keeps it."""
    axis = node.attributes.get_int("axis", 0) % len(layout)
    indices = _rank(node.inputs[1])
    if indices > 1:
        return None
    result = layout if indices else without(layout, [axis])
    return Move((layout, None), (result,), {"axis": layout.index(axis)})


def _normalize_trailing(node: ir.Node, layout: Layout) -> Move | None:
    """The axes from ``axis`` on must stay the last ones, in order."""
    axis = node.attributes.get_int("axis", -1) % len(layout)
    count = len(layout) - axis
    parameters = node.inputs[1:]
    if layout[axis:] != identity(len(layout))[axis:] or len(node.outputs) > 1:
        return None
    if any(_rank(value) > count for value in parameters):
        return None
    return Move((layout, *(None for _ in parameters)), (layout,))


def _reshape(node: ir.Node, layout: Layout) -> Move | None:
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if before is None or after is None or array_of(node.inputs[1]) is None:
        return None
    result = regroup(before, after, layout)
    if result is None:
        return None
    target = np.array(permuted(after, result), np.int64)
    return Move((layout, None), (result,), constants={1: target})


_ELEMENTWISE_NAMES: Final = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not
    Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub
    Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_REDUCTION_NAMES: Final = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare
"""

_ELEMENTWISE: Final = frozenset(_ELEMENTWISE_NAMES.split())
_REDUCTIONS: Final = frozenset(_REDUCTION_NAMES.split())

ROWS: Final[dict[str, Row]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "ArgMax": _arg_reduce,
    "ArgMin": _arg_reduce,
    "Concat": _concat,
    "CumProd": _cumulative,
    "CumSum": _cumulative,
    "DequantizeLinear": _quantize,
    "DynamicQuantizeLinear": _quantize_by_range,
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": _along_axis(0, 2),
    "Hardmax": _along_axis(-1),
    "LayerNormalization": _normalize_trailing,
    "LogSoftmax": _along_axis(-1),
    "LpNormalization": _along_axis(-1),
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "RMSNormalization": _normalize_trailing,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": _along_axis(-1),
    "Split": _along_axis(0),
    "Tile": _tile,
    "TopK": _along_axis(-1),
}


def move(node: ir.Node, reference: Layout) -> Move | None:
    """Return how the node works in a reference layout; None if it cannot, or has no row."""
    if node.domain != "" or node.op_type not in ROWS or len(reference) != reference_rank(node):
        return None
    if is_identity(reference):
        outputs = tuple(identity(_rank(value)) for value in node.outputs)
        inputs = tuple(None if value is None else identity(_rank(value)) for value in node.inputs)
        return Move(inputs, outputs)
    return ROWS[node.op_type](node, reference)


def reference_rank(node: ir.Node) -> int:
    """Return the rank of the tensor whose layout is the node's reference layout."""
    return _rank(node.outputs[0] if node.op_type in _ELEMENTWISE else node.inputs[0])


def reference_for_output(node: ir.Node, layout: Layout) -> Layout | None:
    """Return the reference layout in which the node gives its outputs in `layout`, if one is."""
    if is_op(node, "Reshape"):
        after, before = shape_of(node.outputs[0]), shape_of(node.inputs[0])
        return None if after is None or before is None else regroup(after, before, layout)
    return layout if len(layout) == reference_rank(node) else None
