"""Compute at compile time what does not depend on the inputs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir

from .. import evaluation
from ..editing import Editor
from ..matching import nodes_of, shape_of, tensor_of


@dataclasses.dataclass(frozen=True)
class FoldConstants(ir.passes.InPlacePass):
    """Replace nodes of constant inputs, and the shapes of values of static shape, by constants.

    Nothing runs away: the size of a result is inferred from the constants before anything is
    computed, and only operators of bounded work are (see `lowering.evaluation`): no control flow,
    nothing random, nothing of a foreign domain. DequantizeLinear stays, since it says how a tensor
    is quantized.

    Attributes:
        limit: bytes; a node whose outputs are larger is folded only if the model's constants do
            not grow by it: what only this node used is dropped.
        growth: bytes; how much all folding together may add to the model's constants.
    """

    limit: int = 1 << 20
    growth: int = 16 << 20

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        opset = model.opset_imports[""]
        for node in nodes_of(model):
            constant = _attribute(node) or _of_shape(node)
            if constant is not None:
                edit.fold(node, [constant])
            else:
                self._fold(node, opset, edit)
        return edit.result(model)

    def _fold(self, node: ir.Node, opset: int, edit: Editor) -> None:
        inputs = [tensor_of(value) for value in node.inputs]
        if any(
            value is not None and tensor is None
            for value, tensor in zip(node.inputs, inputs, strict=True)
        ):
            return
        results = evaluation.foresee(node, inputs, opset)
        if results is None:
            return
        size = sum(result.nbytes for result in results)
        added = size - _dropped(node)
        if added > 0 and (size > self.limit or edit.grown + added > self.growth):
            return
        outputs = evaluation.compute(node, inputs, results, opset)
        if outputs is not None:
            edit.fold(node, outputs)


def _dropped(node: ir.Node) -> int:
    """Return the bytes of the constants that would go with the node."""
    values = dict.fromkeys(value for value in node.inputs if value is not None)
    return sum(
        value.const_value.nbytes
        for value in values
        if value.const_value is not None
        and not value.is_graph_output()
        and all(use.node is node for use in value.uses())
    )


def _attribute(node: ir.Node) -> ir.TensorProtocol | None:
    """Return the tensor of a Constant node."""
    if (node.domain, node.op_type) != ("", "Constant") or "sparse_value" in node.attributes:
        return None
    return ir.convenience.get_const_tensor(node.outputs[0])


def _of_shape(node: ir.Node) -> ir.TensorProtocol | None:
    """Return the output of a Shape or Size, which depends on its input's shape only."""
    if node.domain != "" or node.op_type not in ("Shape", "Size"):
        return None
    shape = shape_of(node.inputs[0])
    if shape is None:
        return None
    if node.op_type == "Size":
        return ir.Tensor(np.array(math.prod(shape), np.int64))
    end = node.attributes.get_int("end", len(shape))
    return ir.Tensor(np.array(shape[node.attributes.get_int("start", 0) : end], np.int64))
