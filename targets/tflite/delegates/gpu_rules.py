"""The table of what TFLite's GPU delegate demands of an operator.

It states what the delegate's public code demands: https://github.com/google-ai-edge/LiteRT, as of
commit f67457790. Each row's source is one of ``NewOperationParser``, the parsers' ``IsSupported``
and ``GetOpsToReplace`` in tflite/delegates/gpu/common/model_builder.cc, and
``CheckGpuDelegateCompatibility`` in tflite/tools/versioning/gpu_compatibility.cc. Level 1 is the
delegate with quantized models allowed, as is the default; level 0 is the delegate without.

It computes quantized operators in float: int8 and uint8 data keep their range, not their kernels.
"""

from __future__ import annotations

from typing import Final

from ai_edge_litert import schema_py_generated as schema

from .gpu_checks import (
    FLOATS,
    at_least,
    block_over_1,
    broadcast,
    cast,
    cast_between,
    corners,
    counts,
    data_count,
    depthwise,
    input_is_data,
    kept_rank,
    lstm,
    not_int16,
    one_hot,
    pad_shape,
    positive,
    ranks,
    read_by_select,
    same_dtype,
    select_shapes,
    tensors,
    weights,
)
from .rules import (
    NEVER,
    QUANTIZED,
    Check,
    Rule,
    constant,
    dtype,
    field,
    inputs,
    rank,
    refuse,
    statement,
    version,
)

_UNARY: Final = "ABS COS ELU EXP FLOOR GELU LOG LOGISTIC NEG RSQRT SIGN SIN SQRT SQUARE TANH"
_BINARY: Final = "DIV FLOOR_DIV FLOOR_MOD LOGICAL_AND MAXIMUM MINIMUM POW SQUARED_DIFFERENCE SUB"
_COMPARISONS: Final = "EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL NOT_EQUAL"
_RELUS: Final = "RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 LEAKY_RELU"
_REDUCTIONS: Final = "REDUCE_MAX REDUCE_MIN REDUCE_PROD SUM MEAN"
_POOLS: Final = "AVERAGE_POOL_2D MAX_POOL_2D"
_PADS: Final = "PAD PADV2 MIRROR_PAD"
_CONVOLUTIONS: Final = "CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV"
_MOVES: Final = (
    "RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPACE_TO_DEPTH DEPTH_TO_SPACE TILE TRANSPOSE"
)
_SELECTS: Final = "SELECT SELECT_V2"
_QUANTIZING: Final = "QUANTIZE DEQUANTIZE"
_OTHERS: Final = (
    "ADD ADD_N MUL BATCH_MATMUL CAST CONCATENATION CUMSUM DENSIFY FULLY_CONNECTED GATHER "
    "HARD_SWISH LSTM ONE_HOT PACK PRELU SLICE SOFTMAX SPLIT SPLIT_V STRIDED_SLICE UNPACK"
)
_ALL: Final = " ".join(
    (
        _UNARY, _BINARY, _COMPARISONS, _RELUS, _REDUCTIONS, _POOLS, _PADS, _CONVOLUTIONS, _MOVES,
        _SELECTS, _QUANTIZING, _OTHERS,
    )
)  # fmt: skip

_PARSERS: Final = "NewOperationParser"
_VERSION: Final = "IsSupported of its parser, CheckMaxSupportedOpVersion"
_PARSER: Final = "IsSupported of its parser"
_COMPATIBLE: Final = "CheckGpuDelegateCompatibility"
_TENSORS: Final = "GetOpsToReplace, IsAllAllowedTensors"


def _rows(
    operators: str, *checks: Check, source: str = _COMPATIBLE, since: int = 0, until: int = NEVER
) -> list[Rule]:
    """Return a row for each check of some operators, separated by spaces."""
    return [Rule(tuple(operators.split()), check, source, since, until) for check in checks]


def _without(operators: str, *left_out: str) -> str:
    names = {name for text in left_out for name in text.split()}
    return " ".join(name for name in operators.split() if name not in names)


def _allowed(
    operators: str, extra_in: tuple[str, ...] = (), extra_out: tuple[str, ...] = ()
) -> list[Rule]:
    """Return the rows on dtypes: without quantized models, and with them."""
    return [
        rule
        for level, more in enumerate(((), QUANTIZED))
        for rule in _rows(
            operators,
            tensors((*FLOATS, *more, *extra_in), (*FLOATS, *more, *extra_out)),
            source=_TENSORS,
            since=level,
            until=level + 1,
        )
    ]


_ACTIVATIONS: Final = tuple(
    getattr(schema.ActivationFunctionType, name)
    for name in ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH")
)
_ACTIVATED: Final = field("fusedActivationFunction", *_ACTIVATIONS)
_STRIDES: Final = positive("strideH", "strideW")
_OVER_1: Final = statement("its block is not larger than 1", block_over_1)

#: The rows, by what they ask for.
RULES: Final[tuple[Rule, ...]] = (
    *_rows(
        _QUANTIZING, refuse("{} needs quantized models to be allowed"), source=_PARSERS, until=1
    ),
    # The versions that its parsers read; a row is left out where there is no limit.
    *_rows("CUMSUM DENSIFY GATHER ONE_HOT PRELU RESHAPE", version(1), source=_VERSION),
    *_rows(_SELECTS, version(1), source=_VERSION),
    *_rows(f"{_UNARY} {_BINARY} ADD ADD_N", version(2), source=_VERSION),
    *_rows(f"{_COMPARISONS} {_RELUS} {_PADS} {_POOLS}", version(2), source=_VERSION),
    *_rows("CONCATENATION QUANTIZE SLICE SOFTMAX SPACE_TO_DEPTH", version(2), source=_VERSION),
    *_rows("MUL DEQUANTIZE TRANSPOSE_CONV", version(3), source=_VERSION),
    *_rows("RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR", version(3), source=_VERSION),
    *_rows("LSTM STRIDED_SLICE TRANSPOSE", version(4), source=_VERSION),
    *_rows("CONV_2D DEPTHWISE_CONV_2D", version(6), source=_VERSION),
    *_rows("FULLY_CONNECTED", version(9), source=_VERSION),
    # Inputs: data, constants, results.
    *_rows(f"{_UNARY} HARD_SWISH", counts((1, 0))),
    *_rows(f"{_BINARY} GATHER", counts((2, 0), (1, 1))),
    *_rows(_REDUCTIONS, counts((1, 1)), constant(1, "int32")),
    *_rows(f"{_POOLS} {_PADS} {_MOVES} CAST QUANTIZE", counts((1, -1))),
    *_rows("DENSIFY", counts((0, -1))),
    *_rows(_CONVOLUTIONS, weights),
    *_rows("ADD_N BATCH_MATMUL", inputs(2)),
    *_rows("SLICE", at_least(3)),
    *_rows("STRIDED_SLICE", at_least(4)),
    *_rows("FULLY_CONNECTED", data_count(2)),
    *_rows("FULLY_CONNECTED", statement("its input is a constant", input_is_data)),
    # Shapes and options.
    *_rows("ADD MUL", broadcast),
    *_rows("DEPTHWISE_CONV_2D", depthwise),
    *_rows(_CONVOLUTIONS, _STRIDES),
    *_rows("CONV_2D DEPTHWISE_CONV_2D", positive("dilationHFactor", "dilationWFactor")),
    *_rows(_POOLS, _STRIDES, positive("filterHeight", "filterWidth")),
    *_rows(f"{_POOLS} CONV_2D DEPTHWISE_CONV_2D DIV MUL SUB", _ACTIVATED),
    *_rows("FULLY_CONNECTED", field("weightsFormat", 0), kept_rank),
    *_rows("SOFTMAX", field("beta", 1, default=1)),
    *_rows("SPACE_TO_DEPTH DEPTH_TO_SPACE", _OVER_1),
    *_rows("SLICE STRIDED_SLICE", rank(0, 3, 4)),
    *_rows(
        "STRIDED_SLICE",
        field("ellipsisMask", 0),
        field("newAxisMask", 0),
        field("shrinkAxisMask", 0),
    ),
    *_rows("RESIZE_BILINEAR", statement("alignCorners and halfPixelCenters are both set", corners)),
    *_rows("MIRROR_PAD", field("mode", schema.MirrorPadMode.REFLECT)),
    *_rows(_PADS, pad_shape),
    *_rows("GATHER", rank(1, 1, 1), dtype(1, "int32")),
    *_rows("CUMSUM", dtype(0, *FLOATS), same_dtype, constant(1, "int32")),
    *_rows("DEQUANTIZE", not_int16),
    *_rows("ONE_HOT", dtype(0, "int32"), one_hot),
    *_rows(_SELECTS, dtype(0, "bool", *FLOATS), select_shapes),
    *_rows("LSTM", lstm),
    *_rows("CAST", cast),
    *_rows("CAST", cast_between, source=_PARSER),
    *_rows(_COMPARISONS, read_by_select, source=_PARSER),
    # Data: constants may have other dtypes, they are converted. What CAST takes stands above.
    *_rows(_ALL, ranks, source=_TENSORS),
    *_allowed(_without(_ALL, _COMPARISONS, _SELECTS, "CAST ONE_HOT LOGICAL_AND GATHER")),
    *_allowed(_COMPARISONS, (), ("bool",)),
    *_allowed("ONE_HOT GATHER", ("int32",)),
    *_allowed(_SELECTS, ("bool",)),
    *_allowed("LOGICAL_AND", ("bool",), ("bool",)),
)
