"""Which parts of a model can be in a 16-bit floating-point format: operators, inputs, constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from .layout import nhwc
from .parameters import schema_of

#: The formats, as options spell them: IEEE 754's half precision, and the upper half of a float32.
FORMATS: Final = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}

#: What nodes and constants that the conversion makes are called after.
NAMES: Final = {dtype: name for name, dtype in FORMATS.items()} | {ir.DataType.FLOAT: "float32"}

#: How much of a constant's norm may be lost, besides what is lost by rounding normal numbers.
#: bfloat16, which networks tolerate, loses up to 2^-9 by rounding; half precision 2^-12.
LOSS: Final = 2.0**-8

_ADDS: Final = "it adds up many numbers, or their squares, which overflow or stop growing"
_SCALES: Final = "its scales are float32 in the kernels of most runtimes"
_TYPED: Final = "its output's dtype does not follow its input's"

#: Operator -> why it computes in float32, whatever its inputs are. LayerNormalization,
#: GroupNormalization and RMSNormalization are not here: by their definition they do so inside.
KEPT: Final[dict[str, str]] = {
    **dict.fromkeys(("CumProd", "CumSum", "ReduceProd", "ReduceSum"), _ADDS),
    **dict.fromkeys(("LpNormalization", "LpPool", "GlobalLpPool", "LRN"), _ADDS),
    **dict.fromkeys(("InstanceNormalization", "MeanVarianceNormalization"), _ADDS),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare"), _ADDS),
    **dict.fromkeys(("ReduceLogSum", "ReduceLogSumExp"), _ADDS),
    **dict.fromkeys(("DFT", "Det", "STFT"), _ADDS),
    **dict.fromkeys(("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"), _SCALES),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), _SCALES),
    **dict.fromkeys(("BitCast", "EyeLike"), _TYPED),
    "RoiAlign": "ONNX Runtime has no kernel for it in half precision",
}

#: Operator -> inputs that bound or fill: a constant beyond the format's range is put at its end.
_BOUNDS: Final[dict[str, tuple[int, ...]]] = {
    "Clip": (1, 2),
    "Max": (0, 1),
    "Min": (0, 1),
    "Pad": (2,),
    "Where": (1, 2),
}


@dataclasses.dataclass(frozen=True)
class Positions:
    """The inputs and outputs of a node that are float32 and may be in the shorter format."""

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


def standard(node: ir.Node) -> str:
    """Return the name of the standard operator that a node is, in whichever layout."""
    return nhwc.operators()[node.op_type].standard if nhwc.is_channels_last(node) else node.op_type


def is_known(node: ir.Node) -> bool:
    """Whether the node is of the default domain, or one of our own operators."""
    return node.domain == "" or nhwc.is_channels_last(node)


def positions(node: ir.Node, dtype: ir.DataType) -> Positions:
    """Return what of a node may be converted, as ONNX defines the operator.

    An output follows the inputs that have the same type variable; an input with no type variable
    (the scales of Resize), or one that does not allow the format, stays float32.
    """
    schema = schema_of(standard(node)) if is_known(node) else None
    if schema is None:
        return Positions()
    wanted = f"tensor({NAMES[dtype]})"
    allowed = {
        constraint.type_param_str
        for constraint in schema.type_constraints
        if wanted in constraint.allowed_type_strs
    }
    inputs = [
        (index, variable)
        for index, value, variable in _variables(node.inputs, schema.inputs)
        if value.dtype == ir.DataType.FLOAT and variable in allowed
    ]
    followed = {variable for _, variable in inputs}
    return Positions(
        tuple(index for index, _ in inputs),
        tuple(
            index
            for index, value, variable in _variables(node.outputs, schema.outputs)
            if value.dtype == ir.DataType.FLOAT and variable in followed
        ),
    )


def _variables(
    values: Sequence[ir.Value | None],
    formal: Sequence[onnx.defs.OpSchema.FormalParameter],
) -> Iterator[tuple[int, ir.Value, str]]:
    """Yield each input or output that is there, with its index and its type variable."""
    for index, value in enumerate(values):
        if value is not None and value.name:
            yield index, value, formal[min(index, len(formal) - 1)].type_str


def bounds(node: ir.Node, index: int) -> bool:
    """Whether a constant input only bounds or fills, so that it may be put at the range's end."""
    return node.domain == "" and index in _BOUNDS.get(node.op_type, ())


def rounded(array: np.ndarray, dtype: ir.DataType) -> np.ndarray:
    """Return float32 numbers in a 16-bit format; finite ones stay finite."""
    largest = float(ml_dtypes.finfo(dtype.numpy()).max)
    kept = np.where(np.isfinite(array), np.clip(array, -largest, largest), array)
    return np.asarray(kept.astype(dtype.numpy()))


def range_of(dtype: ir.DataType) -> tuple[float, float]:
    """Return the least positive normal number and the largest number of a 16-bit format."""
    info = ml_dtypes.finfo(dtype.numpy())
    return float(info.smallest_normal), float(info.max)


def objection(array: np.ndarray, dtype: ir.DataType) -> str | None:
    """Return why a float32 constant cannot be in a 16-bit format; None if it can.

    It cannot if a finite number is beyond the largest, or if numbers that become zero or subnormal
    take away more than `LOSS` of its norm. The norm counts, not how many they are: tiny weights
    beside large ones do not matter.
    """
    least, largest = range_of(dtype)
    sizes = np.abs(array[np.isfinite(array)].astype(np.float64))
    peak = float(sizes.max(initial=0.0))
    if peak > largest:
        return f"{peak:.4g} is beyond {largest:.6g}"
    tiny = sizes[(sizes > 0) & (sizes < least)]
    lost = np.linalg.norm(tiny - rounded(tiny.astype(np.float32), dtype).astype(np.float64))
    if lost > LOSS * np.linalg.norm(sizes):
        share = float(lost / np.linalg.norm(sizes))
        return f"{share:.2%} of its norm is lost: {tiny.size} of {sizes.size} are below {least:.3g}"
    return None
