"""Numbers that are rounded to integers and back: QuantizeLinear and DequantizeLinear in a row."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from .clamps import clamp_of
from .matching import is_op, shape_of, sole_user
from .scales import Scales, scales_of

#: Dtypes whose every integer survives being dequantized to float32 and quantized again.
_EXACT: Final = (
    ir.DataType.INT4,
    ir.DataType.UINT4,
    ir.DataType.INT8,
    ir.DataType.UINT8,
    ir.DataType.INT16,
    ir.DataType.UINT16,
)


def requantized(node: ir.Node) -> ir.Value | None:
    """Return the integers that a QuantizeLinear gives back as they were dequantized.

    Those of up to 16 bits survive float32: |n| < 2^16, so fl(fl(n s) / s) is nearer to n than to
    any other integer.
    """
    real = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    if real is None or not is_op(node, "QuantizeLinear") or not is_op(real, "DequantizeLinear"):
        return None
    integers = real.inputs[0]
    dtypes = [integers.dtype if integers is not None else None, node.outputs[0].dtype]
    if dtypes[0] != dtypes[1] or dtypes[0] not in _EXACT:
        return None
    before, after = _scales(real), _scales(node)
    if before is None or after is None or not _is_exact(real, before):
        return None
    return integers if _is_same(before, after) else None


def _is_exact(real: ir.Node, scales: Scales) -> bool:
    """Whether integers survive in the dtype that a DequantizeLinear gives.

    Half precision, too, holds those of up to 8 bits, by a scale for which all are normal numbers.
    """
    integers, dtype = real.inputs[0], real.outputs[0].dtype
    if dtype == ir.DataType.FLOAT or integers is None or integers.dtype is None:
        return True
    low, high = scales.scale.min(), scales.scale.max()
    half = dtype == ir.DataType.FLOAT16 and integers.dtype.bitwidth <= 8
    return half and bool(low >= 2.0**-14 and high <= 2.0**7)


def _scales(node: ir.Node) -> Scales | None:
    found = scales_of(node)
    return found if found is not None and found.scale.dtype == np.float32 else None


def _is_same(one: Scales, other: Scales) -> bool:
    """Whether two nodes say the same; zero points that are not given are 0."""
    pairs = [(one.scale, other.scale)]
    if not (one.zero is None and other.zero is None):
        pairs.append((_zero(one), _zero(other)))
    return (one.axis, one.block) == (other.axis, other.block) and all(
        np.array_equal(left.reshape(-1), right.reshape(-1)) for left, right in pairs
    )


def _zero(scales: Scales) -> np.ndarray:
    return np.zeros_like(scales.scale) if scales.zero is None else scales.zero


def unclamped(node: ir.Node) -> ir.Value | None:
    """Return what a QuantizeLinear may read in the place of its input, which is clamped.

    Its integers are saturated at the bounds, or before: both round monotonically, so what lies
    beyond a bound goes to the integer of the bound, which is the last one. It has one constant
    scale, and is the only reader.
    """
    value = node.inputs[0] if is_op(node, "QuantizeLinear") else None
    if value is None or sole_user(value) is not node or value.dtype != ir.DataType.FLOAT:
        return None
    clamped, found = clamp_of(value.producer()), _scales(node)
    dtype = node.outputs[0].dtype
    if clamped is None or found is None or not found.is_single or dtype not in _EXACT:
        return None
    source, clamp = clamped
    (scale,), (zero,) = found.scale.reshape(-1), _zero(found).reshape(-1).astype(np.float32)
    if not (np.isfinite(scale) and scale > 0) or shape_of(source) != shape_of(value):
        return None
    if clamp.low is not None and clamp.high is not None and clamp.low > clamp.high:
        return None
    with np.errstate(over="ignore"):
        low, high = (
            None if bound is None else np.rint(np.float32(bound) / scale) + zero
            for bound in (clamp.low, clamp.high)
        )
    saturates = (low is None or low <= dtype.min) and (high is None or high >= dtype.max)
    return source if saturates else None


def before_rounding(value: ir.Value | None) -> tuple[ir.Value | None, list[ir.Value]]:
    """Return what a value was before it was rounded, and the rounded values, itself included.

    They are rounded by one scale, and none has another use than the next of them.
    """
    rounded: list[ir.Value] = []
    while value is not None and sole_user(value) is not None:
        node = value.producer()
        if node is None or not is_op(node, "DequantizeLinear", "QuantizeLinear"):
            break
        if shape_of(node.inputs[1]) != ():
            break
        rounded.append(value)
        value = node.inputs[0]
    return value, rounded
