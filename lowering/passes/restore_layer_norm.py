"""Recognise layer normalization where an exporter wrote it out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import (
    TOLERANCES,
    array_of,
    ints_of,
    is_interior,
    is_op,
    nodes_of,
    other_input,
    scalar_of,
    shape_of,
    sole_user,
)


@dataclasses.dataclass(frozen=True)
class RestoreLayerNorm(ir.passes.InPlacePass):
    """Turn (x - mean) / sqrt(variance + epsilon) * scale + bias into LayerNormalization.

    Mean and variance are ReduceMean over the last axes; the square is a Mul or Pow, the division a
    Div or a Mul by the reciprocal, x - mean may be computed twice, and scale and bias may be
    missing (a missing scale is put as ones). TensorFlow's form is known as well:
    with r = scale / sqrt(variance + epsilon), x r + (bias - mean r). No value in between may have
    another use.

    Attributes:
        limit: bytes; what a scale or bias may take that is made here because the operator wants
            it in the shape of the normalized axes.
    """

    limit: int = 1 << 20

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            spread = _spread_of(node)
            normal = (_quotient(spread) or _expanded(spread)) if spread is not None else None
            if spread is None or normal is None:
                continue
            absorbed = dict.fromkeys((*spread.nodes, *normal.nodes))
            inside = [item.outputs[0] for item in absorbed if item is not normal.root]
            if not all(is_interior(value, absorbed) for value in inside):
                continue
            if all(size <= self.limit for size in _made(spread, normal)):
                _put(spread, normal, list(absorbed), edit)
        return edit.result(model)


@dataclasses.dataclass(frozen=True)
class _Spread:
    """sqrt(variance + epsilon) of x over its axes from `axis` on, and the nodes that compute it."""

    x: ir.Value
    axis: int
    epsilon: float
    value: ir.Value
    nodes: tuple[ir.Node, ...]

    @property
    def dims(self) -> tuple[int, ...]:
        return (shape_of(self.x) or ())[self.axis :]


@dataclasses.dataclass(frozen=True)
class _Normal:
    """The normalized value, scaled and shifted, that `root` gives, and the nodes up to it."""

    root: ir.Node
    nodes: tuple[ir.Node, ...]
    scale: ir.Value | None = None
    bias: ir.Value | None = None


def _producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if is_op(node, *op_types) else None


def _user(value: ir.Value, *op_types: str) -> ir.Node | None:
    node = sole_user(value)
    return node if is_op(node, *op_types) else None


def _mean_of(node: ir.Node | None) -> tuple[ir.Value, int] | None:
    """Return what a ReduceMean that keeps its axes averages, from which axis to the last."""
    axes = ints_of(node.inputs[1]) if node is not None and len(node.inputs) > 1 else None
    shape = shape_of(node.inputs[0]) if node is not None else None
    if node is None or node.inputs[0] is None or not axes or not shape:
        return None
    reduced = sorted(axis % len(shape) for axis in axes)
    if reduced != list(range(reduced[0], len(shape))) or not node.attributes.get_int("keepdims", 1):
        return None
    return node.inputs[0], reduced[0]


def _deviation_of(value: ir.Value | None) -> tuple[ir.Value, int, tuple[ir.Node, ...]] | None:
    """Return x, the first axis and the nodes, if a value is x - mean(x)."""
    difference = _producer(value, "Sub")
    average = _producer(difference.inputs[1], "ReduceMean") if difference is not None else None
    mean = _mean_of(average)
    if difference is None or average is None or mean is None or mean[0] is not difference.inputs[0]:
        return None
    return (*mean, (average, difference))


def _spread_of(root: ir.Node) -> _Spread | None:
    """Read sqrt(mean((x - mean(x)) ** 2) + epsilon) from its last node."""
    total = _producer(root.inputs[0], "Add") if is_op(root, "Sqrt") else None
    if total is None or root.outputs[0].dtype not in TOLERANCES:
        return None
    numbers = [number for value in total.inputs if (number := scalar_of(value)) is not None]
    means = [node for value in total.inputs if (node := _producer(value, "ReduceMean"))]
    if len(numbers) != 1 or len(means) != 1:
        return None
    epsilon, variance = numbers[0], means[0]
    averaged = _mean_of(variance)
    square = _producer(averaged[0], "Mul", "Pow") if averaged is not None else None
    if averaged is None or square is None:
        return None
    if square.op_type == "Pow" and scalar_of(square.inputs[1]) != 2:
        return None
    factors = square.inputs if square.op_type == "Mul" else square.inputs[:1]
    parts = [part for value in factors if (part := _deviation_of(value)) is not None]
    if len(parts) != len(factors) or any(part[:2] != (parts[0][0], averaged[1]) for part in parts):
        return None
    nodes = [node for part in parts for node in part[2]]
    x, axis, _ = parts[0]
    return _Spread(x, axis, epsilon, root.outputs[0], (*nodes, square, variance, total, root))


def _inverse(spread: _Spread) -> ir.Node | None:
    """Return the node that computes 1 / spread, if that is all it is used for."""
    node = _user(spread.value, "Reciprocal", "Div")
    if node is None or node.op_type == "Reciprocal":
        return node
    return node if node.inputs[1] is spread.value and scalar_of(node.inputs[0]) == 1 else None


def _quotient(spread: _Spread) -> _Normal | None:
    """Read (x - mean) / spread, and a scale and a bias that follow."""
    inverse = _inverse(spread)
    if inverse is not None:
        node = _user(inverse.outputs[0], "Mul")
        value = other_input(node, inverse.outputs[0]) if node is not None else None
    else:
        node = _user(spread.value, "Div")
        value = node.inputs[0] if node is not None else None
    deviation = _deviation_of(value)
    if node is None or deviation is None or deviation[:2] != (spread.x, spread.axis):
        return None
    nodes = [*([inverse] if inverse is not None else []), *deviation[2], node]
    operands: dict[str, ir.Value] = {}
    for name, op_type in (("scale", "Mul"), ("bias", "Add")):
        user = _user(nodes[-1].outputs[0], op_type)
        operand = other_input(user, nodes[-1].outputs[0]) if user is not None else None
        if user is not None and operand is not None and _fits(operand, spread):
            operands[name] = operand
            nodes.append(user)
    return _Normal(nodes[-1], tuple(nodes), **operands)


def _expanded(spread: _Spread) -> _Normal | None:
    """Read x r + (bias - mean r), or x r - mean r, with r = scale / spread."""
    inverse = _inverse(spread)
    if inverse is None:
        return None
    scaling = _user(inverse.outputs[0], "Mul")
    scale = other_input(scaling, inverse.outputs[0]) if scaling is not None else None
    rate = (scaling or inverse).outputs[0]
    users = [use.node for use in rate.uses() if is_op(use.node, "Mul")]
    left = next((node for node in users if other_input(node, rate) is spread.x), None)
    right = next((node for node in users if _is_mean(other_input(node, rate), spread)), None)
    if left is None or right is None or (scaling is not None and not _fits(scale, spread)):
        return None
    nodes = [inverse, *([scaling] if scaling is not None else []), left, right]
    difference, root = _user(right.outputs[0], "Sub"), _user(left.outputs[0], "Add", "Sub")
    if difference is None or root is None or difference.inputs[1] is not right.outputs[0]:
        return None
    if difference is root:
        return _Normal(root, (*nodes, root), scale)
    bias = difference.inputs[0]
    if root.op_type != "Add" or other_input(root, left.outputs[0]) is not difference.outputs[0]:
        return None
    return _Normal(root, (*nodes, difference, root), scale, bias) if _fits(bias, spread) else None


def _is_mean(value: ir.Value | None, spread: _Spread) -> bool:
    return _mean_of(_producer(value, "ReduceMean")) == (spread.x, spread.axis)


def _fits(value: ir.Value | None, spread: _Spread) -> bool:
    """Whether a value can be made the operator's scale or bias, which have the shape `dims`."""
    shape, dims = shape_of(value), spread.dims
    if shape is None or array_of(value) is None:
        return shape == dims
    aligned = (1,) * (len(dims) - len(shape)) + shape
    lead = aligned[: len(aligned) - len(dims)]
    pairs = zip(aligned[len(lead) :], dims, strict=True)
    return len(lead) <= spread.axis and set(lead) <= {1} and all(a in (1, b) for a, b in pairs)


def _made(spread: _Spread, normal: _Normal) -> list[int]:
    """Return the bytes of each parameter that must be made, since none is there in that shape."""
    size = math.prod(spread.dims) * (spread.x.dtype or ir.DataType.FLOAT).itemsize
    values = [normal.scale] + ([normal.bias] if normal.bias is not None else [])
    return [int(size) for value in values if shape_of(value) != spread.dims]


def _put(spread: _Spread, normal: _Normal, absorbed: list[ir.Node], edit: Editor) -> None:
    root, dims = normal.root, spread.dims

    def parameter(value: ir.Value | None, name: str) -> ir.Value:
        if value is not None and shape_of(value) == dims:
            return value
        array = array_of(value)
        figures = np.ones(()) if array is None else array
        flat = figures.reshape(figures.shape[max(0, figures.ndim - len(dims)) :])
        return edit.constant(root, name, np.broadcast_to(flat, dims).copy(), spread.x.dtype)

    inputs = [spread.x, parameter(normal.scale, "scale")]
    if normal.bias is not None:
        inputs.append(parameter(normal.bias, "bias"))
    form: dict[str, int | float] = {"axis": spread.axis, "epsilon": spread.epsilon}
    if spread.x.dtype == ir.DataType.DOUBLE:
        form["stash_type"] = ir.DataType.DOUBLE.value
    edit.replace(root, "LayerNormalization", inputs, form, absorbed=absorbed)
