"""Recognise SiLU where an exporter wrote it out."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from ..editing import Editor
from ..matching import is_op, nodes_of, shape_of, sole_user
from ..polynomials import climb, read, term


@dataclasses.dataclass(frozen=True)
class RestoreSilu(ir.passes.InPlacePass):
    """Turn x * sigmoid(alpha x) into Swish, the ONNX operator for SiLU (alpha = 1) and its kin.

    No value in between may have another use.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            if is_op(node, "Sigmoid"):
                _restore(node, edit)
        return edit.result(model)


def _restore(sigmoid: ir.Node, edit: Editor) -> None:
    argument, result = sigmoid.inputs[0], sigmoid.outputs[0]
    if argument is None:
        return
    found = read(argument, depth=1) if sole_user(argument) is sigmoid else None
    line = found.line() if found is not None else None
    candidates: list[tuple[ir.Value, float, tuple[ir.Node, ...]]] = [(argument, 1.0, ())]
    if found is not None and line is not None and line[2] == 0:
        candidates.append((line[0], line[1], found.nodes))
    for x, alpha, below in candidates:
        for outer in climb(result, (x, result)):
            root = outer.nodes[0]
            if outer.equals({term(x, result): 1.0}) and shape_of(x) == shape_of(root.outputs[0]):
                absorbed = [*below, sigmoid, *outer.nodes]
                edit.replace(root, "Swish", [x], {"alpha": alpha}, absorbed=absorbed)
                return
