"""The pass ``multiply-by-reciprocals``."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import array_of, is_op, nodes_of


@dataclasses.dataclass(frozen=True)
class MultiplyByReciprocals(ir.passes.InPlacePass):
    """Write a division by constants as a product: integer kernels multiply, but do not divide.

    Of float32 numbers whose reciprocals are finite, too.

    Ensures: the same numbers, but for the last bit.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in list(nodes_of(model)):
            divisor = array_of(node.inputs[1]) if is_op(node, "Div") else None
            if divisor is None or divisor.dtype != np.float32:
                continue
            with np.errstate(divide="ignore", over="ignore"):
                factor = np.asarray(1 / divisor, np.float32)
            if np.isfinite(factor).all() and np.isfinite(divisor).all():
                other = edit.constant(node, "reciprocal", factor)
                edit.replace(node, "Mul", [node.inputs[0], other])
        return edit.result(model)
