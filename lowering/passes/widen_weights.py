"""Store in float32 what is computed with in float32."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ..editing import Editor
from ..matching import array_of, halved, nodes_of


@dataclasses.dataclass(frozen=True)
class WidenWeights(ir.passes.InPlacePass):
    """Replace half-precision constants that are cast to float32 by float32 constants.

    `FoldConstants` does so within bounds. Here all become constants that passes can reorder and
    fold into each other, whatever their size; `HalveWeights` may shorten them again.

    Ensures: the same numbers; the constants take at most twice their bytes.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            array = array_of(halved(node.outputs[0]))
            if array is not None:
                edit.fold(node, [ir.Tensor(array.astype(np.float32))])
        return edit.result(model)
