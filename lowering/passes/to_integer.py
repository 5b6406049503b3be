"""The pass ``to-integer``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

import onnx_ir as ir

from .. import own_operators
from ..editing import Editor
from ..integer import operators
from ..integer_kernels import Kernel, average, linear, product, rescaled, summed
from ..integer_tables import tabled
from ..layout.nhwc import SUFFIXES
from ..matching import is_op
from ..opset import DOMAIN
from ..quantized import dequantized


@dataclasses.dataclass(frozen=True)
class ToInteger(ir.passes.InPlacePass):
    """Turn real operators between DequantizeLinear and QuantizeLinear into integer operators.

    What becomes one operator of `lowering.integer`, with a Clip by constants behind it in the
    limits of the integers:

    - Conv (channels-first or channels-last), Gemm and MatMul with constant integer weights, whose
      bias (for MatMul: a constant added) becomes int32 of the scale of data times weights;
    - Add, Sub and Mul of two integer tensors, means over windows or over all of space, and a
      change of scale, if the result is quantized again;
    - functions of one number (Sigmoid, HardSwish, a product with a constant) between a
      DequantizeLinear and a QuantizeLinear, which become a table.

    A Conv, Gemm or MatMul whose result stays real gives its scaled sums.

    The integer operators compute what the operators in between simulate in float32. They differ
    by float32's rounding: of the sum (which they have exactly), of a bias that was no whole number
    of scales, and of the products with two scales and the division by the third (one product here;
    for Add, whole factors of 21 bits). So a result next to the middle between two integers may go
    to the other one: an output differs by at most one step.

    Left alone: weights whose distances from their zero point are no int8, data with several
    scales, and sums that int32 might not hold.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in model.graph:
            build = _BUILDERS.get((node.domain, node.op_type))
            kernel = None if build is None else build(node)
            if kernel is not None:
                _replace(edit, node, kernel)
        own_operators.define_used(model)
        return edit.result(model)


def _replace(edit: Editor, node: ir.Node, kernel: Kernel) -> None:
    tail = kernel.tail
    root = kernel.last if tail is None else tail.quantize
    named = kernel.last if is_op(node, "DequantizeLinear") else node
    inputs = [
        part if isinstance(part, ir.Value) else edit.constant(named, name, part)
        for name, part in kernel.inputs
    ]
    if tail is not None and operators()[kernel.op_type].requantizes:
        zero = tail.output.zero
        inputs.append(edit.constant(named, "y_zero_point", zero, tail.output.dtype))
    absorbed = dict.fromkeys((node, kernel.last, *(() if tail is None else tail.nodes)))
    read = [dequantized(value) for part in absorbed for value in part.inputs]
    sources = [found.node for found in read if found is not None]
    edit.replace(
        root,
        kernel.op_type,
        inputs,
        kernel.attributes,
        absorbed=absorbed,
        name=named.name,
        domain=DOMAIN,
    )
    for source in sources:
        edit.remove_unused(source)


def _named(*names: str) -> list[tuple[str, str]]:
    return [("", names[0]), *((DOMAIN, f"{names[0]}{layout}") for layout in SUFFIXES.values())]


_BUILDERS: Final[dict[tuple[str, str], Callable[[ir.Node], Kernel | None]]] = {
    **dict.fromkeys(_named("Conv"), linear),
    ("", "Gemm"): linear,
    ("", "MatMul"): linear,
    **dict.fromkeys(_named("AveragePool"), average),
    **dict.fromkeys(_named("GlobalAveragePool"), average),
    ("", "Add"): summed,
    ("", "Sub"): summed,
    ("", "Mul"): product,
    ("", "DequantizeLinear"): lambda node: rescaled(node) or tabled(node),
}
