"""Take operators apart that ONNX defines by simpler ones."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from ..expansion import NotFollowedError, expand
from ..importers.splicing import Names, Replacement, splice
from ..matching import nodes_of


@dataclasses.dataclass(frozen=True)
class ExpandFunctions(ir.passes.InPlacePass):
    """Replace each of these operators by the ONNX function that defines it.

    Requires static shapes; what the definition computes from them is computed here. A node whose
    definition branches on data or loops stays as it is.

    Attributes:
        operators: their names, joined by ``+``.
    """

    operators: str = (
        "Attention+CenterCropPad+DynamicQuantizeLinear+NegativeLogLikelihoodLoss"
        "+RotaryEmbedding+SoftmaxCrossEntropyLoss"
    )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        wanted = set(self.operators.split("+"))
        opset = model.opset_imports[""]
        names = Names(model.graph)
        modified = False
        pending = [node for node in nodes_of(model) if _is_one_of(node, wanted)]
        for node in pending:
            try:
                expanded = expand(node, opset)
            except NotFollowedError:
                continue
            replacement = Replacement(expanded.nodes, expanded.outputs, version=None)
            # A definition may use another of these operators.
            pending += [s for s in splice(node, replacement, names) if _is_one_of(s, wanted)]
            modified = True
        return ir.passes.PassResult(model, modified)


def _is_one_of(node: ir.Node, operators: set[str]) -> bool:
    return node.domain == "" and node.op_type in operators
