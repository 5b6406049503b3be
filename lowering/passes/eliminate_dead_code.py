"""Remove what no output needs."""

from __future__ import annotations

import dataclasses
from typing import Final

import onnx_ir as ir
from onnx_ir.passes import common

_PASSES: Final = (
    common.RemoveUnusedNodesPass,
    common.RemoveUnusedFunctionsPass,
    common.RemoveUnusedOpsetsPass,
)


@dataclasses.dataclass(frozen=True)
class EliminateDeadCode(ir.passes.InPlacePass):
    """Remove nodes, optional outputs, constants, functions and opset imports that nothing uses.

    The inputs of the model stay, used or not: they are its signature. The passes of onnx-ir do the
    work; this one adds the constants that belong to the bodies of control flow.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = [item()(model).modified for item in _PASSES]
        modified += [_drop_constants(graph) for graph in model.graph.subgraphs()]
        return ir.passes.PassResult(model, any(modified))


def _drop_constants(graph: ir.Graph) -> bool:
    unused = [
        name
        for name, value in graph.initializers.items()
        if not (value.uses() or value.is_graph_output() or value.is_graph_input())
    ]
    for name in unused:
        del graph.initializers[name]
    return bool(unused)
