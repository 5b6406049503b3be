"""The pass ``fold-transpose-into-gemm``."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..layouts import Layout, permutation
from ..matching import array_of, is_op, nodes_of, shape_of, sole_user
from ..reshapes import reshape_instead


@dataclasses.dataclass(frozen=True)
class FoldTransposeIntoGemm(ir.passes.InPlacePass):
    """Flatten channels-last data as it lies, and reorder the weight that reads it instead.

    A Transpose that only a Reshape reads, which flattens the transposed axes into the rows of a
    constant weight of Gemm or MatMul, is left out, and the weight's rows are put in the order in
    which the data lies. So a classifier over H×W×C features needs no transpose.

    Requires: static shapes. Ensures: the same numbers, summed in another order.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        for node in nodes_of(model):
            if is_op(node, "Gemm", "MatMul") and not node.attributes.get_int("transA", 0):
                _fold(editor, node)
        return editor.result(model)


def _fold(editor: Editor, node: ir.Node) -> None:
    flat, weight = node.inputs[0], array_of(node.inputs[1])
    reshape = flat.producer() if flat is not None else None
    if flat is None or reshape is None or weight is None or weight.ndim != 2:
        return
    turned = reshape.inputs[0] if is_op(reshape, "Reshape") else None
    transpose = turned.producer() if turned is not None else None
    if turned is None or transpose is None or not sole_user(flat) or not sole_user(turned):
        return
    layout, source = permutation(transpose), transpose.inputs[0]
    before, after = shape_of(source), shape_of(flat)
    if layout is None or source is None or before is None or after is None:
        return
    axes = _flattened(before, layout, after[-1])
    if axes is None:
        return
    by_column = bool(node.attributes.get_int("transB", 0))
    rows = _reordered(weight.T if by_column else weight, before, axes)
    array = np.ascontiguousarray(rows.T if by_column else rows)
    dtype = node.inputs[1].dtype if node.inputs[1] is not None else None
    editor.set_input(node, 1, editor.constant(node, "weight", array, dtype))
    editor.bypass(turned, source)
    reshape_instead(editor, reshape)


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


def _reordered(weight: np.ndarray, before: tuple[int, ...], axes: Layout) -> np.ndarray:
    """Return the rows of a weight, which follow `axes` of the data, in the data's own order."""
    order = sorted(axes)
    places = tuple(axes.index(axis) for axis in order)
    columns = weight.shape[1]
    blocks = weight.reshape(*(before[axis] for axis in axes), columns)
    return blocks.transpose(*places, len(axes)).reshape(-1, columns)
