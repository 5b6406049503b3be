"""The pass ``sink-dequantize``."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import array_of, is_op, shape_of, sole_user
from ..opset import DOMAIN
from ..passing import passed_on
from ..quantized import Quantized, dequantized, quantized

#: Operators that give each number that they get once, or the larger ones.
_ORDERED: Final = frozenset({"Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclasses.dataclass(frozen=True)
class SinkDequantize(ir.passes.InPlacePass):
    """Move DequantizeLinear down to where real numbers are computed with.

    What only moves numbers, or picks some, works on the integers: maximum poolings, reshapes,
    transposes, slices, nearest neighbours, padding by zero, and Concat where all its inputs have
    the same scale and zero point. A DequantizeLinear that meets a QuantizeLinear of the same
    parameters vanishes with it; then every reader gets one of its own, so that it can be part of
    that reader's loop. A QuantizeLinear moves up before what keeps the order of numbers (reshapes,
    transposes, maximum poolings), and before a Concat of integers of several scales, to the inputs
    of other parameters.

    Only one scale for a tensor is moved, of int8 or uint8, and none of a constant.

    Ensures: the same numbers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in reversed(model.graph):
            _quantize_before(edit, node)
        for node in model.graph:
            _cancel(edit, node)
            _sink(edit, node)
        for node in model.graph:
            if is_op(node, "DequantizeLinear"):
                _one_for_each_reader(edit, node)
        return edit.result(model)


def _cancel(edit: Editor, node: ir.Node) -> None:
    """Let what reads the integers of a tensor that was real in between read those before."""
    after = quantized(node)
    before = None if after is None else dequantized(node.inputs[0])
    if after is not None and before is not None and after.is_like(before):
        edit.bypass(node.outputs[0], before.integers)
        edit.remove_unused(before.node)


def _movable(value: ir.Value | None) -> Quantized | None:
    found = dequantized(value)
    constant = found is not None and array_of(found.integers) is not None
    return found if found is not None and found.is_narrow and not constant else None


def _sink(edit: Editor, node: ir.Node) -> None:
    found = [_movable(value) for value in node.inputs[: passed_on(node)]]
    first = found[0] if found else None
    if first is None or not all(item is not None and item.is_like(first) for item in found):
        return
    if is_op(node, "Pad"):
        _pad_with_zero_point(edit, node, first)
    for index, item in enumerate(found):
        if item is not None:
            edit.set_input(node, index, item.integers)
    for value in node.outputs:
        if value.name and (value.uses() or value.is_graph_output()):
            real = edit.interpose(
                value, "DequantizeLinear", name=f"{value.name}/dequantized", shape=shape_of(value)
            )
            _parameters_of(edit, real, first)
        value.type = ir.TensorType(first.dtype)
    for item in found:
        if item is not None:
            edit.remove_unused(item.node)


def _parameters_of(edit: Editor, real: ir.Value, source: Quantized) -> None:
    producer = real.producer()
    for index, value in enumerate(source.node.inputs[1:], 1):
        if producer is not None and value is not None:
            edit.set_input(producer, index, value)


def _pad_with_zero_point(edit: Editor, node: ir.Node, found: Quantized) -> None:
    zero = edit.constant(node, "zero", np.asarray(found.zero), found.dtype)
    edit.set_input(node, 2, zero)


def _quantize_before(edit: Editor, node: ir.Node) -> None:
    """Quantize the inputs of a node that passes them on, rather than its output."""
    user = sole_user(node.outputs[0]) if passed_on(node) else None
    after = quantized(user)
    if after is None or not after.is_narrow or user is None or len(node.outputs) > 1:
        return
    found = [_movable(value) for value in node.inputs]
    if is_op(node, "Concat"):
        if any(item is None for item in found):
            return
    elif found[0] is not None or not _is_lifted(node):
        return
    for index, item in enumerate(found[: 1 if found[0] is None else None]):
        value = node.inputs[index]
        if value is not None and (item is None or not item.is_like(after)):
            edit.set_input(node, index, _rounded(edit, node, value, after))


def _is_lifted(node: ir.Node) -> bool:
    """Whether a QuantizeLinear behind the node may stand before it: no more is quantized then."""
    value = node.inputs[0]
    named = node.domain == DOMAIN or node.op_type in _ORDERED
    return named and value is not None and sole_user(value) is node and array_of(value) is None


def _rounded(edit: Editor, node: ir.Node, value: ir.Value, like: Quantized) -> ir.Value:
    """Insert a QuantizeLinear and its DequantizeLinear before a node; return what it gives."""
    parameters, shape = like.node.inputs[1:], shape_of(value)
    integers = edit.insert(
        node,
        "QuantizeLinear",
        [value, *parameters],
        name="quantized",
        dtype=like.dtype,
        shape=shape,
    )
    return edit.insert(
        node,
        "DequantizeLinear",
        [integers, *parameters],
        name="dequantized",
        dtype=value.dtype,
        shape=shape,
    )


def _one_for_each_reader(edit: Editor, node: ir.Node) -> None:
    """Give every reader of a DequantizeLinear but the first one of its own.

    Not an Identity: it stands where the same numbers are two outputs of the graph.
    """
    readers = dict.fromkeys(use.node for use in node.outputs[0].uses())
    users = [user for user in readers if not is_op(user, "Identity")]
    kept = 0 if node.outputs[0].is_graph_output() else 1
    for user in users[kept:]:
        copy = edit.insert(
            user,
            "DequantizeLinear",
            list(node.inputs),
            dict(node.attributes),
            name="dequantized",
            dtype=node.outputs[0].dtype,
            shape=shape_of(node.outputs[0]),
        )
        for index, value in enumerate(user.inputs):
            if value is node.outputs[0]:
                edit.set_input(user, index, copy)
