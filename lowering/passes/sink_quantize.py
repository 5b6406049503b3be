"""The pass ``sink-quantize``."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import array_of, is_op, shape_of
from ..passing import passed_on


@dataclasses.dataclass(frozen=True)
class SinkQuantize(ir.passes.InPlacePass):
    """Move QuantizeLinear down behind what only moves numbers, or picks some.

    For compilers that know integers between QuantizeLinear and DequantizeLinear alone, and fuse the
    two with what computes: reshapes, transposes, slices, maximum poolings and Concat (of inputs
    that are all quantized alike) then move real numbers. The inverse of ``sink-dequantize``.

    Only one constant scale for a tensor is moved. A Pad with a value of its own stays.

    Ensures: the same numbers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in model.graph:
            _sink(edit, node)
        return edit.result(model)


def _sink(edit: Editor, node: ir.Node) -> None:
    sources = [_source(value) for value in node.inputs[: passed_on(node)]]
    first = sources[0] if sources else None
    if first is None or (is_op(node, "Pad") and len(node.inputs) > 2):
        return
    alike = [item for item in sources if item is not None and _is_like(item, first)]
    if len(alike) != len(sources):
        return
    for index, item in enumerate(alike):
        if (real := item.inputs[0]) is not None:
            edit.set_input(node, index, real)
    for value in node.outputs:
        if value.name and (value.uses() or value.is_graph_output()):
            _quantize(edit, value, first)
    for item in alike:
        edit.remove_unused(item)


def _source(value: ir.Value | None) -> ir.Node | None:
    """Return the QuantizeLinear that gives a value, if it has one constant scale."""
    node = None if value is None else value.producer()
    if node is None or not is_op(node, "QuantizeLinear"):
        return None
    parameters = [array_of(item) for item in node.inputs[1:] if item is not None]
    scalar = all(array is not None and array.size == 1 for array in parameters)
    return node if scalar else None


def _is_like(one: ir.Node, other: ir.Node) -> bool:
    """Whether two nodes, that `_source` has returned, make the same integers of a number."""
    if dict(one.attributes) != dict(other.attributes) or len(one.inputs) != len(other.inputs):
        return False
    pairs = zip(one.inputs, other.inputs, strict=True)
    kinds = [(a.dtype, b.dtype) for a, b in pairs if a is not None and b is not None]
    constants = [[array_of(item) for item in node.inputs[1:]] for node in (one, other)]
    same = all(
        np.array_equal(a, b) if a is not None and b is not None else a is b
        for a, b in zip(*constants, strict=True)
    )
    return same and all(a == b for a, b in kinds)


def _quantize(edit: Editor, value: ir.Value, like: ir.Node) -> None:
    """Let what reads integers read those of a value, which is given in real numbers from now on."""
    attributes = dict(like.attributes)
    integers = edit.interpose(
        value, "QuantizeLinear", attributes, name=f"{value.name}/quantized", shape=shape_of(value)
    )
    node, real = integers.producer(), like.inputs[0]
    for index, parameter in enumerate(like.inputs[1:], 1):
        if node is not None and parameter is not None:
            edit.set_input(node, index, parameter)
    value.type = None if real is None else real.type
