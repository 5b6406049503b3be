"""The pass ``unroll-recurrent``."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from ..editing import Editor
from ..importers.splicing import Names, splice
from ..matching import is_op, nodes_of
from ..recurrent import GATES, is_common, size_of, unknown_activations
from ..unrolling import unrolled


@dataclasses.dataclass(frozen=True)
class UnrollRecurrent(ir.passes.InPlacePass):
    """Write RNN, GRU and LSTM as plain operators, one step of the sequence after the other.

    Every direction, layout, initial state, activation and length of sequences is taken, for a
    runtime that has no such kernels, or whose kernels keep their state from run to run.

    Requires: static shapes. Ensures: the same numbers, but for the order of sums.

    Attributes:
        limit: how many nodes a node may become; one that would become more stays as it is.
        uncommon: only those that kernels seldom know: with lengths of sequences, or activations
            that have parameters, or are others than Relu, Sigmoid and Tanh.
    """

    limit: int = 20_000
    uncommon: bool = False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        names = Names(model.graph)
        read: list[ir.Value] = []
        for node in list(nodes_of(model)):
            if not is_op(node, *GATES) or size_of(node) > self.limit or unknown_activations(node):
                continue
            if self.uncommon and is_common(node):
                continue
            read += [value for value in node.inputs if value is not None]
            splice(node, unrolled(node), names)
        edit = Editor(model)
        for value in read:
            edit.drop_unused(value)
        return ir.passes.PassResult(model, bool(read))
