"""Write pruned weights into a network: two of every four consecutive ones are zero."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from ...errors import Problem, TapeoutError
from .. import names
from ..editing import Editor
from ..quantization.pruning import Pruning


@dataclasses.dataclass(frozen=True)
class SparsifyWeights(ir.passes.InPlacePass):
    """Give nodes the weights and biases of a pruning, so that sparse tensor cores skip the zeros.

    Requires: the canonical, channels-first model that the pruning was made for.
    Ensures: the same graph with other constants. A Conv or Gemm without a bias gets one.

    Attributes:
        pruning: the constants of every node that is pruned.
        keep: the names of nodes that stay dense even so, as `names.joined` puts them.

    Raises:
        TapeoutError: the pruning is not one for this model; names all that is missing.
        UsageError: `keep` names nodes that are not there.
    """

    pruning: Pruning
    keep: str = ""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        kept = names.kept(model, self.keep, "sparsify-weights: keep")
        nodes = {str(node.name): node for node in model.graph}
        if absent := [name for name in self.pruning.nodes if name not in nodes]:
            raise TapeoutError(
                "the pruning was made for another model",
                [Problem(f"node {name!r}", "is not in the graph") for name in absent],
            )
        edit = Editor(model)
        for name, found in self.pruning.nodes.items():
            if name in kept:
                continue
            node = nodes[name]
            edit.set_input(node, 1, edit.constant(node, "sparse_weight", found.weight))
            if found.bias is not None:
                edit.set_input(node, 2, edit.constant(node, "sparse_bias", found.bias))
        return edit.result(model)
