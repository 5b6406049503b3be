"""Where integers are: which nodes compute in them, which values are rounded to them.

The rule in one sentence: an operator that the scheme names computes in integers, its inputs and its
output are rounded, and an activation that alone reads a sum is part of the sum's kernel.

Where the scheme lets sums leave a kernel in float (`Scheme.float_outputs`), a value is rounded only
if an integer kernel reads it; so what follows the last linear operator, and what lies between
operators in float, stays float. Else every output of an integer kernel is rounded.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from ..clamps import clamp_of
from ..matching import array_of, has_body, is_op, shape_of, sole_user, tensor_of
from .scheme import LINEAR, Scheme

#: Operators that take in a following activation: it bounds their sums before these are rounded.
_TAKING_IN: Final = (*sorted(LINEAR), "Add", "AveragePool", "GlobalAveragePool", "Mul", "Sub")

#: Operators all of whose inputs are data; of the others it is the first.
_OF_ALL: Final = ("Add", "Concat", "Mul", "PRelu", "Sub")

#: The axis of a linear operator's weight along which its output channels lie, counted from the end
#: where negative.
_CHANNELS: Final = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0, "MatMul": -1}


@dataclasses.dataclass(frozen=True)
class Quantized:
    """A value that is rounded to integers.

    Attributes:
        like: the value whose parameters it takes, which takes those of none itself; None if it has
            its own. For operators that pass numbers on, and Concat where the scheme wants it.
        fixed: (scale, zero point) that the scheme gives; None if they follow from the range.
        bounds: what no number of it is ever beyond, as the operator that gives it says.
    """

    like: str | None = None
    fixed: tuple[float, int] | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where integers are in one model.

    Attributes:
        nodes: the names of the linear nodes (`scheme.LINEAR`) whose weights become integers.
        values: the values that are rounded, by name, in graph order: inputs, then outputs of nodes.
        integer: the names of all nodes that compute in integers, in graph order.
    """

    nodes: tuple[str, ...]
    values: Mapping[str, Quantized]
    integer: tuple[str, ...]


def place(model: ir.Model, scheme: Scheme, kept: Collection[str] = ()) -> Placement:
    """Return where integers are in a canonical, channels-first model in float.

    Args:
        model: not changed.
        scheme: what computes in integers.
        kept: the names of nodes that stay float whatever they are.
    """
    nodes = list(model.graph)
    able = {node for node in nodes if node.name not in kept and not refusal(node, scheme)}
    integer = _backward(nodes, able, scheme)
    if not scheme.float_outputs:
        _forward(nodes, able, integer, scheme)
    values = _rounded(model, integer, scheme)
    return Placement(
        nodes=tuple(str(node.name) for node in nodes if node in integer and has_weight(node)),
        values=_related(values, integer, scheme),
        integer=tuple(str(node.name) for node in nodes if node in integer),
    )


def channel_axis(node: ir.Node) -> int:
    """Return the axis of a linear node's weight (input 1) along which output channels lie.

    Conv and Gemm: 0, ConvTranspose: 1 (the channels of one group), MatMul: the last.
    """
    return _CHANNELS[node.op_type] % len(shape_of(node.inputs[1]) or (0,))


def has_weight(node: ir.Node) -> bool:
    """Whether the node is linear and its weight is constant."""
    return is_op(node, *LINEAR) and len(node.inputs) > 1 and tensor_of(node.inputs[1]) is not None


def data_inputs(node: ir.Node) -> tuple[int, ...]:
    """Return which inputs of a node are numbers that it computes with, a weight or bias left out.

    They may be constants.
    """
    if is_op(node, "MatMul") and not has_weight(node):
        return (0, 1)
    return tuple(range(len(node.inputs))) if is_op(node, *_OF_ALL) else (0,)


def is_inner(value: ir.Value, integer: Collection[str | None], scheme: Scheme) -> bool:
    """Whether a value goes from a sum into its activation, inside one of the integer kernels.

    Or into another operator that takes it in as it is (`Scheme.inner`).
    """
    user, producer = sole_user(value), value.producer()
    return (
        user is not None
        and producer is not None
        and producer.name in integer
        and user.name in integer
        and is_op(producer, *_TAKING_IN)
        and is_op(user, *scheme.inner)
    )


def refusal(node: ir.Node, scheme: Scheme) -> str | None:
    """Return why no integer kernel can do the node's work; None if one can."""
    if node.domain or node.op_type not in scheme.operators or has_body(node):
        return f"no {scheme.format} kernel in {scheme.kernels or f'the scheme {scheme.name!r}'}"
    data = [node.inputs[index] for index in data_inputs(node)]
    if not all(_is_real(value) for value in (*data, *node.outputs)):
        return "its numbers are not all finite float32"
    if all(tensor_of(value) is not None for value in data):
        return "all that it reads is constant"
    if "Conv" in node.op_type and (group := _group(node)) < scheme.group:
        return f"its groups have {group} channels; {scheme.format} kernels fill to {scheme.group}"
    special = _SPECIAL.get(node.op_type)
    if special is not None and not special(node):
        return f"no {scheme.format} kernel for it as it is: {special.__doc__}"
    return None


def _group(node: ir.Node) -> float:
    """Return how many input channels a group of a grouped convolution has; else infinity."""
    groups = node.attributes.get_int("group", 1)
    channels = (shape_of(node.inputs[0]) or (0, 0))[1]
    return channels // groups if groups > 1 else math.inf


def _is_real(value: ir.Value | None) -> bool:
    """Whether a value is a float32 tensor with elements; a constant one of finite numbers."""
    if value is None or value.dtype != ir.DataType.FLOAT or 0 in (shape_of(value) or ()):
        return False
    array = array_of(value)
    return array is None or bool(np.isfinite(array).all())


def _is_linear(node: ir.Node) -> bool:
    """weight and bias must be constants, those of Gemm in the normal form"""
    if not has_weight(node):
        return node.op_type == "MatMul"
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    named = node.attributes
    plain = (
        named.get_int("transB", 0) == 1
        and named.get_int("transA", 0) == 0
        and named.get_float("alpha", 1.0) == named.get_float("beta", 1.0) == 1
    )
    return (
        _is_real(weight)
        and len(shape_of(weight) or ()) >= 2
        and (bias is None or (tensor_of(bias) is not None and _is_real(bias)))
        and (node.op_type != "Gemm" or plain)
    )


def _pads_zeros(node: ir.Node) -> bool:
    """constants that fill must be zero"""
    written = node.inputs[2] if len(node.inputs) > 2 else None
    if written is None or node.attributes.get_string("mode", "constant") != "constant":
        return True
    array = array_of(written)
    return array is not None and not array.any()


def _has_constant_bounds(node: ir.Node) -> bool:
    """bounds must be constants"""
    return clamp_of(node) is not None


def _is_unit(node: ir.Node) -> bool:
    """alpha must be 1"""
    return node.attributes.get_float("alpha", 1.0) == 1


def _rises(node: ir.Node) -> bool:
    """alpha must be positive"""
    return node.attributes.get_float("alpha", 1.0) > 0


#: What else must hold of an operator; the docstring says so in messages.
_SPECIAL: Final[dict[str, Callable[[ir.Node], bool]]] = {
    **dict.fromkeys(LINEAR, _is_linear),
    "Clip": _has_constant_bounds,
    "Elu": _is_unit,
    "HardSigmoid": _rises,
    "Swish": _rises,
    "Pad": _pads_zeros,
}


def _backward(nodes: list[ir.Node], able: set[ir.Node], scheme: Scheme) -> set[ir.Node]:
    """Return the nodes that compute in integers, as what reads their outputs says."""
    integer: set[ir.Node] = set()
    for node in reversed(nodes):
        if node not in able or _is_activation_of_float(node, able):
            continue
        if scheme.same_in_concat and is_op(node, "Concat") and _reads_fixed(node, scheme, able):
            continue
        alone = is_op(node, *LINEAR) or not (scheme.float_outputs or node.op_type in scheme.passing)
        if alone or any(_is_read(value, integer) for value in node.outputs):
            integer.add(node)
    return integer


def _forward(
    nodes: list[ir.Node], able: set[ir.Node], integer: set[ir.Node], scheme: Scheme
) -> None:
    """Let operators that pass numbers on do so with integers where integers come in."""
    for node in nodes:
        source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
        if node.op_type in scheme.passing and node in able and source in integer:
            integer.add(node)


def _is_read(value: ir.Value, integer: set[ir.Node]) -> bool:
    """Whether an integer kernel computes with a value."""
    return any(use.node in integer and use.idx in data_inputs(use.node) for use in value.uses())


def _is_activation_of_float(node: ir.Node, able: set[ir.Node]) -> bool:
    """Whether a node alone bounds what float code gives: it is then part of that code."""
    if not is_op(node, "Clip", "Relu") or node.inputs[0] is None:
        return False
    producer = node.inputs[0].producer()
    return producer is not None and producer not in able and sole_user(node.inputs[0]) is node


def _reads_fixed(node: ir.Node, scheme: Scheme, able: set[ir.Node]) -> bool:
    """Whether parameters that the scheme fixes come in, which other inputs cannot share."""
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        while producer in able and producer is not None and producer.op_type in scheme.passing:
            producer = producer.inputs[0].producer() if producer.inputs[0] is not None else None
        if producer in able and producer is not None and producer.op_type in scheme.fixed:
            return True
    return False


def _rounded(model: ir.Model, integer: set[ir.Node], scheme: Scheme) -> list[ir.Value]:
    """Return the values that are rounded, in graph order."""
    names = {node.name for node in integer}
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    return [
        value
        for value in values
        if not is_inner(value, names, scheme)
        and (_is_read(value, integer) or (not scheme.float_outputs and value.producer() in integer))
    ]


def _related(values: list[ir.Value], integer: set[ir.Node], scheme: Scheme) -> dict[str, Quantized]:
    """Return what the rounded values' parameters depend on."""
    parents: dict[ir.Value, ir.Value] = {}

    def root(value: ir.Value) -> ir.Value:
        while value in parents:
            value = parents[value]
        return value

    rounded = set(values)
    for value in values:
        node = value.producer()
        if node is None or node not in integer:
            continue
        if node.op_type in scheme.passing and node.inputs[0] in rounded:
            parents[value] = root(node.inputs[0])
        elif scheme.same_in_concat and is_op(node, "Concat"):
            for source in node.inputs:
                if source in rounded and root(source) is not value:
                    parents[root(source)] = value
    found = {}
    for value in values:
        node, first = value.producer(), root(value)
        own = node is not None and node in integer and first is value
        found[str(value.name)] = Quantized(
            like=None if first is value else str(first.name),
            fixed=scheme.fixed.get(node.op_type) if own and node is not None else None,
            bounds=_bounds(node),
        )
    return found


def _bounds(node: ir.Node | None) -> tuple[float, float]:
    if node is None:
        return _UNBOUNDED
    clamped = clamp_of(node)
    if clamped is None:
        return _BOUNDS.get(node.op_type, _UNBOUNDED) if node.domain == "" else _UNBOUNDED
    low, high = clamped[1].low, clamped[1].high
    return -math.inf if low is None else low, math.inf if high is None else high


_UNBOUNDED: Final = (-math.inf, math.inf)

#: Operators whose results lie in a range, whatever they read.
_BOUNDS: Final = {
    "HardSigmoid": (0.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
}
