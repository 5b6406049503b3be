"""The pass ``expand-quantization``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import array_of, is_op, nodes_of, shape_of
from ..passing import passed_on
from ..quantized import Quantized, dequantized, quantized

_FLOAT: Final = ir.DataType.FLOAT

#: Integers that arithmetic may give, and the least and greatest of them.
_LIMITS: Final = {
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-(1 << 15), (1 << 15) - 1),
}

#: Those that a runtime's own operators quantize to, and dequantize.
_PLAIN: Final = (ir.DataType.INT8, ir.DataType.INT32)


@dataclasses.dataclass(frozen=True)
class ExpandQuantization(ir.passes.InPlacePass):
    """Write QuantizeLinear and DequantizeLinear as arithmetic where a runtime has none for them.

    That is where scale or zero point are computed, integers are others than int8 and int32, a block
    of numbers shares a scale, or the same integers, moved or not, mean different numbers to
    different nodes, for a runtime whose tensors have one meaning: clip(round(x / scale) + zero) and
    (x - zero) * scale, in float32.

    Requires: static shapes. Ensures: the same numbers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        nodes = list(nodes_of(model))
        ambiguous = _ambiguous(nodes)
        written = [
            node for node in nodes if is_op(node, *_KINDS) and not _is_plain(node, ambiguous)
        ]
        edit = Editor(model)
        for node in written:
            (_quantize if node.op_type == "QuantizeLinear" else _dequantize)(edit, node)
        return edit.result(model)


_KINDS: Final = ("QuantizeLinear", "DequantizeLinear")


def _is_plain(node: ir.Node, ambiguous: set[ir.Value]) -> bool:
    """Whether a runtime has an operator for the node."""
    found = _meaning(node)
    return found is not None and found.dtype in _PLAIN and found.integers not in ambiguous


def _meaning(node: ir.Node) -> Quantized | None:
    """Return the integers that a node gives or reads, if their scale and zero point are known."""
    return quantized(node) if node.op_type == "QuantizeLinear" else dequantized(node.outputs[0])


def _ambiguous(nodes: Sequence[ir.Node]) -> set[ir.Value]:
    """Return the integers that mean different numbers to different nodes, where others move them.

    Constants are left out: every node may have its own.
    """
    parents: dict[ir.Value, ir.Value] = {}

    def root(value: ir.Value) -> ir.Value:
        while value in parents:
            value = parents[value]
        return value

    for node in nodes:
        moved = [value for value in node.inputs[: passed_on(node)] if value is not None]
        if moved and moved[0].dtype in _PLAIN:
            for value in (*moved[1:], *node.outputs):
                if root(value) is not root(moved[0]):
                    parents[root(value)] = root(moved[0])
    first: dict[ir.Value, Quantized] = {}
    known: list[Quantized] = []
    for node in nodes:
        found = _meaning(node) if is_op(node, *_KINDS) else None
        if found is not None and array_of(found.integers) is None:
            known.append(found)
            first.setdefault(root(found.integers), found)
    broken = {root(item.integers) for item in known if not item.is_like(first[root(item.integers)])}
    return {item.integers for item in known if root(item.integers) in broken}


def _quantize(edit: Editor, node: ir.Node) -> None:
    dtype, shape = node.outputs[0].dtype, shape_of(node.inputs[0])
    if dtype not in _LIMITS or shape is None:
        return
    steps = _step(edit, node, "Div", [_real(edit, node, 0), _parameter(edit, node, 1)])
    found = _step(edit, node, "Round", [steps])
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        found = _step(edit, node, "Add", [found, _parameter(edit, node, 2)])
    ends = [edit.constant(node, "end", np.array(end, np.float32)) for end in _LIMITS[dtype]]
    bounded = _step(edit, node, "Clip", [found, *ends])
    edit.replace(node, "Cast", [bounded], {"to": int(dtype)})


def _dequantize(edit: Editor, node: ir.Node) -> None:
    if node.outputs[0].dtype != _FLOAT or shape_of(node.inputs[0]) is None:
        return
    steps = _real(edit, node, 0)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        steps = _step(edit, node, "Sub", [steps, _parameter(edit, node, 2)])
    edit.replace(node, "Mul", [steps, _parameter(edit, node, 1)])


def _step(edit: Editor, node: ir.Node, name: str, inputs: list[ir.Value]) -> ir.Value:
    shape = shape_of(node.inputs[0])
    return edit.insert(node, name, inputs, name=name.lower(), dtype=_FLOAT, shape=shape)


def _real(edit: Editor, node: ir.Node, index: int) -> ir.Value:
    """Return an input's numbers as float32."""
    value = node.inputs[index]
    if value is None:
        raise ValueError(f"node {node.name!r} has no input {index}")
    if value.dtype == _FLOAT:
        return value
    to, shape = {"to": int(_FLOAT)}, shape_of(value)
    return edit.insert(node, "Cast", [value], to, name="real", dtype=_FLOAT, shape=shape)


def _parameter(edit: Editor, node: ir.Node, index: int) -> ir.Value:
    """Return a scale or zero point in float32, in a shape that broadcasts to the data's."""
    value, data = _real(edit, node, index), shape_of(node.inputs[0]) or ()
    shape = shape_of(value) or ()
    axis = node.attributes.get_int("axis", 1)
    axis = axis + len(data) if axis < 0 else axis
    block = node.attributes.get_int("block_size", 0)
    if block:
        places = edit.constant(node, "places", np.arange(data[axis]) // block)
        return edit.insert(
            node,
            "Gather",
            [value, places],
            {"axis": axis},
            name="of_blocks",
            dtype=_FLOAT,
            shape=data,
        )
    if shape in ((), (1,)):
        shaped = (1,) * min(len(shape), len(data))
    else:
        shaped = tuple(size if place == axis else 1 for place, size in enumerate(data))
    if shaped == shape:
        return value
    sizes = edit.constant(node, "shape", np.array(shaped, np.int64))
    return edit.insert(node, "Reshape", [value, sizes], name="shaped", dtype=_FLOAT, shape=shaped)
