"""Recognise GELU where an exporter wrote it out."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Final

import onnx_ir as ir

from ..editing import Editor
from ..matching import is_op, nodes_of, shape_of, sole_user
from ..polynomials import Terms, climb, read, term

#: The argument of erf is x / sqrt(2); that of tanh is sqrt(2/pi) (x + 0.044715 x^3).
_ERF: Final = math.sqrt(0.5)
_TANH: Final = math.sqrt(2 / math.pi)
_CUBE: Final = 0.044715


@dataclasses.dataclass(frozen=True)
class RestoreGelu(ir.passes.InPlacePass):
    """Turn x / 2 * (1 + erf(x / sqrt(2))), in any spelling, and its tanh form into Gelu.

    The tanh form is x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x**3))) (Hendrycks and Gimpel,
    "Gaussian Error Linear Units"). No value in between may have another use.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            if is_op(node, "Erf", "Tanh"):
                _restore(node, edit)
        return edit.result(model)


def _restore(function: ir.Node, edit: Editor) -> None:
    argument, result = function.inputs[0], function.outputs[0]
    inner = None if argument is None or sole_user(argument) is not function else read(argument)
    if inner is None:
        return
    variables = dict.fromkeys(value for key in inner.terms for value, _ in key)
    for x, sign in itertools.product(variables, (1, -1)):
        if not inner.equals(_argument(function, x, sign)):
            continue
        for outer in climb(result, (x, result)):
            root = outer.nodes[0]
            # Both functions are odd: with the argument's sign, that of its term changes.
            is_gelu = outer.equals({term(x): 0.5, term(x, result): sign * 0.5})
            if is_gelu and shape_of(x) == shape_of(root.outputs[0]) is not None:
                form = {"approximate": "none" if function.op_type == "Erf" else "tanh"}
                absorbed = [*inner.nodes, function, *outer.nodes]
                edit.replace(root, "Gelu", [x], form, absorbed=absorbed)
                return


def _argument(function: ir.Node, x: ir.Value, sign: int) -> Terms:
    if function.op_type == "Erf":
        return {term(x): sign * _ERF}
    return {term(x): sign * _TANH, term(x, x, x): sign * _TANH * _CUBE}
