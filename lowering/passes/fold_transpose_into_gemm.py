"""The pass ``fold-transpose-into-gemm``."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..integer_constants import IntegerConstant, integer_constant
from ..layout.layouts import Layout, permutation
from ..matching import array_of, is_op, nodes_of, shape_of, sole_user
from ..requantizing import before_rounding
from ..reshapes import reshape_instead


@dataclasses.dataclass(frozen=True)
class FoldTransposeIntoGemm(ir.passes.InPlacePass):
    """Flatten channels-last data as it lies, and reorder the weight that reads it instead.

    A Transpose that only a Reshape reads, which flattens the transposed axes into the rows of a
    constant weight of Gemm or MatMul, is left out, and the weight's rows are put in the order in
    which the data lies. So a classifier over H×W×C features needs no transpose. The weight may be
    stored as integers, and the data be rounded to those of one scale in between.

    Requires: static shapes. Ensures: the same numbers, summed in another order.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        for node in nodes_of(model):
            if is_op(node, "Gemm", "MatMul") and not node.attributes.get_int("transA", 0):
                _fold(editor, node)
        return editor.result(model)


def _fold(editor: Editor, node: ir.Node) -> None:
    weight: np.ndarray | IntegerConstant | None = array_of(node.inputs[1])
    weight = integer_constant(node.inputs[1]) if weight is None else weight
    flat, _ = before_rounding(node.inputs[0])
    if weight is None or flat is None or sole_user(flat) is None:
        return
    reshape = flat.producer()
    if reshape is None or not is_op(reshape, "Reshape"):
        return
    turned, rounded = before_rounding(reshape.inputs[0])
    transpose = turned.producer() if turned is not None else None
    layout = permutation(transpose)
    if turned is None or transpose is None or layout is None or not sole_user(turned):
        return
    source = transpose.inputs[0]
    before, after = shape_of(source), shape_of(flat)
    if (
        source is None
        or before is None
        or after is None
        or len(shape_of(node.inputs[1]) or ()) != 2
    ):
        return
    axes = _flattened(before, layout, after[-1])
    if axes is None:
        return
    order = _order(before, axes)
    if not _reorder(editor, node, weight, order):
        return
    for value in rounded:
        value.shape = ir.Shape(before)
    editor.bypass(turned, source)
    reshape_instead(editor, reshape)


def _reorder(
    editor: Editor, node: ir.Node, weight: np.ndarray | IntegerConstant, order: np.ndarray
) -> bool:
    """Let a product read its weight with the summed axis in another order, if it can."""
    axis = 1 if node.attributes.get_int("transB", 0) else 0
    old = node.inputs[1]
    if isinstance(weight, IntegerConstant):
        moved = weight.reordered(axis, order)
        if moved is None:
            return False
        editor.set_input(node, 1, moved.insert(editor, node, "weight"))
        editor.remove_unused(weight.node)
    elif old is not None:
        array = np.take(weight, order, axis)
        editor.set_input(node, 1, editor.constant(node, "weight", array, old.dtype))
    return True


def _flattened(before: tuple[int, ...], layout: Layout, length: int) -> Layout | None:
    """Return the axes that a Transpose and a Reshape flatten to the last `length` elements.

    They come in the order in which they are flattened; None if the axes before them move too.
    """
    wide = [axis for axis in layout if before[axis] != 1]
    count, size = 0, 1
    while size < length and count < len(wide):
        count += 1
        size *= before[wide[-count]]
    lead = wide[: len(wide) - count]
    if size != length or lead != sorted(wide)[: len(lead)]:
        return None
    return tuple(wide[len(lead) :])


def _order(before: tuple[int, ...], axes: Layout) -> np.ndarray:
    """Return where the elements, in the order in which they lie, are found when flattened."""
    ordered = sorted(axes)
    places = tuple(axes.index(axis) for axis in ordered)
    shape = tuple(before[axis] for axis in axes)
    return np.arange(math.prod(shape)).reshape(shape).transpose(places).reshape(-1)
