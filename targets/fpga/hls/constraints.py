"""What hls4ml is not given: operators it has no word for, and those that it computes wrongly.

What is let through was compared with ONNX Runtime in the C simulation, operator by operator; what
follows was not, does not compile, or gave other numbers without a word (hls4ml 1.3.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import onnx_ir as ir

from ....errors import Problem
from ....lowering.matching import array_of, scalar_of, shape_of
from ...constraints import Constraint, broken, constants, place_of
from .network import WRITERS


def _whole_or_apart(node: ir.Node) -> str | None:
    """it knows no groups but one of all channels, and one for each"""
    groups = node.attributes.get_int("group", 1)
    channels = [(shape_of(value) or (0,))[-1] for value in (node.inputs[0], node.outputs[0])]
    return None if groups == 1 or channels == [groups] * 2 else f"has {groups} groups"


def _without_gaps(node: ir.Node) -> str | None:
    """its streaming convolutions have no dilation"""
    steps = node.attributes.get_ints("dilations", ())
    return None if all(step == 1 for step in steps) else f"has dilations {list(steps)}"


def _side_by_side(node: ir.Node) -> str | None:
    """its streaming poolings have windows side by side, without padding, and all of them whole"""
    kernel = list(node.attributes.get_ints("kernel_shape", ()))
    strides = list(node.attributes.get_ints("strides", ()))
    pads = list(node.attributes.get_ints("pads", ()))
    image = (shape_of(node.inputs[0]) or ())[1:-1]
    if kernel != strides:
        return f"has a window of {kernel} and strides of {strides}"
    if any(pads):
        return f"has pads {pads}"
    if any(size % step for size, step in zip(image, strides, strict=True)):
        return f"has a window of {kernel} on an image of {list(image)}"
    return None


def _from_zero(node: ir.Node) -> str | None:
    """it has no activation that bounds otherwise than Relu does, with or without a bound above"""
    low = scalar_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if low == 0 else f"is bounded by {low} below"


def _plain_product(node: ir.Node) -> str | None:
    """it multiplies a vector by a constant matrix, as they stand"""
    factors = {name: node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")}
    told = [f"{name} = {value:g}" for name, value in factors.items() if value != 1.0]
    if node.attributes.get_int("transA", 0):
        told.append("transA")
    return f"has {', '.join(told)}" if told else None


def _of_computed(node: ir.Node) -> str | None:
    """it merges two streams of one shape"""
    shapes = [shape_of(value) for value in node.inputs]
    if any(array_of(value) is not None for value in node.inputs):
        return "has a constant"
    if len(node.inputs) != 2:
        return f"has {len(node.inputs)} inputs"
    return None if shapes[0] == shapes[1] else f"has shapes {shapes[0]} and {shapes[1]}"


def _of_channels(node: ir.Node) -> str | None:
    """it joins two streams along the channels"""
    rank = len(shape_of(node.outputs[0]) or ())
    if len(node.inputs) != 2 or any(array_of(value) is not None for value in node.inputs):
        return f"has {len(node.inputs)} inputs, or constants"
    axis = node.attributes.get_int("axis", 0)
    return None if axis % rank == rank - 1 else f"is along axis {axis}"


#: Operator -> what must hold of a node; only those that `network` writes.
_CONSTRAINTS: Final[Mapping[str, tuple[Constraint, ...]]] = {
    "Add": (_of_computed,),
    "AveragePoolNhwc": (_side_by_side,),
    "Clip": (_from_zero, constants(1, 2, reason="it knows bounds when it writes the C++")),
    "Concat": (_of_channels,),
    "ConvNhwc": (
        _whole_or_apart,
        _without_gaps,
        constants(1, 2, reason="its weights are constants"),
    ),
    "Gemm": (_plain_product, constants(1, 2, reason="its weights are constants")),
    "MaxPoolNhwc": (_side_by_side,),
}


def unsupported(model: ir.Model) -> list[Problem]:
    """Return every reason why a lowered model cannot be exported."""
    problems = []
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.dtype != ir.DataType.FLOAT or (shape_of(value) or (0,))[0] != 1:
            what = f"is {value.dtype} {value.shape}: it takes one frame of float32 at a time"
            problems.append(Problem(f"{value.name!r}", what))
    for node in model.graph:
        if node.op_type not in WRITERS:
            known = ", ".join(WRITERS)
            problems.append(Problem(place_of(node), "hls4ml is not given it", f"it takes {known}"))
        problems += broken(node, _CONSTRAINTS.get(node.op_type, ()))
    return problems
