"""The pass ``widen-integers``."""

from __future__ import annotations

import dataclasses
from typing import Final

import onnx_ir as ir

from ..editing import Editor
from ..matching import is_op, nodes_of, shape_of

_NARROW: Final = (ir.DataType.INT8, ir.DataType.INT16, ir.DataType.UINT8)
_WIDE: Final = ir.DataType.INT32

#: Operators that give the same modulo 2^8 or 2^16 when they compute in 32 bits.
_OPERATORS: Final = (
    "Abs", "Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mod", "Mul",
    "Neg", "Pow", "Sign", "Sub",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class WidenIntegers(ir.passes.InPlacePass):
    """Let arithmetic and comparisons of int8, int16 and uint8 compute in int32, between Casts.

    For a runtime whose kernels take wider integers only. A Cast to fewer bits keeps the lowest.

    Ensures: the same numbers, those that overflow included.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in list(nodes_of(model)):
            if is_op(node, *_OPERATORS):
                _widen(edit, node)
        return edit.result(model)


def _widen(edit: Editor, node: ir.Node) -> None:
    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype in _NARROW:
            attributes, shape = {"to": int(_WIDE)}, shape_of(value)
            wide = edit.insert(
                node, "Cast", [value], attributes, name="wide", dtype=_WIDE, shape=shape
            )
            edit.set_input(node, index, wide)
    value = node.outputs[0]
    if value.dtype in _NARROW:
        narrow = {"to": int(value.dtype)}
        edit.interpose(value, "Cast", narrow, name=f"{value.name}/narrow", shape=shape_of(value))
        value.type = ir.TensorType(_WIDE)
