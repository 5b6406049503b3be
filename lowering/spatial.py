"""The canonical attributes of operators that slide a window over space.

ONNX lets a file leave out strides, dilations, pads and the kernel's shape, or ask for pads by name
(``auto_pad``). Here all of them are computed, so that no target has to.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from .matching import shape_of

Ints = tuple[int, ...]

#: Operators with a window, and the input that holds the kernel (None: attribute ``kernel_shape``).
WINDOWED: Final[dict[str, int | None]] = {
    "AveragePool": None,
    "Conv": 1,
    "ConvInteger": 1,
    "ConvTranspose": 1,
    "LpPool": None,
    "MaxPool": None,
    "QLinearConv": 3,
}

#: Attributes that ask for pads instead of giving them; absent from the canonical form.
INDIRECT: Final = ("auto_pad", "output_shape")


def is_windowed(node: ir.Node) -> bool:
    """Whether the node is a convolution or a pooling of the default domain."""
    return node.domain == "" and node.op_type in WINDOWED


def window_attributes(node: ir.Node) -> dict[str, Ints | int] | None:
    """Return the explicit kernel_shape, strides, dilations and pads of a windowed node.

    ``group`` of a convolution, ``output_padding`` of a transposed one and ``ceil_mode`` of a
    pooling are given too. `INDIRECT` attributes are resolved by the formulas of the operators'
    specification (ONNX operators, Conv, ConvTranspose, MaxPool).

    Returns:
        None when a shape that is needed is not static, or when a transposed convolution asks for
        an output that no pads reach.
    """
    data, result = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    kernel = _kernel_shape(node)
    if data is None or result is None or kernel is None:
        return None
    rank = len(kernel)
    given = node.attributes
    strides = tuple(given.get_ints("strides", (1,) * rank))
    dilations = tuple(given.get_ints("dilations", (1,) * rank))
    found: dict[str, Ints | int] = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
    }
    extents = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    if node.op_type == "ConvTranspose":
        return found | _transposed_attributes(node, extents, strides)
    if WINDOWED[node.op_type] is not None:
        found["group"] = given.get_int("group", 1)
    else:
        # SAME pads by themselves make every window whole.
        same = _auto_pad(node).startswith("SAME")
        found["ceil_mode"] = 0 if same else given.get_int("ceil_mode", 0)
    pads = _pads(node, extents, strides)
    if pads is None or min(pads, default=0) < 0:
        return None
    return found | {"pads": pads}


def _kernel_shape(node: ir.Node) -> Ints | None:
    if "kernel_shape" in node.attributes:
        return tuple(node.attributes["kernel_shape"].as_ints())
    index = WINDOWED[node.op_type]
    weight = shape_of(node.inputs[index]) if index is not None else None
    return None if weight is None else weight[2:]


def _auto_pad(node: ir.Node) -> str:
    return node.attributes.get_string("auto_pad", "NOTSET")


def _pads(node: ir.Node, extents: Ints, strides: Ints) -> Ints | None:
    """Return the pads of a node that is not transposed: all the begins, then all the ends."""
    match _auto_pad(node):
        case "NOTSET":
            return tuple(node.attributes.get_ints("pads", (0,) * 2 * len(extents)))
        case "VALID":
            return (0,) * 2 * len(extents)
    sizes, results = (shape_of(node.inputs[0]) or ())[2:], (shape_of(node.outputs[0]) or ())[2:]
    totals = tuple(
        max(0, (result - 1) * stride + extent - size)
        for size, result, stride, extent in zip(sizes, results, strides, extents, strict=True)
    )
    return _split(totals, odd_at_end=_auto_pad(node) == "SAME_UPPER")


def _transposed_attributes(node: ir.Node, extents: Ints, strides: Ints) -> dict[str, Ints | int]:
    """Return group, output_padding and pads of a ConvTranspose, whose pads cut the output.

    Where the output that is asked for is larger than the windows reach, output_padding fills it.
    """
    zeros = (0,) * len(extents)
    given = node.attributes
    padding = tuple(given.get_ints("output_padding", zeros))
    wanted = given.get_ints("output_shape", None)
    if wanted is None and _auto_pad(node) in ("NOTSET", "VALID"):
        pads = (
            tuple(given.get_ints("pads", zeros * 2)) if _auto_pad(node) == "NOTSET" else zeros * 2
        )
    else:
        sizes = (shape_of(node.inputs[0]) or ())[2:]
        wanted = wanted or (shape_of(node.outputs[0]) or ())[2:]
        totals = tuple(
            stride * (size - 1) + extra + extent - out
            for stride, size, extra, extent, out in zip(
                strides, sizes, padding, extents, wanted[-len(sizes) :], strict=True
            )
        )
        padding = tuple(
            extra + max(0, -total) for extra, total in zip(padding, totals, strict=True)
        )
        cut = tuple(max(0, total) for total in totals)
        pads = _split(cut, odd_at_end=_auto_pad(node) == "SAME_UPPER")
    return {"group": given.get_int("group", 1), "output_padding": padding, "pads": pads}


def _split(totals: Ints, odd_at_end: bool) -> Ints:
    small = tuple(total // 2 for total in totals)
    large = tuple(total - half for total, half in zip(totals, small, strict=True))
    return small + large if odd_at_end else large + small
