"""The pass ``unify-activations``."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ..clamps import CLAMPING, Clamp, clamp_by, clamp_of, is_canonical_clip, operands_and_numbers
from ..editing import Editor
from ..matching import is_op, nodes_of, shape_of, sole_user


@dataclasses.dataclass(frozen=True)
class UnifyActivations(ir.passes.InPlacePass):
    """Write Relu, and Min and Max with a number, as Clip with constant bounds; merge them in rows.

    A bound that every finite number keeps is dropped, and a Clip without bounds removed. Min and
    Max of several tensors keep those, with a Clip after them for the numbers. Left alone: a Clip
    whose bounds are computed, and a bound that is NaN.

    Ensures: the same numbers, NaN included; an infinity becomes the largest finite number where
    Clip has no bound, as ONNX defines it.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        for node in nodes_of(model):
            if is_op(node, *CLAMPING):
                _unify(editor, _split(editor, node))
        return editor.result(model)


def _split(editor: Editor, node: ir.Node) -> ir.Node:
    """Take the numbers out of a Min or Max of several tensors; return the Clip that bounds it."""
    shape = shape_of(node.outputs[0])
    if node.op_type not in ("Min", "Max") or shape is None:
        return node
    found = operands_and_numbers(node)
    if found is None or len(found[0]) == 1:
        return node
    values, numbers = found
    several = editor.insert(
        node,
        node.op_type,
        values,
        name="tensors",
        dtype=node.outputs[0].dtype,
        shape=shape,
    )
    return _clip(editor, node, several, clamp_by(node, numbers))


def _unify(editor: Editor, node: ir.Node) -> None:
    found = clamp_of(node)
    if found is None or found[0].dtype is None:
        return
    value, clamp = found
    absorbed = []
    while (before := value.producer()) is not None and sole_user(value) is not None:
        inner = clamp_of(before)
        if inner is None:
            break
        value, clamp = inner[0], inner[1].then(clamp)
        absorbed.append(before)
    clamp = clamp.simplified(found[0].dtype)
    if clamp == Clamp():
        editor.bypass(node.outputs[0], value)
    elif absorbed or not is_canonical_clip(node):
        _clip(editor, node, value, clamp, absorbed)


def _clip(
    editor: Editor,
    node: ir.Node,
    value: ir.Value,
    clamp: Clamp,
    absorbed: list[ir.Node] | None = None,
) -> ir.Node:
    """Replace a node by the Clip of a value."""
    inputs: list[ir.Value | None] = [value]
    for name, number in (("min", clamp.low), ("max", clamp.high)):
        known = number is not None
        inputs.append(editor.constant(node, name, np.array(number), value.dtype) if known else None)
    while inputs[-1] is None:
        inputs.pop()
    return editor.replace(node, "Clip", inputs, absorbed=absorbed or ())
