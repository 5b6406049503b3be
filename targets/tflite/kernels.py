"""What the runtime's kernels compute: dtypes and ranks, by builtin operator.

LiteRT checks some of this when it allocates tensors, some when it runs, and some not at all: plain
int8 without scales ends the process in ADD and gives wrong numbers in MUL. The table is what was
found right with LiteRT 2.3, by its own kernels and by XNNPACK, less what runtimes of Android 11
(TensorFlow 2.3) lack. A dtype ``q8`` is int8 with scale and zero point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from .flatbuffer import Quantization, Tensor, Writer

_REAL: Final = ("float32",)
_SIGNED: Final = ("float32", "int32", "int64")
_ALL: Final = ("float32", "int32", "int64", "int8", "uint8", "int16", "bool", "q8")
_ORDERED: Final = ("float32", "int32", "int64", "int8", "uint8", "int16", "q8")

#: Builtin operator -> the dtypes of its data.
DTYPES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        (
            "CEIL", "COS", "EXP", "FLOOR", "LOG", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE",
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
        ),
        _REAL,
    ),
    **dict.fromkeys(
        (
            "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "ELU",
            "FULLY_CONNECTED", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "LOG_SOFTMAX",
            "MAX_POOL_2D", "PRELU", "RELU", "RELU6", "RELU_N1_TO_1", "RESIZE_BILINEAR", "SOFTMAX",
            "TANH", "TRANSPOSE_CONV",
        ),
        (*_REAL, "q8"),
    ),
    "ABS": ("float32", "int32"),
    "ADD": (*_SIGNED, "q8"),
    "ARG_MAX": ("float32", "int32", "int8", "uint8", "bool", "q8"),
    "ARG_MIN": ("float32", "int32", "int8", "uint8", "bool", "q8"),
    "CAST": ("float32", "float16", "int32", "int64", "bool", "int8", "uint8", "int16"),
    "CUMSUM": _SIGNED,
    "DEQUANTIZE": ("q8", "float16"),
    "DIV": ("float32", "int32"),
    "FLOOR_DIV": ("float32", "int32"),
    "FLOOR_MOD": _SIGNED,
    "LOGICAL_AND": ("bool",),
    "LOGICAL_NOT": ("bool",),
    "LOGICAL_OR": ("bool",),
    "MEAN": (*_SIGNED, "q8"),
    "MUL": (*_SIGNED, "q8"),
    "NEG": _SIGNED,
    "POW": ("float32", "int32"),
    "QUANTIZE": ("float32", "q8"),
    "REDUCE_ALL": ("bool",),
    "REDUCE_ANY": ("bool",),
    "REDUCE_PROD": _SIGNED,
    "SIGN": ("float32", "int32"),
    "SUB": (*_SIGNED, "q8"),
    "SUM": (*_SIGNED, "q8"),
    **dict.fromkeys(("GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"), _SIGNED),
    **dict.fromkeys(("EQUAL", "NOT_EQUAL"), (*_SIGNED, "bool")),
    **dict.fromkeys(("MAXIMUM", "MINIMUM", "REDUCE_MAX", "REDUCE_MIN", "TOPK_V2"), _ORDERED),
}  # fmt: skip

#: Builtin operator -> the highest rank of its data, where that is less than `MAX_RANK`.
RANKS: Final[Mapping[str, int]] = {"BATCH_MATMUL": 5, "PAD": 5, "PADV2": 5}

#: Operators whose int8 kernels copy, pick or average integers as they are, so that the output has
#: scale and zero point of the data. Source of both tables: the LiteRT 8-bit quantization
#: specification, and the `Prepare` of the kernels.
SAME: Final = frozenset(
    {
        "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "DEPTH_TO_SPACE", "GATHER",
        "GATHER_ND", "MAXIMUM", "MAX_POOL_2D", "MINIMUM", "MIRROR_PAD", "PAD", "PADV2",
        "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
        "REVERSE_V2", "SELECT_V2", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "STRIDED_SLICE",
        "TILE", "TRANSPOSE",
    }
)  # fmt: skip

#: Operators whose int8 kernels give one scale and zero point, whatever they read.
FIXED: Final[Mapping[str, tuple[float, int]]] = {
    "LOGISTIC": (1 / 256, -128),
    "LOG_SOFTMAX": (16 / 256, 127),
    "SOFTMAX": (1 / 256, -128),
    "TANH": (1 / 128, 0),
}


def meaning_of(name: str, inputs: Sequence[Tensor]) -> Quantization | None:
    """Return the parameters that an int8 kernel gives its output; None: those asked for."""
    if name in FIXED:
        scale, zero = FIXED[name]
        return Quantization(np.array([scale], np.float32), np.array([zero], np.int64))
    return inputs[_DATA.get(name, 0)].quantization if name in SAME else None


def refusals(writer: Writer, first: int) -> list[str]:
    """Return what the kernels of the operators from number `first` on do not compute."""
    found = []
    for name, inputs, _ in writer.calls[first:]:
        read = [writer.tensors[index] if index >= 0 else None for index in inputs]
        found += _refused(name, read)
    return list(dict.fromkeys(found))


def _refused(name: str, read: Sequence[Tensor | None]) -> list[str]:
    data = read[_DATA.get(name, 0)]
    if data is None:
        return []
    found = []
    dtype = "q8" if data.dtype == "int8" and data.quantization is not None else data.dtype
    known = DTYPES.get(name, _ALL)
    if dtype not in known:
        found.append(f"the kernel of {name} takes no {data.dtype} but {', '.join(known)}")
    limit = RANKS.get(name, MAX_RANK)
    if len(data.shape) > limit:
        found.append(f"the kernel of {name} takes {limit} dimensions, not {len(data.shape)}")
    return found


#: Operators whose data is not their first input.
_DATA: Final = {"FILL": 1, "SELECT_V2": 1, "SPLIT": 1, "TRANSPOSE_CONV": 2}

#: The highest rank where the operator has no limit of its own: that of XNNPACK.
MAX_RANK: Final = 6
