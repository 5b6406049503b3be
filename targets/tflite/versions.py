"""The version of an operator: the least that a runtime must know to compute it.

Source: the rules of TensorFlow's ``tools/versioning/op_version.cc``. An old runtime refuses a
version that it does not know, instead of computing something else; delegates look at it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol


class Spec(Protocol):
    """What the rules look at."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def quantization(self) -> Any: ...


Reads = Sequence[Spec | None]
Makes = Sequence[Spec]
Fields = Mapping[str, Any]
Rule = Callable[[Reads, Makes, Fields], bool]


def version_of(operator: str, reads: Reads, makes: Makes, fields: Fields) -> int:
    """Return the version of a builtin operator on these tensors with these options."""
    for version, rule in _RULES.get(operator, ()):
        if rule(reads, makes, fields):
            return version
    return _BASE.get(operator, 1)


def _dtype(tensors: Reads, index: int) -> str:
    tensor = tensors[index] if index < len(tensors) else None
    return tensor.dtype if tensor is not None else ""


def _of(*dtypes: str, index: int = 0) -> Rule:
    """One input has one of these dtypes."""
    return lambda reads, makes, fields: _dtype(reads, index) in dtypes


def _int8(reads: Reads, makes: Makes, fields: Fields) -> bool:
    """Input, weight and output are int8."""
    return {_dtype(reads, 0), _dtype(reads, 1), _dtype(makes, 0)} == {"int8"}


def _hybrid(reads: Reads, makes: Makes, fields: Fields) -> bool:
    """Weights are int8, the data is float."""
    return (_dtype(reads, 0), _dtype(reads, 1)) == ("float32", "int8")


def _hybrid_by_channel(reads: Reads, makes: Makes, fields: Fields) -> bool:
    weight = reads[1]
    if weight is None or weight.quantization is None:
        return False
    return _hybrid(reads, makes, fields) and len(weight.quantization.scale) > 1


def _grouped(reads: Reads, makes: Makes, fields: Fields) -> bool:
    data, weight = reads[0], reads[1]
    return data is not None and weight is not None and data.shape[-1] != weight.shape[-1]


def _dilated(reads: Reads, makes: Makes, fields: Fields) -> bool:
    return any(fields.get(f"dilation{axis}Factor", 1) != 1 for axis in "HW")


def _rank_over(limit: int) -> Rule:
    return lambda reads, makes, fields: reads[0] is not None and len(reads[0].shape) > limit


def _broadcasts_over_4(reads: Reads, makes: Makes, fields: Fields) -> bool:
    shapes = [item.shape for item in reads[:2] if item is not None]
    return len(set(shapes)) > 1 and max(map(len, shapes)) > 4


def _has(field: str) -> Rule:
    return lambda reads, makes, fields: bool(fields.get(field))


def _no_bias(reads: Reads, makes: Makes, fields: Fields) -> bool:
    return len(reads) == 2


def _by_channel(reads: Reads, makes: Makes, fields: Fields) -> bool:
    scales = [item.quantization.scale for item in (*reads, *makes) if item and item.quantization]
    return any(len(scale) > 1 for scale in scales)


def _rescales_up(reads: Reads, makes: Makes, fields: Fields) -> bool:
    """The product of two int8 numbers is multiplied by a factor of 1 or more."""
    found = [item.quantization if item is not None else None for item in (*reads[:2], *makes)]
    if None in found:
        return False
    first, second, result = (float(item.scale[0]) for item in found if item is not None)
    return first * second / result >= 1


def _casts(*dtypes: str) -> Rule:
    return lambda reads, makes, fields: bool({_dtype(reads, 0), _dtype(makes, 0)} & set(dtypes))


_Rules = tuple[tuple[int, Rule], ...]

_PLAIN: Final[_Rules] = ((3, _of("int16")), (2, _of("int8")))
_PAD: Final[_Rules] = ((5, _of("bool")), (4, _rank_over(4)), (3, _of("int16")), (2, _of("int8")))
_EXTREME: Final[_Rules] = ((4, _of("int16")), (3, _broadcasts_over_4), (2, _of("int8")))

#: The first rule that holds gives the version.
_RULES: Final[Mapping[str, _Rules]] = {
    **dict.fromkeys(
        (
            "AVERAGE_POOL_2D", "GREATER_EQUAL", "LESS", "LOGISTIC", "MAX_POOL_2D", "MEAN",
            "MIRROR_PAD", "REDUCE_MAX", "REDUCE_MIN", "RELU6", "RSQRT", "SOFTMAX", "TANH",
        ),
        _PLAIN,
    ),
    **dict.fromkeys(
        (
            "ARG_MAX", "ARG_MIN", "DEPTH_TO_SPACE", "EXP", "GREATER", "LESS_EQUAL", "LOG",
            "LOG_SOFTMAX", "REDUCE_PROD", "SPACE_TO_DEPTH", "SPLIT_V", "SQRT",
            "SQUARED_DIFFERENCE", "SUM",
        ),
        ((3, _of("bool")), (2, _of("int8"))),
    ),
    "ABS": ((5, _of("int32")), (2, _of("int8", "uint8"))),
    "ADD": ((4, _of("int64")), (3, _of("int16")), (2, _of("int8"))),
    "BATCH_MATMUL": ((3, _of("int16")), (2, _of("int8"))),
    "BROADCAST_TO": ((3, _of("int8", "int16")),),
    "CAST": (
        (5, _casts("float64", "float16")), (4, _casts("uint16")), (3, _casts("int8")),
        (2, _casts("uint32")),
    ),
    "CONCATENATION": ((4, _of("uint32")), (3, _of("int16")), (2, _of("int8"))),
    "CONV_2D": ((6, _grouped), (3, _int8), (5, _hybrid_by_channel), (2, _hybrid)),
    "DEPTHWISE_CONV_2D": ((6, _hybrid_by_channel), (4, _hybrid), (3, _int8), (2, _dilated)),
    "DEQUANTIZE": ((3, _of("int16", "float16")), (5, _by_channel), (2, _of("int8"))),
    "DIV": ((2, _broadcasts_over_4),),
    "EQUAL": ((5, _of("int16")), (2, _of("int8"))),
    "FILL": (
        (4, _of("float16", index=1)), (3, _of("int8", "int16", index=1)), (2, _of("bool", index=1)),
    ),
    "FLOOR_DIV": ((3, _of("int8", "int16")), (2, _of("float32"))),
    "FLOOR_MOD": ((2, _of("int8", "int16")),),
    "FULLY_CONNECTED": (
        (12, _hybrid_by_channel), (6, _no_bias), (5, _has("keepNumDims")), (4, _int8),
        (9, _has("asymmetricQuantizeInputs")), (3, _hybrid),
    ),
    "GATHER": ((5, _has("batchDims")), (4, _of("int16")), (3, _of("bool")), (2, _of("int8"))),
    "GATHER_ND": ((5, _of("bool")), (3, _of("int16"))),
    "GELU": ((2, _of("int8", "uint8")),),
    "LEAKY_RELU": ((2, _of("int16")),),
    "MAXIMUM": _EXTREME,
    "MINIMUM": _EXTREME,
    "MUL": (
        (7, _of("uint32")), (5, _of("int64")), (4, _of("int16")), (3, _rescales_up),
        (2, _of("int8")),
    ),
    "NOT_EQUAL": ((4, _of("int16")), (2, _of("int8"))),
    "PACK": ((4, _of("uint32")), (3, _of("int16")), (2, _of("int8"))),
    "PAD": _PAD,
    "PADV2": _PAD,
    "QUANTIZE": ((3, _by_channel),),
    "RANGE": ((2, _of("int64")),),
    "RELU": ((3, _of("int16")), (2, _of("int8", "uint8"))),
    "RESIZE_BILINEAR": ((4, _of("int16")), (3, _has("halfPixelCenters")), (2, _of("int8"))),
    "RESIZE_NEAREST_NEIGHBOR": (
        (4, _of("int16")), (3, _has("halfPixelCenters")), (3, _has("alignCorners")),
        (2, _of("int8")),
    ),
    "REVERSE_V2": ((3, _of("int8")), (2, _of("bool"))),
    "SELECT_V2": ((2, _of("uint32")),),
    "SIGN": ((2, _of("int32")),),
    "SLICE": ((6, _of("uint32")), (5, _rank_over(4)), (4, _of("int16")), (2, _of("int8"))),
    "SPLIT": ((4, _of("int16", index=1)), (3, _of("int32", index=1)), (2, _of("int8", index=1))),
    "STRIDED_SLICE": (
        (7, _of("uint32")), (4, _rank_over(4)), (3, _of("bool")), (2, _of("int8")),
    ),
    "SUB": (
        (5, _of("int16")), (4, _of("int64")), (3, _broadcasts_over_4), (2, _of("int8")),
    ),
    "TILE": ((3, _of("int8")),),
    "TOPK_V2": ((3, _of("int16")), (2, _of("int8"))),
    "TRANSPOSE": (
        (8, _rank_over(6)), (6, _rank_over(5)), (5, _of("int16")), (4, _rank_over(4)),
        (3, _of("bool")), (2, _of("int8")),
    ),
    "TRANSPOSE_CONV": (
        (4, _has("fusedActivationFunction")), (3, lambda reads, makes, fields: len(reads) == 4),
        (2, _of("int8", index=1)),
    ),
    "UNPACK": ((2, _of("int8", "uint8")), (3, _of("bool")), (4, _of("int16")), (5, _of("float16"))),
}  # fmt: skip

#: The version where no rule holds, if it is not 1.
_BASE: Final[Mapping[str, int]] = {"BROADCAST_TO": 2}
