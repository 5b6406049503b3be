"""The pass ``fuse-pad``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx_ir as ir

from ..attributes import attribute
from ..clamps import clamp_of, number_of
from ..editing import Editor
from ..matching import ints_of, is_op, nodes_of, scalar_of, shape_of, sole_user
from ..requantizing import before_rounding
from ..spatial import INDIRECT, window_attributes

#: Operators that never give a negative number.
_NOT_NEGATIVE = ("Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "Sigmoid", "Softmax", "Sqrt")


@dataclasses.dataclass(frozen=True)
class FusePad(ir.passes.InPlacePass):
    """Let convolutions and poolings pad by themselves, where a Pad over space stands before them.

    Conv: the Pad writes zeros. AveragePool: it writes zeros, and those that the pooling adds itself
    count too, or there are none. MaxPool: it writes the least number of the dtype, or zeros beside
    numbers that are not negative. Pools only where each window still meets the data, and sizes are
    not rounded up. The Pad must have no other use, and its amounts be constants, none negative.
    In between, numbers may be rounded to integers of one scale, which have zero exactly; of padded
    integers, zero is the zero point.

    Requires: static shapes. Ensures: the same numbers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        editor = Editor(model)
        for node in nodes_of(model):
            if is_op(node, "AveragePool", "Conv", "MaxPool"):
                _fuse(editor, node)
        return editor.result(model)


def _fuse(editor: Editor, node: ir.Node) -> None:
    padded, rounded = before_rounding(node.inputs[0])
    pad = padded.producer() if padded is not None else None
    if padded is None or pad is None or not is_op(pad, "Pad") or sole_user(padded) is None:
        return
    widths, window = _spatial_widths(pad), window_attributes(node)
    if pad.inputs[0] is None or widths is None or window is None:
        return
    own, kernel = window["pads"], window["kernel_shape"]
    if isinstance(own, int) or isinstance(kernel, int):
        return
    pads = tuple(mine + other for mine, other in zip(own, widths, strict=True))
    if not _is_neutral(pad, node, _zero(rounded)) or not _suits(node, own, pads, kernel, window):
        return
    for name in INDIRECT:
        node.attributes.pop(name, None)
    for name, value in (window | {"pads": pads}).items():
        node.attributes.add(attribute(name, value))
    if node.op_type == "AveragePool":
        node.attributes.add(ir.AttrInt64("count_include_pad", 1))
    for unpadded in rounded:
        unpadded.shape = ir.Shape(shape_of(pad.inputs[0]) or ())
    editor.bypass(padded, pad.inputs[0])


def _spatial_widths(pad: ir.Node) -> tuple[int, ...] | None:
    """Return how much a Pad adds over space, begins then ends; None if it does anything else."""
    shape, widths = shape_of(pad.inputs[0]), ints_of(pad.inputs[1])
    if (
        shape is None
        or widths is None
        or pad.attributes.get_string("mode", "constant") != "constant"
    ):
        return None
    rank = len(shape)
    listed = pad.inputs[3] if len(pad.inputs) > 3 else None
    axes = tuple(range(rank)) if listed is None else ints_of(listed)
    if axes is None:
        return None
    full = [0] * (2 * rank)
    for place, axis in enumerate(axes):
        full[axis % rank] = widths[place]
        full[axis % rank + rank] = widths[place + len(axes)]
    if min(full) < 0 or any(full[:2]) or any(full[rank : rank + 2]):
        return None
    return (*full[2:rank], *full[rank + 2 :])


def _zero(rounded: Sequence[ir.Value]) -> float | None:
    """Return what stands for zero before these values: 0, or the zero point of integers."""
    node = rounded[-1].producer() if rounded else None
    if node is None or not is_op(node, "DequantizeLinear") or len(node.inputs) < 3:
        return 0
    return scalar_of(node.inputs[2])


def _is_neutral(pad: ir.Node, node: ir.Node, zero: float | None) -> bool:
    """Whether what a Pad writes is what the node's own padding stands for."""
    written = pad.inputs[2] if len(pad.inputs) > 2 else None
    number = 0 if written is None else number_of(written)
    source = pad.inputs[0]
    if number is None or source is None or source.dtype is None:
        return False
    if node.op_type != "MaxPool":
        return bool(number == zero)
    return bool(number <= source.dtype.min) or (number == 0 and _is_not_negative(source))


def _is_not_negative(value: ir.Value) -> bool:
    producer = value.producer()
    if value.dtype is not None and not value.dtype.is_signed():
        return True
    if is_op(producer, *_NOT_NEGATIVE) or _is_from_zero(producer):
        return True
    found = clamp_of(producer)
    return found is not None and found[1].low is not None and found[1].low >= 0


def _is_from_zero(node: ir.Node | None) -> bool:
    """Whether a DequantizeLinear's zero point is the least of its integers."""
    if node is None or not is_op(node, "DequantizeLinear") or len(node.inputs) < 3:
        return False
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    return dtype is not None and scalar_of(node.inputs[2]) == dtype.min


def _suits(
    node: ir.Node,
    own: Sequence[int],
    pads: Sequence[int],
    kernel: Sequence[int],
    window: dict[str, tuple[int, ...] | int],
) -> bool:
    """Whether the node may pad that much by itself."""
    if node.op_type == "Conv":
        return True
    if window["ceil_mode"] or any(
        width >= size for width, size in zip(pads, (*kernel, *kernel), strict=True)
    ):
        return False
    counted = node.attributes.get_int("count_include_pad", 0)
    return node.op_type == "MaxPool" or bool(counted) or not any(own)
