"""Store constant weights in half precision; the network computes in float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

from .. import half_precision, names
from ..editing import Editor
from ..matching import array_of, is_op, nodes_of, shape_of
from ..quantization.scheme import LINEAR
from ..recurrent import GATES

_HALF: Final = ir.DataType.FLOAT16


@dataclasses.dataclass(frozen=True)
class HalveWeights(ir.passes.InPlacePass):
    """Put constant weights as float16 behind a Cast: of products, convolutions, recurrent nodes.

    Half the bytes, and a weight changes by 2^-12 of itself at most: no calibration is needed.
    Biases stay float32.

    Stay float32: weights of fewer than `minimum` numbers, one that other nodes read as well, one
    that half precision cannot hold (`unfit`), and nodes to keep.

    Requires: float32 constants; a model as after import, in either layout. Ensures: a valid model
    that computes the same with weights rounded; the nodes keep their names.

    Raises:
        UsageError: `keep` names nodes that are not there.

    Attributes:
        keep: the names of nodes whose weights stay float32, as `names.joined` puts them.
        minimum: how many numbers a weight has at least: below, a node costs more than it saves.
        exact: halve only weights that are rounded already: the Casts that `FoldConstants` or
            `WidenWeights` took away come back.
    """

    keep: str = ""
    minimum: int = 256
    exact: bool = False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        kept = names.kept(model, self.keep, "halve-weights: keep")
        edit = Editor(model)
        for node in list(nodes_of(model)):
            for weight, array in _weights(node):
                if array.size < self.minimum or any(use.node.name in kept for use in weight.uses()):
                    continue
                if half_precision.objection(array, _HALF) is not None:
                    continue
                halves = half_precision.rounded(array, _HALF)
                if not self.exact or np.array_equal(halves, array):
                    _halve(edit, node, weight, halves)
        return edit.result(model)


def unfit(model: ir.Model) -> dict[str, str]:
    """Return the nodes whose weights half precision cannot hold, with the reason."""
    found = {}
    for node in nodes_of(model):
        for _, array in _weights(node):
            reason = half_precision.objection(array, _HALF)
            if reason is not None:
                found[str(node.name)] = f"its weights: {reason}"
    return found


def _weights(node: ir.Node) -> Iterator[tuple[ir.Value, np.ndarray]]:
    """Yield the float32 weights of a node, with their numbers, that nothing reads but as such."""
    for index in _places(node):
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None or value.dtype != ir.DataType.FLOAT or value.is_graph_output():
            continue
        array = array_of(value)
        if array is not None and all(use.idx in _places(use.node) for use in value.uses()):
            yield value, array


def _places(node: ir.Node) -> tuple[int, ...]:
    """Return which inputs of a node are weights."""
    if is_op(node, *GATES):
        return (1, 2)
    known = half_precision.is_known(node) and half_precision.standard(node) in LINEAR
    return (1,) if known else ()


def _halve(edit: Editor, node: ir.Node, weight: ir.Value, array: np.ndarray) -> None:
    """Let all that read a weight read its float16 numbers, cast, in its place."""
    halves = edit.constant(node, "halves", array)
    real = edit.insert(
        node,
        "Cast",
        [halves],
        {"to": int(ir.DataType.FLOAT)},
        name="float32",
        dtype=ir.DataType.FLOAT,
        shape=shape_of(weight),
    )
    for use in list(weight.uses()):
        edit.set_input(use.node, use.idx, real)
