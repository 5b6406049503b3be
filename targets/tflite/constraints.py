"""What TFLite cannot say, or would compute otherwise: every such node, with the reason.

A constraint is a small function of a node: it returns what breaks it, or None if it holds. Its
docstring is the reason, in the message and in the documentation. What the runtime's kernels take
is in `kernels`, by TFLite's operators: the nodes are lowered for it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import Problem
from ...lowering import recurrent
from ...lowering.matching import array_of, halved, shape_of
from ...lowering.passes.unroll_recurrent import UnrollRecurrent
from ..constraints import (
    REDUCTIONS,
    Constraint,
    broken,
    constants,
    floats_to_interpolate,
    input_of,
    known_window,
    no_output,
    of_dtypes,
    oversized,
    place_of,
    space_of,
    values_of,
    whole_lengths,
)

#: Dtypes of tensors. Half precision exists in files, but hardly a kernel computes with it.
DTYPES: Final = (
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.INT8,
    ir.DataType.INT16,
    ir.DataType.INT32,
    ir.DataType.INT64,
    ir.DataType.UINT8,
    ir.DataType.BOOL,
)

#: Operators that one recurrent node may become.
UNROLLED: Final = UnrollRecurrent().limit

#: Bytes of all constants: the file's offsets have 31 bits.
MAX_WEIGHTS: Final = (1 << 31) - (1 << 24)


def supported_dtypes(node: ir.Node) -> str | None:
    """Kernels compute with float32, booleans, signed integers and uint8: cast to one of them."""
    for value in values_of(node):
        if wrong := of_dtypes(value, DTYPES):
            return wrong
    return None


def some_elements(node: ir.Node) -> str | None:
    """A tensor without elements has no memory, which the kernels cannot be given."""
    for value in values_of(node):
        shape = shape_of(value) or ()
        if 0 in shape and array_of(value) is None:
            return f"{value.name!r} has shape {list(shape)}"
    return None


def constant(*indices: int) -> Constraint:
    """Return the constraint that these inputs, if given, are constants."""
    reason = "What steers an operator is written into the file, so it must be a constant."
    return constants(*indices, reason=reason, known=_is_constant)


def _is_constant(value: ir.Value) -> bool:
    """Whether a value is a constant, also one stored as integers or in half precision."""
    node = value.producer()
    value = halved(value) or value
    if node is not None and node.op_type == "DequantizeLinear" and node.inputs[0] is not None:
        value = node.inputs[0]
    return array_of(value) is not None


def single_zero_points(node: ir.Node) -> str | None:
    """Scale and zero point must be constants, and int8 numbers be what they describe."""
    stored = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    for value in node.inputs[1:]:
        if value is not None and array_of(value) is None:
            return f"{value.name!r} is computed"
    if stored is None or stored.dtype not in (ir.DataType.INT8, ir.DataType.INT32):
        return f"the integers are {stored.dtype.name if stored and stored.dtype else None}"
    if (node.attributes.get_int("block_size", 0) or 0) > 0:
        return f"block_size = {node.attributes.get_int('block_size', 0)}"
    return None


def whole_powers(node: ir.Node) -> str | None:
    """Integers are raised to integers that are constant and not negative, or to real numbers."""
    base, exponent = node.inputs[0], input_of(node, 1)
    if base is None or exponent is None or ir.DataType.FLOAT in (base.dtype, exponent.dtype):
        return None
    power = array_of(exponent)
    if base.dtype != exponent.dtype:
        return f"{base.dtype} is raised to {exponent.dtype}"
    return "the power may be negative" if power is None or (power < 0).any() else None


def finite_sums(node: ir.Node) -> str | None:
    """The runtime's sums end at the largest finite number: give no infinite ones as an output."""
    if not node.outputs[0].is_graph_output():
        return None
    found = _infinite_source(node)
    return None if found is None else f"{found.name!r}, which is infinite in places, is added up"


#: What infinities pass through unchanged.
_PASSING: Final = frozenset(
    {"Add", "Concat", "Expand", "Reshape", "Slice", "Sub", "Transpose", "Unsqueeze", "Where"}
)


def _infinite_source(node: ir.Node) -> ir.Value | None:
    """Return a constant with infinities that a sum is made of, though not directly."""
    pending, seen = [value.producer() for value in node.inputs if value is not None], set()
    while pending:
        maker = pending.pop()
        if maker is None or maker in seen or maker.op_type not in _PASSING:
            continue
        seen.add(maker)
        for value in maker.inputs:
            array = array_of(value)
            if array is not None and array.dtype == np.float32 and np.isinf(array).any():
                return value
            pending.append(value.producer() if value is not None else None)
    return None


def short_sequences(node: ir.Node) -> str | None:
    """Steps are unrolled: run a long sequence in pieces, with the state between as an input."""
    size = recurrent.size_of(node)
    if size <= UNROLLED:
        return None
    steps = recurrent.steps_of(node)
    return f"{steps} steps make up to {size} operators, and {UNROLLED} are the most"


def known_activations(node: ir.Node) -> str | None:
    """ONNX knows other activations of recurrent operators."""
    unknown = recurrent.unknown_activations(node)
    return f"activations {', '.join(map(repr, unknown))}" if unknown else None


_SPACE: Final = (
    "Windows slide over one or two dimensions; over three, there is no kernel on phones."
)
_WINDOW: Final = (known_window, space_of(2, _SPACE))

#: Operator -> what must hold besides the constraints of all operators.
OPERATORS: Final[dict[str, tuple[Constraint, ...]]] = {
    "Add": (finite_sums,),
    "AveragePool": _WINDOW,
    "Conv": _WINDOW,
    "ConvTranspose": _WINDOW,
    "CumSum": (constant(1),),
    "DequantizeLinear": (single_zero_points,),
    "Gemm": (),
    "MaxPool": (*_WINDOW, no_output(1, "Poolings give values, not their places.")),
    "Pad": (constant(1, 2, 3),),
    "Pow": (whole_powers,),
    "QuantizeLinear": (single_zero_points,),
    **dict.fromkeys(REDUCTIONS, (constant(1),)),
    **dict.fromkeys(recurrent.GATES, (short_sequences, known_activations)),
    "Resize": (constant(1, 2, 3), whole_lengths, floats_to_interpolate),
    "OneHot": (constant(1, 2),),
    "Slice": (constant(1, 2, 3, 4),),
    "Sub": (finite_sums,),
    "Tile": (constant(1),),
    "TopK": (constant(1),),
    "Trilu": (constant(1),),
}


def check(model: ir.Model) -> list[Problem]:
    """Return every reason why TFLite cannot take the lowered model, in the order of the graph."""
    from .lower import refusals  # it asks `problems_of` of every node

    return [*refusals(model), *oversized(model, MAX_WEIGHTS)]


def problems_of(node: ir.Node) -> list[Problem]:
    """Return what TFLite cannot say of one node."""
    from .converters import CONVERTERS

    rows = OPERATORS.get(node.op_type.removesuffix("Nhwc").removesuffix("Nwc"), ())
    found = broken(node, (supported_dtypes, some_elements, *rows))
    known = node.op_type == "DequantizeLinear" or (node.domain, node.op_type) in CONVERTERS
    if not known and not found:
        found.append(Problem(place_of(node), f"TFLite cannot take the operator {node.op_type!r}"))
    return found
