"""The restrictions in TensorRT's list of ONNX operators, as rules that the tables name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from ....lowering.matching import array_of, scalar_of, shape_of
from ...constraints import Constraint, constants, input_of, no_output

_UNSIGNED: Final = (ir.DataType.UINT8, ir.DataType.UINT4, ir.DataType.UINT16, ir.DataType.UINT2)

#: The first number of largest elements that TopK does not give.
_TOO_MANY: Final = 3840


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def planar_window(node: ir.Node) -> str | None:
    """Pooling slides over two or three dimensions: add one of length 1."""
    rank = _rank(node.inputs[0])
    return None if rank in (4, 5) else f"the input has {rank} dimensions"


def planar_input(node: ir.Node) -> str | None:
    """The input has one or two dimensions of space."""
    rank = _rank(node.inputs[0])
    return None if rank in (3, 4) else f"the input has {rank} dimensions"


def image(node: ir.Node) -> str | None:
    """The input has four dimensions."""
    rank = _rank(node.inputs[0])
    return None if rank == 4 else f"the input has {rank}"


def no_dilations(node: ir.Node) -> str | None:
    """The window of a pooling has no gaps."""
    dilations = tuple(node.attributes.get_ints("dilations", ()) or ())
    return f"dilations = {list(dilations)}" if any(step != 1 for step in dilations) else None


def equal_pads(node: ir.Node) -> str | None:
    """As much is padded at the end of an axis as at its beginning."""
    pads = list(node.attributes.get_ints("pads", ()) or ())
    half = len(pads) // 2
    return None if pads[:half] == pads[half:] else f"pads = {pads}"


def symmetric(node: ir.Node) -> str | None:
    """Quantization is symmetric: signed numbers whose zero point is 0."""
    quantized = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    if quantized is not None and quantized.dtype in _UNSIGNED:
        return f"{quantized.name!r} is {quantized.dtype.name}"
    zero = input_of(node, 2)
    if zero is None:
        return None
    array = array_of(zero)
    if array is None:
        return f"its zero point {zero.name!r} is computed"
    found = np.unique(array.astype(np.float32))
    return None if not found.any() else f"its zero point is {found[np.nonzero(found)][0]:g}"


def inference(node: ir.Node) -> str | None:
    """A Dropout does not train."""
    mode = input_of(node, 2)
    return None if mode is None or scalar_of(mode) == 0 else f"training_mode is {mode.name!r}"


def equal_ranks(node: ir.Node) -> str | None:
    """Both branches give outputs of the same rank."""
    pair = [node.attributes.get_graph(name) for name in ("then_branch", "else_branch")]
    if pair[0] is None or pair[1] is None:
        return None
    for index, (left, right) in enumerate(zip(pair[0].outputs, pair[1].outputs, strict=True)):
        if _rank(left) != _rank(right):
            return f"output {index} has {_rank(left)} dimensions or {_rank(right)}"
    return None


def same_activations(node: ir.Node) -> str | None:
    """Both directions of a recurrent layer have the same activations."""
    if node.attributes.get_string("direction", "forward") != "bidirectional":
        return None
    names = list(node.attributes.get_strings("activations", ()) or ())
    half = len(names) // 2
    return None if names[:half] == names[half:] else f"activations = {names}"


def _attribute(name: str, allowed: tuple[int | str, ...], reason: str) -> Constraint:
    """Return the rule that an attribute, its default being the first, has one of these values."""

    def one_of(node: ir.Node) -> str | None:
        attribute = node.attributes.get(name)
        if attribute is None or attribute.value in allowed:
            return None
        return f"{name} = {attribute.value!r}"

    one_of.__doc__ = reason
    return one_of


def resize_mode(node: ir.Node) -> str | None:
    """Images are resized by their nearest or by linear interpolation."""
    mode = node.attributes.get_string("mode", "nearest")
    return None if mode in ("nearest", "linear") else f"mode = {mode!r}"


def few_largest(node: ir.Node) -> str | None:
    """TopK gives fewer than 3840 elements."""
    count = scalar_of(input_of(node, 1))
    return None if count is None or count < _TOO_MANY else f"K = {count:g}"


def real_signal(node: ir.Node) -> str | None:
    """The signal is real: its last dimension, where there are three, is 1."""
    shape = shape_of(node.inputs[0])
    return None if shape is None or len(shape) < 3 or shape[-1] == 1 else f"its shape is {shape}"


def cache(node: ir.Node) -> str | None:
    """A cache has four dimensions and is written along the last but one."""
    ranks = [_rank(value) for value in node.inputs[:2]]
    if ranks != [4, 4]:
        return f"the cache and the update have {ranks[0]} and {ranks[1]} dimensions"
    axis = node.attributes.get_int("axis", -2)
    return None if axis in (-2, 2) else f"axis = {axis}"


def first_output(node: ir.Node) -> str | None:
    """Only the first output is supported."""
    wanted = (no_output(index, "")(node) for index in range(1, len(node.outputs)))
    return next(filter(None, wanted), None)


def attention(node: ir.Node) -> str | None:
    """Attention is of four dimensions, without a cache, a cap or further outputs."""
    given = [(index, input_of(node, index)) for index in range(len(node.inputs))]
    for index, value in given:
        if index > 3 and value is not None:
            return f"input {index}, {value.name!r}, is given"
        if value is not None and _rank(value) != 4:
            return f"input {index}, {value.name!r}, has {_rank(value)} dimensions"
    if found := first_output(node):
        return found
    named = [name for name in ("softcap", "qk_matmul_output_mode") if node.attributes.get(name)]
    return f"{named[0]} is given" if named else None


#: Name in the tables -> rule.
RULES: Final[Mapping[str, Callable[[ir.Node], str | None]]] = {
    "attention": attention,
    "cache": cache,
    "constant-axes": constants(1, reason="The axes are constant."),
    "constant-axis": constants(1, reason="The axis is constant."),
    "constant-depth": constants(1, reason="The depth is constant."),
    "constant-frames": constants(1, 2, reason="Step and window of the frames are constant."),
    "constant-pad-axes": constants(3, reason="The axes are constant."),
    "equal-pads": equal_pads,
    "equal-ranks": equal_ranks,
    "few-largest": few_largest,
    "first-output": first_output,
    "image": image,
    "inference": inference,
    "no-antialias": _attribute("antialias", (0,), "Resizing does not smooth."),
    "no-dilations": no_dilations,
    "no-indices": first_output,
    "no-reduction": _attribute("reduction", ("none",), "What is scattered replaces what is there."),
    "planar-input": planar_input,
    "planar-window": planar_window,
    "real-signal": real_signal,
    "resize-coordinates": _attribute(
        "coordinate_transformation_mode",
        (
            "half_pixel",
            "pytorch_half_pixel",
            "tf_half_pixel_for_nn",
            "asymmetric",
            "align_corners",
        ),
        "Other transformations of coordinates are not supported.",
    ),
    "resize-mode": resize_mode,
    "resize-rounding": _attribute(
        "nearest_mode",
        ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
        "Other roundings to the nearest are not supported.",
    ),
    "resize-stretch": _attribute(
        "keep_aspect_ratio_policy", ("stretch",), "The aspect ratio is not kept."
    ),
    "same-activations": same_activations,
    "separate-gates": _attribute("input_forget", (0,), "The gates are not coupled."),
    "sequence-first": _attribute("layout", (0,), "The sequence is the first dimension."),
    "sorted": _attribute("sorted", (1,), "What TopK gives is sorted."),
    "symmetric": symmetric,
}
