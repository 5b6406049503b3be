"""The questions that rewriting passes ask about a graph; nothing here changes it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

#: Dtypes of the floating-point patterns, and how far a constant may lie from the exact figure,
#: relative to it: some units in the last place of the format, since exporters round constants.
TOLERANCES: Final = {
    ir.DataType.FLOAT16: 2e-3,
    ir.DataType.BFLOAT16: 1e-2,
    ir.DataType.FLOAT: 1e-5,
    ir.DataType.DOUBLE: 1e-5,
}

#: Operators whose output is drawn at random.
RANDOM: Final = frozenset(
    [
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    ]
)


def is_random(node: ir.Node) -> bool:
    """Whether the node may give another result every time.

    That is a random operator, or a Dropout, unless nothing can tell it to train.
    """
    training = node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None
    return node.domain == "" and (node.op_type in RANDOM or training)


def has_body(node: ir.Node) -> bool:
    """Whether the node holds graphs, as the operators of control flow do."""
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


def nodes_of(model: ir.Model) -> Iterator[ir.Node]:
    """Yield the nodes of the main graph and of the bodies of control flow, in graph order.

    Functions are left out: they define operators of our own. A pass may edit while it iterates.
    """
    for graph in tuple(model.graphs()):
        yield from graph


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Whether the node is one of these operators of the default domain."""
    return node is not None and node.domain == "" and node.op_type in op_types


def shape_of(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return the static shape of a value; None if it is absent or not fully known."""
    if value is None or value.shape is None:
        return None
    dims = tuple(dim for dim in value.shape.dims if isinstance(dim, int))
    return dims if len(dims) == len(value.shape.dims) else None


def tensor_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor of a constant: of an initializer that no caller can replace."""
    if value is None or not value.is_initializer() or value.is_graph_input():
        return None
    return value.const_value


def array_of(value: ir.Value | None) -> np.ndarray | None:
    """Return the array of a constant, without a copy where its storage allows; None if not one."""
    tensor = tensor_of(value)
    return None if tensor is None else tensor.numpy()


def scalar_of(value: ir.Value | None) -> float | None:
    """Return the one number that a constant of any rank holds; None if it holds more or less."""
    tensor = tensor_of(value)
    if tensor is None or tensor.size != 1 or tensor.dtype == ir.DataType.STRING:
        return None
    return float(tensor.numpy().reshape(-1)[0])


def ints_of(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return the elements of a constant integer vector or scalar; None if it is not one."""
    array = array_of(value)
    if array is None or array.dtype.kind != "i" or array.ndim > 1:
        return None
    return tuple(int(item) for item in array.reshape(-1))


def is_close(actual: float | None, expected: float, dtype: ir.DataType | None) -> bool:
    """Whether a constant of a pattern is the expected figure, as exactly as the dtype can say."""
    if actual is None or dtype not in TOLERANCES:
        return False
    return abs(actual - expected) <= TOLERANCES[dtype] * abs(expected)


def sole_user(value: ir.Value) -> ir.Node | None:
    """Return the only node that reads a value, once and in its own graph, if nothing else does."""
    uses = value.uses()
    if value.is_graph_output() or len(uses) != 1:
        return None
    user = next(iter(uses)).node
    return user if user.graph is value.graph else None


def is_interior(value: ir.Value, nodes: Collection[ir.Node]) -> bool:
    """Whether nothing but these nodes needs the value, so that it may vanish with them."""
    return not value.is_graph_output() and all(use.node in nodes for use in value.uses())


def other_input(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """Return the operand of a binary node that is not `value`."""
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]


def halved(value: ir.Value | None) -> ir.Value | None:
    """Return the half-precision constant that a float32 value is cast from; None if it is not."""
    node = value.producer() if value is not None else None
    source = node.inputs[0] if node is not None and is_op(node, "Cast") else None
    if source is None or value is None or value.dtype != ir.DataType.FLOAT:
        return None
    is_half = source.dtype == ir.DataType.FLOAT16 and tensor_of(source) is not None
    return source if is_half else None
