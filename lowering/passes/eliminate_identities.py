"""Remove the nodes that return their input as it came."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import array_of, ints_of, is_op, nodes_of, shape_of


@dataclasses.dataclass(frozen=True)
class EliminateIdentities(ir.passes.InPlacePass):
    """Remove Identity, Dropout in inference, and every node whose effect is nothing.

    A node goes only if its output has the dtype and the static shape of the value it returns. Of
    the arithmetic ones these are x + 0, x - 0, x × 1, x / 1, x ** 1, x and true, x or false, and
    Where with a condition of one value; that x + 0 turns -0 to +0 is not kept. A graph's output
    keeps its name; where only that keeps a node, an Identity stays. What has no elements is neither
    concatenated nor split off.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            value = _returned(node)
            if value is not None:
                edit.bypass(node.outputs[0], value)
            elif is_op(node, "Concat"):
                _leave_out_empty(edit, node)
            elif is_op(node, "Split"):
                _take_whole(edit, node)
        return edit.result(model)


def _take_whole(edit: Editor, node: ir.Node) -> None:
    """Read the input of a Split where one of its outputs has all of it, and the others nothing."""
    for output in node.outputs:
        source = node.inputs[0]
        if source is not None and _is_alike(source, output) and node.graph is not None:
            edit.bypass(output, source)


def _leave_out_empty(edit: Editor, node: ir.Node) -> None:
    """Concatenate only what has elements, if anything has."""
    whole = [value for value in node.inputs if 0 not in (shape_of(value) or ())]
    if not whole or len(whole) == len(node.inputs):
        return
    if len(whole) == 1 and _is_alike(whole[0], node.outputs[0]) and whole[0] is not None:
        edit.bypass(node.outputs[0], whole[0])
        return
    edit.replace(node, "Concat", whole, dict(node.attributes))


def _returned(node: ir.Node) -> ir.Value | None:
    """Return the input that the node's first output equals, if there is one."""
    if node.domain != "" or not node.inputs:
        return None
    first, output = node.inputs[0], node.outputs[0]
    if node.op_type == "Identity":
        return first
    if node.op_type == "Where":
        return _chosen(node)
    for index, number in _NEUTRAL.get(node.op_type, ()):
        value, other = node.inputs[index], node.inputs[1 - index]
        if _is_alike(value, output) and _is_filled(other, number):
            return value
    rule = _RULES.get(node.op_type)
    return first if rule is not None and _is_alike(first, output) and rule(node) else None


def _chosen(node: ir.Node) -> ir.Value | None:
    """Return the input that a Where takes every number from, if that is known."""
    condition, *values = node.inputs
    for value, wanted in zip(values, (1, 0), strict=True):
        if _is_filled(condition, wanted) and _is_alike(value, node.outputs[0]):
            return value
    return None


def _is_alike(value: ir.Value | None, output: ir.Value) -> bool:
    return (
        value is not None
        and isinstance(value.type, ir.TensorType)
        and value.dtype == output.dtype
        and shape_of(value) is not None
        and shape_of(value) == shape_of(output)
    )


def _is_filled(value: ir.Value | None, number: int) -> bool:
    array = array_of(value)
    return array is not None and array.dtype != object and bool(np.all(array == number))


#: Operators of two operands: which input is returned when the other holds only this number.
_NEUTRAL: Final[Mapping[str, tuple[tuple[int, int], ...]]] = {
    "Add": ((0, 0), (1, 0)),
    "Sub": ((0, 0),),
    "Mul": ((0, 1), (1, 1)),
    "Div": ((0, 1),),
    "Pow": ((0, 1),),
    "And": ((0, 1), (1, 1)),
    "Or": ((0, 0), (1, 0)),
}


def _always(_: ir.Node) -> bool:
    return True


def _is_single(node: ir.Node) -> bool:
    return len(node.inputs) == 1


def _has_one_output(node: ir.Node) -> bool:
    return len(node.outputs) == 1


def _is_inference(node: ir.Node) -> bool:
    """Whether a Dropout drops nothing: it is not told to train, or its ratio is 0."""
    ratio, training = (*node.inputs[1:], None, None)[:2]
    return (
        training is None or _is_filled(training, 0) or (ratio is not None and _is_filled(ratio, 0))
    )


def _keeps_order(node: ir.Node) -> bool:
    """Whether a Transpose moves no dimension but those of size 1."""
    shape = shape_of(node.inputs[0]) or ()
    reverse = tuple(reversed(range(len(shape))))
    moved = [axis for axis in node.attributes.get_ints("perm", reverse) if shape[axis] != 1]
    return moved == sorted(moved)


def _pads_nothing(node: ir.Node) -> bool:
    return _is_filled(node.inputs[1], 0)


def _steps_forward(node: ir.Node) -> bool:
    """Whether a Slice that keeps the shape takes everything in order: no step goes backwards."""
    if len(node.inputs) < 5 or node.inputs[4] is None:
        return True
    steps = ints_of(node.inputs[4])
    return steps is not None and all(step > 0 for step in steps)


def _is_unbounded(node: ir.Node) -> bool:
    return all(value is None for value in node.inputs[1:])


#: What else must hold, besides equal dtype and shape, for the first input to be returned.
_RULES: Final[Mapping[str, Callable[[ir.Node], bool]]] = {
    **dict.fromkeys(("Cast", "CastLike"), _always),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _always),
    **dict.fromkeys(("Expand", "Tile", "DepthToSpace", "SpaceToDepth"), _always),
    **dict.fromkeys(("Concat", "Sum", "Mean", "Max", "Min"), _is_single),
    "Split": _has_one_output,
    "Dropout": _is_inference,
    "Transpose": _keeps_order,
    "Pad": _pads_nothing,
    "Slice": _steps_forward,
    "Clip": _is_unbounded,
}
