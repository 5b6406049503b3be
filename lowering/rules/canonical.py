"""What the canonical pipeline adds: one way to say each thing, so that targets meet few forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from .. import own_operators
from ..clamps import CLAMPING, clamp_of, is_canonical_clip, operands_and_numbers
from ..layout.layouts import is_identity, keeps_order, permutation
from ..matching import array_of, is_op, shape_of, sole_user
from ..parameters import corrections
from ..reshapes import is_canonical_reshape
from .places import Breach, Breaches, place


def no_identities(model: ir.Model) -> Iterator[Breach]:
    """No node copies its input.

    But an Identity may give an output of the graph that is also an input, a constant or another
    output, since an output is always given by a node of its own.
    """
    for node in model.graph:
        if is_op(node, "Dropout") and not any(_is_needed(mask) for mask in node.outputs[1:]):
            yield place(node), "a Dropout"
        elif is_op(node, "Identity"):
            value, output = node.inputs[0], node.outputs[0]
            free = value is None or (value.producer() is not None and not value.is_graph_output())
            if free or not output.is_graph_output():
                yield place(node), "an Identity"


def _is_needed(value: ir.Value) -> bool:
    return value.is_graph_output() or bool(value.uses())


def one_activation(model: ir.Model) -> Iterator[Breach]:
    """What bounds a tensor by numbers is a Clip with constant scalar bounds, one in a row.

    Relu is Clip(x, 0). Min and Max are for several tensors, and Clip alone may have computed
    bounds. An absent bound is no bound: ONNX reads it as the largest finite number.
    """
    for node in model.graph:
        if not is_op(node, *CLAMPING):
            continue
        found = clamp_of(node)
        if node.op_type == "Clip":
            if found is not None and not is_canonical_clip(node):
                yield place(node), "a Clip with bounds that are no scalars or bound nothing"
            elif found is not None and _is_inner_clamp(found[0]):
                yield place(node), "a Clip of what is bounded already"
        elif found is not None or (node.op_type != "Relu" and operands_and_numbers(node)):
            yield place(node), f"{node.op_type} with a number"


def _is_inner_clamp(value: ir.Value) -> bool:
    return sole_user(value) is not None and clamp_of(value.producer()) is not None


def no_constant_batch_norm(model: ir.Model) -> Iterator[Breach]:
    """BatchNormalization with constant parameters is in the operator beside it, or Mul and Add."""
    for node in model.graph:
        if is_op(node, "BatchNormalization"):
            parameters = node.inputs[1:5]
            if all(array_of(value) is not None for value in parameters):
                yield place(node), "a BatchNormalization with constant parameters"


def dense_is_gemm(model: ir.Model) -> Iterator[Breach]:
    """A product of a matrix and a constant matrix, with a constant added, is a Gemm."""
    for node in model.graph:
        if not is_op(node, "MatMul") or array_of(node.inputs[1]) is None:
            continue
        user = sole_user(node.outputs[0])
        result = shape_of(node.outputs[0]) or ()
        if user is None or not is_op(user, "Add") or len(result) != 2:
            continue
        addend = user.inputs[1] if user.inputs[0] is node.outputs[0] else user.inputs[0]
        if addend is not None and array_of(addend) is not None and shape_of(addend) == result[1:]:
            yield place(node), f"a MatMul, and an Add of the constant {addend.name!r}"


def canonical_parameters(model: ir.Model) -> Iterator[Breach]:
    """Axes, counted from the front, and windows are said in full; other defaults are left out.

    The pass normalize-attributes does it; `lowering.parameters` has the forms of constant inputs.
    """
    for node in model.graph:
        found = corrections(node)
        if found is not None:
            yield place(node), f"it should have {found}"


def own_operators_complete(model: ir.Model) -> Iterator[Breach]:
    """Our own operators have every attribute of their definition, and no other."""
    for node in model.graph:
        if own_operators.is_own(node):
            wanted = own_operators.operators()[node.op_type].attributes
            if sorted(node.attributes) != sorted(wanted):
                yield place(node), f"its attributes are {sorted(node.attributes)}"


def one_reshape(model: ir.Model) -> Iterator[Breach]:
    """What only changes a shape is one Reshape to a constant shape, said in full.

    There is no Flatten, Squeeze or Unsqueeze, no 0 or -1 in the shape of a Reshape (but 0 for an
    empty tensor, with allowzero = 1), no Reshape of a Reshape, and none to the shape there is.
    """
    for node in model.graph:
        if is_op(node, "Flatten", "Squeeze", "Unsqueeze"):
            yield place(node), f"a {node.op_type}"
        elif is_op(node, "Reshape"):
            value = node.inputs[0]
            if not is_canonical_reshape(node):
                yield place(node), "a Reshape whose shape is not its output's"
            elif value is not None and is_op(value.producer(), "Reshape"):
                yield place(node), "a Reshape of a Reshape"
            elif shape_of(value) == shape_of(node.outputs[0]) and not _gives_input(node):
                yield place(node), "a Reshape to the same shape"


def _gives_input(node: ir.Node) -> bool:
    value = node.inputs[0]
    return node.outputs[0].is_graph_output() and (value is None or value.producer() is None)


def merged_transposes(model: ir.Model) -> Iterator[Breach]:
    """A Transpose moves data, of a tensor that is no constant and not transposed already."""
    for node in model.graph:
        layout, value = permutation(node), node.inputs[0] if node.inputs else None
        shape = shape_of(value)
        if layout is None or value is None or shape is None:
            continue
        if array_of(value) is not None:
            yield place(node), f"a Transpose of the constant {value.name!r}"
        elif permutation(value.producer()) is not None:
            yield place(node), "a Transpose of a Transpose"
        elif is_identity(layout) or keeps_order(shape, layout):
            yield place(node), f"a Transpose that moves no data: perm {layout}, shape {shape}"


CANONICAL: Final[tuple[Breaches, ...]] = (
    no_identities,
    one_activation,
    no_constant_batch_norm,
    dense_is_gemm,
    canonical_parameters,
    own_operators_complete,
    one_reshape,
    merged_transposes,
)
