"""Store constant weights as integers; the network computes in floating point."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ...errors import UsageError
from .. import names
from ..editing import Editor
from ..matching import array_of, is_op, nodes_of, shape_of
from ..quantization.blocks import Blocks, in_blocks, in_channels
from ..quantization.scheme import SCHEMES, WeightScheme


@dataclasses.dataclass(frozen=True)
class QuantizeWeights(ir.passes.InPlacePass):
    """Put the constant weights of matrix products as integers behind a DequantizeLinear.

    int8: one scale for each output channel of MatMul, Gemm and Conv. int4: one scale for each
    block along the summed axis, float16 where that can hold it; a convolution sums along several
    axes, and its blocks lie along the input channels, at each position of the window. Scales are
    chosen for the least squared error (`quantization.blocks`). Biases stay float, activations
    too: no calibration is needed.

    Stay float: weights of fewer than `minimum` numbers, sums shorter than a block, a weight that
    other nodes read as well or along another axis, one with NaN or infinities, and nodes to keep;
    where the rest is in half precision, a weight with a scale that is too large for it.

    Requires: float32 constants; a model as after import. Ensures: a valid model that computes the
    same with weights rounded; the nodes keep their names.

    Raises:
        UsageError: an option is wrong; names the nodes that are not there.

    Attributes:
        scheme: ``weights-int8``, ``int8-dynamic`` (the same weights), ``weights-int4`` or
            ``weights-int4-fp16``: the fewest bits, of matrix products alone, in whole blocks and
            with scales of half precision.
        keep: the names of nodes whose weights stay float, as `names.joined` puts them.
        minimum: how many numbers a weight has at least: below, a scale and a node cost more than
            they save.
    """

    scheme: str = "weights-int8"
    keep: str = ""
    minimum: int = 1024

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        scheme = SCHEMES.get(self.scheme)
        known = [
            name
            for name, item in SCHEMES.items()
            if isinstance(item, WeightScheme) and item.weights != ir.DataType.FLOAT16
        ]
        if not isinstance(scheme, WeightScheme) or self.scheme not in known:
            raise UsageError(
                f"quantize-weights: scheme={self.scheme!r} is not {' or '.join(known)}"
            )
        kept = names.kept(model, self.keep, "quantize-weights: keep")
        edit = Editor(model)
        for node in list(nodes_of(model)):
            weight = node.inputs[1] if len(node.inputs) > 1 else None
            if weight is None or not self._is_worth(weight, scheme, kept):
                continue
            array, axis = array_of(weight), _axis(node, scheme)
            if array is None or axis is None:
                continue
            if scheme.block:
                half = scheme.rest == ir.DataType.FLOAT16
                blocks = in_blocks(array, axis, scheme.block, scheme.weights, half=half)
            else:
                blocks = in_channels(array, axis, scheme.weights)
            if scheme.rest == ir.DataType.FLOAT or blocks.scales.dtype == scheme.rest.numpy():
                _dequantize(edit, node, weight, blocks)
        return edit.result(model)

    def _is_worth(self, weight: ir.Value, scheme: WeightScheme, kept: set[str]) -> bool:
        """Whether a weight can be integers for all that read it, and is large enough."""
        array = array_of(weight)
        if array is None or weight.dtype != ir.DataType.FLOAT or weight.is_graph_output():
            return False
        uses = list(weight.uses())
        axes = {_axis(use.node, scheme) if use.idx == 1 else None for use in uses}
        [axis, *others] = axes
        if axis is None or others or any(use.node.name in kept for use in uses):
            return False
        summed = array.shape[axis]
        is_long = summed >= scheme.block and not (scheme.whole and summed % scheme.block)
        return is_long and array.size >= self.minimum and bool(np.isfinite(array).all())


def _axis(node: ir.Node, scheme: WeightScheme) -> int | None:
    """Return the axis of input 1 that has the scales: the summed one if the scheme has blocks.

    None if the node is not a product, or the scheme does not fit it.
    """
    rank = len(shape_of(node.inputs[1]) or ())
    if not is_op(node, *scheme.operators):
        return None
    if is_op(node, "Conv"):
        return int(bool(scheme.block))
    if is_op(node, "MatMul") and rank == 2:
        return 0 if scheme.block else 1
    if is_op(node, "Gemm"):
        turned = bool(node.attributes.get_int("transB", 0))
        return int(turned == bool(scheme.block))
    return None


def _dequantize(edit: Editor, node: ir.Node, weight: ir.Value, blocks: Blocks) -> None:
    """Let all that read a weight read the integers and scales in its place."""
    integers = edit.constant(node, "integers", blocks.integers)
    scales = edit.constant(node, "scales", blocks.scales)
    inputs = [integers, scales]
    if not blocks.size:  # the normal form has zero points, but for blocks
        zeros = np.zeros(blocks.scales.shape, blocks.integers.dtype)
        inputs.append(edit.constant(node, "zero_points", zeros))
    attributes: dict[str, int] = {"axis": blocks.axis}
    if blocks.size:
        attributes["block_size"] = blocks.size
    if scales.dtype != ir.DataType.FLOAT:
        attributes["output_dtype"] = int(ir.DataType.FLOAT)
    real = edit.insert(
        node,
        "DequantizeLinear",
        inputs,
        attributes,
        name="dequantized",
        dtype=ir.DataType.FLOAT,
        shape=shape_of(weight),
    )
    for use in list(weight.uses()):
        edit.set_input(use.node, use.idx, real)
