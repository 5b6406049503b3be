"""Functions of one quantized number as tables: it is one of 256, whatever the function does.

TensorFlow Lite's 8-bit kernels for Sigmoid, Tanh and their kin do the same. The numbers are those
that ONNX Runtime computes, so that a table changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from .integer import Operator
from .integer_kernels import Kernel, Tail, narrow
from .matching import array_of, scalar_of, shape_of, sole_user
from .opset import IR_VERSION, WORKING_OPSET
from .quantization.scheme import limits
from .quantized import Quantized, quantized
from .reference import Reference

_NAMES: Final = """
Abs Acos Acosh Add Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Div Elu Erf Exp Floor Gelu
HardSigmoid HardSwish LeakyRelu Log Max Min Mish Mul Neg PRelu Pow Reciprocal Round Selu Shrink
Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Swish Tan Tanh ThresholdedRelu
"""

#: Operators whose result at an index depends on their inputs at that index only.
FUNCTIONS: Final = frozenset(_NAMES.split())


def tabled(node: ir.Node) -> Kernel | None:
    """Return the kernel of the functions between a DequantizeLinear and a QuantizeLinear."""
    value = node.outputs[0]
    data, chain = narrow(value), list[ir.Node]()
    while (user := sole_user(value)) is not None and _is_function(user, value):
        chain.append(user)
        value = user.outputs[0]
    output = quantized(user)
    if user is None or user.inputs[0] is not value or not chain:
        return None
    if data is None or array_of(data.integers) is not None:
        return None
    if output is None or not output.is_narrow:
        return None
    table = _table(data, chain, output)
    if table is None:
        return None
    tail = Tail(tuple(chain), user, output, *limits(output.dtype))
    inputs = (("x", data.integers), ("table", table))
    return Kernel(Operator("Table").name, chain[-1], inputs, {}, tail)


def _is_function(node: ir.Node, value: ir.Value) -> bool:
    """Whether a node is a function of the elements of `value`, with single numbers besides."""
    if node.domain != "" or node.op_type not in FUNCTIONS:
        return False
    others = [item for item in node.inputs if item is not None and item is not value]
    numbers = all(scalar_of(item) is not None for item in others)
    return numbers and shape_of(node.outputs[0]) == shape_of(value)


def _table(data: Quantized, chain: Sequence[ir.Node], output: Quantized) -> np.ndarray | None:
    """Return the output for each integer, in the order of integers modulo 256.

    None if the functions give something that is no number, which no integer stands for.
    """
    least = limits(data.dtype)[0]
    integers = np.roll(np.arange(least, least + 256), least).astype(data.dtype.numpy())
    known = {data.integers: ir.val("x", data.dtype, (256,))}
    graph = ir.Graph([known[data.integers]], [], nodes=[], opset_imports={"": WORKING_OPSET})
    for node in (data.node, *chain, output.node):
        _append(graph, node, known)
    graph.outputs.extend(known[node.outputs[0]] for node in (chain[-1], output.node))
    reals, found = Reference(ir.Model(graph, ir_version=IR_VERSION)).run({"x": integers}).values()
    return None if np.isnan(reals).any() else found


def _append(graph: ir.Graph, node: ir.Node, known: dict[ir.Value, ir.Value]) -> None:
    """Append a copy of a node, of 256 numbers; its constants become scalars."""
    for value in node.inputs:
        array = array_of(value)
        if value is not None and value not in known and array is not None:
            tensor = ir.Tensor(array.reshape(()), name=f"c{len(known)}")
            known[value] = ir.val(tensor.name, const_value=tensor)
            graph.register_initializer(known[value])
    old = node.outputs[0]
    known[old] = ir.val(f"v{len(known)}", old.dtype, (256,))
    inputs = [None if value is None else known[value] for value in node.inputs]
    attributes = [item for name, item in node.attributes.items() if name != "axis"]
    graph.append(ir.Node("", node.op_type, inputs, attributes, outputs=[known[old]]))
