"""Convolutions of one layer, channels last from end to end: what instructions are counted of."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tapeout.lowering.canonical import canonical, integers

import quantized
import support
from quantized import Integers

_LAYER = """t = Transpose <perm = [0,3,1,2]> (x)
    c = Conv <pads = [1,1,1,1], group = {group}> (t, w)
    r = Relu(c)
    y = Transpose <perm = [0,2,3,1]> (r)"""


def of_floats(size: int, channels: int, group: int = 1, dtype: str = "float") -> ir.Model:
    """Return a lowered 3x3 convolution of a square image and ReLU, float32.

    Args:
        dtype: another, as ONNX spells it.
    """
    shape = f"{dtype}[1,{size},{size},{channels}]"
    each = channels // group
    text = (
        f"g ({shape} x, {dtype}[{channels},{each},3,3] w) => ({shape} y)"
        f" {{ {_LAYER.format(group=group)} }}"
    )
    weight = np.random.default_rng(0).standard_normal((channels, each, 3, 3))
    numbers = weight.astype(np.float32 if dtype == "float" else dtype)
    return canonical("nhwc").run(support.from_text(text, w=numbers))


def of_halves(size: int, channels: int, group: int = 1) -> ir.Model:
    """Return the same of half precision, from end to end."""
    return of_floats(size, channels, group, "float16")


def of_integers(size: int, channels: int, group: int = 1) -> ir.Model:
    """Return the same of int8, with weights of int8 and an output that few values of are cut."""
    shape, each = (1, size, size, channels), channels // group
    weight = np.random.default_rng(0).integers(-127, 128, (channels, each, 3, 3)).astype(np.int8)
    network = quantized.network(
        _LAYER.format(group=group),
        {"y": Integers(shape, 0.08 * each**0.5, -128)},
        x=Integers(shape, 0.05, 3),
        w=Integers(weight, 0.01),
    )
    return (canonical("nhwc") + integers()).run(network)


def feeds(model: ir.Model) -> dict[str, np.ndarray]:
    """Return random data for any of these."""
    [entry] = model.graph.inputs
    if entry.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return support.random_feeds(model)
    shape = [int(dim) for dim in entry.shape or ()]
    return {str(entry.name): np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)}
