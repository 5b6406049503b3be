"""The table of what TFLite's NNAPI delegate demands of an operator.

It states what ``NNAPIDelegateKernel::Validate`` of the delegate's public code demands:
https://github.com/google-ai-edge/LiteRT, tflite/delegates/nnapi/nnapi_delegate.cc, as of commit
f67457790. Each row's source is its case of that function. Levels are NNAPI feature levels (see
`nnapi.LEVELS`): 1 is API 27, 5 is API 31. The delegate's options are the defaults: from level 3 on
it asks for an accelerator, before that it cannot.

Signed int8: before level 4 NNAPI has unsigned integers only. The delegate still takes int8 there
and converts the numbers; convolutions and fully connected layers only from level 3 on.
"""

from __future__ import annotations

from typing import Final

from ai_edge_litert import schema_py_generated as schema

from .nnapi_checks import (
    axis32,
    basic,
    dense,
    fits_int32,
    full,
    grouped,
    has_shape,
    hybrid,
    is_integer,
    is_other_data,
    large_window,
    lstm_parameters,
    lstm_state,
    names_axes,
    new_shape,
    no_broadcast,
    no_crops,
    no_shape,
    not_24,
    not_empty,
    not_int16,
    pack_axis,
    per_channel,
    quantize_input,
    quantize_output,
    rank_2_or_4,
    restricted_scale,
    same_dtype,
    same_parameters,
    scalars_constant,
    select_shape,
    sparse,
    split_sizes,
    square,
    symmetric,
    unpack_axis,
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
    out_dtype,
    out_rank,
    rank,
    refuse,
    statement,
    version,
    when,
)

_FLOAT: Final = ("float32",)
_FLOAT8: Final = ("float32", *QUANTIZED)
_FLOAT8_INT32: Final = (*_FLOAT8, "int32")
_ACTIVATION: Final = "fusedActivationFunction"


def _rows(
    operators: str, *checks: Check, since: int = 0, until: int = NEVER, also: str = ""
) -> list[Rule]:
    """Return a row for each check of some operators, separated by spaces.

    Args:
        also: what the case calls to decide.
    """
    names = tuple(operators.split())
    cases = ["kTfLiteBuiltin" + "".join(map(str.capitalize, name.split("_"))) for name in names]
    source = f"Validate, {', '.join(cases)}" + (f", {also}" if also else "")
    return [Rule(names, check, source, since, until) for check in checks]


def _from(level: int, operators: str) -> list[Rule]:
    """Return the row of operators that the delegate has from a level on."""
    return _rows(operators, refuse("there is no {}"), until=level)


_UNACTIVATED: Final = field(_ACTIVATION, 0)
_BINARY_RANK: Final = (rank(0, 0, 4), rank(1, 0, 4))
_WINDOW_FLOAT8: Final = dtype(0, "float32", "uint8")
_UNDILATED: Final = (field("dilationWFactor", 1, default=1), field("dilationHFactor", 1, default=1))
_CENTERS: Final = (field("alignCorners", False), field("halfPixelCenters", False))
_INT32_TYPE: Final = schema.TensorType.INT32
_CAST: Final = ("float32", "int32", "uint8")
_COMPARISONS: Final = "LESS LESS_EQUAL GREATER GREATER_EQUAL EQUAL NOT_EQUAL"


#: The rows, in the order of Validate's cases.
RULES: Final[tuple[Rule, ...]] = (
    *_rows("ADD", version(2), *_BINARY_RANK),
    *_rows("MUL", version(2), until=3),
    *_rows("MUL", version(3), since=3),
    *_rows("MUL", *_BINARY_RANK),
    *_rows("ADD MUL", dtype(0, *_FLOAT8), until=4),
    *_rows("ADD MUL", dtype(0, *_FLOAT8_INT32), when(is_integer, _UNACTIVATED), since=4),
    *_from(3, "ARG_MAX ARG_MIN"),
    *_rows(
        "ARG_MAX ARG_MIN",
        version(2),
        dtype(0, "float16", *_FLOAT8_INT32),
        axis32,
        field("outputType", _INT32_TYPE),
        since=3,
    ),
    *_rows("AVERAGE_POOL_2D MAX_POOL_2D", version(2), dtype(0, *_FLOAT8)),
    *_rows("AVERAGE_POOL_2D", large_window, until=3),
    *_rows("L2_POOL_2D", version(1), dtype(0, *_FLOAT)),
    *_rows("L2_POOL_2D", _UNACTIVATED, until=3),
    *_rows("CONV_2D", version(5), inputs(3)),
    *_rows("CONV_2D", per_channel, grouped, *_UNDILATED, until=3),
    *_rows("DEPTHWISE_CONV_2D", version(3)),
    *_rows("DEPTHWISE_CONV_2D", *_UNDILATED, until=3),
    *_rows("FULLY_CONNECTED", version(5), statement("its output is int16", not_int16)),
    *_rows("FULLY_CONNECTED", field("keepNumDims", False, default=False), until=4),
    *_rows("CONV_2D FULLY_CONNECTED", hybrid(0, 1), until=3),
    *_rows("CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED", _WINDOW_FLOAT8, until=3),
    *_rows(
        "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED",
        restricted_scale,
        until=3,
        also="ExpectIsRestrictedScalesCompliant",
    ),
    *_rows("HARD_SWISH", dtype(0, *_FLOAT8)),
    *_rows("SOFTMAX", version(2), dtype(0, *_FLOAT8), out_dtype(*_FLOAT8), rank(0, 0, 4)),
    *_rows("SOFTMAX", statement("its rank is neither 2 nor 4", rank_2_or_4), until=3),
    *_rows("RESHAPE", version(1), rank(0, 0, 4), out_rank(0, 4)),
    *_rows("RESHAPE", when(has_shape, constant(1)), when(no_shape, new_shape)),
    *_rows("RESHAPE", dtype(0, *_FLOAT8), until=6),
    *_rows("RESHAPE", dtype(0, *_FLOAT8_INT32), since=6),
    *_rows("RESIZE_BILINEAR", version(3), rank(0, 4, 4), dtype(0, *_FLOAT8), constant(1)),
    *_rows("RESIZE_BILINEAR", square, dtype(0, *_FLOAT), until=3),
    *_from(3, "RESIZE_NEAREST_NEIGHBOR"),
    *_rows("RESIZE_NEAREST_NEIGHBOR", version(3), dtype(0, *_FLOAT8), constant(1), since=3),
    *_rows("RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR", *_CENTERS, until=4),
    *_from(2, "SQUEEZE"),
    *_rows("SQUEEZE", version(1), since=2),
    *_rows("SQUEEZE", statement("it names no axes", names_axes), since=2, until=3),
    *_from(3, "UNIDIRECTIONAL_SEQUENCE_LSTM"),
    *_rows("UNIDIRECTIONAL_SEQUENCE_LSTM", version(2), hybrid(0, 2), inputs(20, 24), since=3),
    *_rows("L2_NORMALIZATION", version(2), _UNACTIVATED),
    *_rows("L2_NORMALIZATION", dtype(0, *_FLOAT), rank(0, 4, 4), until=3),
    *_rows("LOCAL_RESPONSE_NORMALIZATION", version(1)),
    *_rows("LSH_PROJECTION", version(1), when(sparse, inputs(2))),
    *_rows("LSH_PROJECTION", statement("its projection is sparse", dense), until=3),
    *_rows("CONCATENATION", version(2), _UNACTIVATED, rank(0, 0, 4), dtype(0, "float16", *_FLOAT8)),
    *_rows("CONCATENATION", same_parameters, until=3),
    *_rows("DEQUANTIZE", version(2), dtype(0, "uint8"), until=3),
    *_rows("DEQUANTIZE", version(2), dtype(0, *QUANTIZED), symmetric, since=3, until=4),
    *_rows("DEQUANTIZE", when(is_other_data, version(2)), since=4),
    *_rows("DEQUANTIZE", when(is_other_data, dtype(0, *QUANTIZED)), since=4),
    *_from(4, "DENSIFY"),
    *_rows("DENSIFY", constant(0), since=4),
    *_rows("FLOOR", version(1)),
    *_rows("RELU RELU_N1_TO_1 RELU6 LOGISTIC", version(2), dtype(0, *_FLOAT8)),
    *_rows("TANH", version(2)),
    *_rows("TANH", dtype(0, *_FLOAT), until=3),
    *_rows("TANH", dtype(0, *_FLOAT8), since=3),
    *_from(2, "SUB"),
    *_rows("SUB", version(3), when(is_integer, _UNACTIVATED), *_BINARY_RANK, since=2),
    *_rows("SUB", dtype(0, *_FLOAT), since=2, until=3),
    *_rows("SUB", dtype(0, *_FLOAT8), since=3, until=4),
    *_rows("SUB", dtype(0, *_FLOAT8_INT32), since=4),
    *_from(2, "DIV"),
    *_rows("DIV", version(1), dtype(0, *_FLOAT), *_BINARY_RANK, since=2),
    *_from(2, "PAD PADV2"),
    *_rows("PAD PADV2", version(2), dtype(0, *_FLOAT8), not_empty, since=2),
    *_rows("PAD", dtype(0, *_FLOAT), since=2, until=3),
    *_rows("PADV2", refuse("{} has a value to pad with"), since=2, until=3),
    *_from(3, "UNIDIRECTIONAL_SEQUENCE_RNN"),
    *_rows("UNIDIRECTIONAL_SEQUENCE_RNN", version(1), hybrid(0, 1), since=3),
    *_from(2, "SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND STRIDED_SLICE TRANSPOSE"),
    *_rows("SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND STRIDED_SLICE TRANSPOSE", version(2), since=2),
    *_rows("BATCH_TO_SPACE_ND", no_crops, since=2),
    *_rows("STRIDED_SLICE", dtype(0, *_FLOAT8), since=2),
    *_rows("TRANSPOSE", constant(1), since=2),
    *_from(3, "ABS EXP LOG POW COS SIN SQRT"),
    *_rows("ABS EXP LOG POW COS SIN SQRT", version(1), dtype(0, *_FLOAT), since=3),
    *_from(3, "RSQRT"),
    *_rows("RSQRT", version(2), since=3),
    *_rows("RSQRT", dtype(0, *_FLOAT), since=3, until=7),
    *_rows("RSQRT", dtype(0, *_FLOAT8), since=7),
    *_from(3, "SLICE"),
    *_rows(
        "SLICE",
        version(2),
        dtype(0, *_FLOAT8_INT32),
        dtype(1, "int32"),
        dtype(2, "int32"),
        since=3,
    ),
    *_from(3, "TRANSPOSE_CONV"),
    *_rows("TRANSPOSE_CONV", version(4), constant(0), constant(1), since=3),
    *_rows("RNN", version(1), inputs(5), dtype(1, *_FLOAT)),
    *_rows("SPACE_TO_DEPTH", version(2), dtype(0, *_FLOAT8)),
    *_from(2, "SVDF"),
    *_rows("SVDF", version(1), inputs(5), dtype(1, *_FLOAT), since=2),
    *_from(2, "LSTM"),
    *_rows("LSTM", version(3), since=2),
    *_rows("LSTM", when(full, hybrid(0, 2)), since=2, until=3),
    *_rows("LSTM", when(basic, dtype(2, "uint8")), since=2),
    *_rows("LSTM", when(basic, lstm_parameters("input", 1 / 128, 128)), since=2),
    *_rows("LSTM", when(basic, lstm_parameters("output", 1 / 128, 128)), since=2),
    *_rows("LSTM", when(basic, lstm_state), since=2),
    *_rows("LSTM", when(basic, constant(2)), when(basic, constant(3)), since=2),
    *_rows("LSTM", statement("it has 24 inputs", not_24), since=2, until=3),
    *_rows("LSTM", when(full, dtype(4, "float32", "uint8")), since=2, until=4),
    *_rows("LSTM", when(full, dtype(4, *_FLOAT8)), since=4),
    *_from(2, "MEAN"),
    *_rows("MEAN", version(2), out_rank(1, NEVER), rank(0, 0, 4), since=2),
    *_rows("MEAN", dtype(0, *_FLOAT), since=2, until=3),
    *_rows("MEAN", dtype(0, *_FLOAT8), since=3),
    *_rows("EMBEDDING_LOOKUP", version(1), dtype(1, *_FLOAT)),
    *_rows("HASHTABLE_LOOKUP", version(1), out_dtype(*_FLOAT)),
    *_from(3, "MAXIMUM MINIMUM"),
    *_rows("MAXIMUM MINIMUM", version(3), dtype(0, *_FLOAT8_INT32), scalars_constant, since=3),
    *_from(3, "CAST"),
    *_rows("CAST", version(1), since=3),
    *_rows("CAST", dtype(0, *_CAST), out_dtype(*_CAST), since=3, until=4),
    *_rows("CAST", dtype(0, *_FLOAT8_INT32), out_dtype(*_FLOAT8_INT32), since=4),
    *_from(3, "LEAKY_RELU PRELU"),
    *_rows("LEAKY_RELU PRELU", version(1), dtype(0, *_FLOAT8), since=3),
    *_from(3, "TILE"),
    *_rows("TILE", version(1), dtype(0, *_FLOAT8_INT32), dtype(1, "int32"), since=3),
    *_from(3, "LOGICAL_OR LOGICAL_AND LOGICAL_NOT"),
    *_rows("LOGICAL_OR LOGICAL_AND LOGICAL_NOT", version(1), dtype(0, "bool"), since=3),
    *_from(3, _COMPARISONS),
    *_rows(_COMPARISONS, version(2), dtype(0, *_FLOAT8_INT32, "bool"), since=3),
    *_from(3, "NEG"),
    *_rows("NEG", version(2), dtype(0, "float32", "int32"), since=3),
    *_from(3, "TOPK_V2"),
    *_rows("TOPK_V2", version(2), dtype(0, *_FLOAT8_INT32), constant(1, "int32"), since=3),
    *_from(3, "SELECT"),
    *_rows("SELECT", version(2), dtype(1, *_FLOAT8_INT32), select_shape, since=3),
    *_from(3, "GATHER"),
    *_rows("GATHER", version(2), dtype(0, *_FLOAT8_INT32, "float16"), since=3),
    *_rows("GATHER", dtype(1, "int32"), rank(1, 1, NEVER), since=3),
    *_from(3, "BIDIRECTIONAL_SEQUENCE_LSTM"),
    *_rows("BIDIRECTIONAL_SEQUENCE_LSTM", version(1), hybrid(0, 2), since=3),
    *_from(3, "EXPAND_DIMS"),
    *_rows(
        "EXPAND_DIMS",
        version(1),
        dtype(0, *_FLOAT8_INT32, "float16"),
        constant(1, "int32"),
        since=3,
    ),
    *_from(3, "SPLIT"),
    *_rows("SPLIT", version(3), constant(0, "int32"), since=3),
    *_rows("SPLIT", dtype(1, *_CAST), since=3, until=4),
    *_rows("SPLIT", dtype(1, *_FLOAT8_INT32), since=4),
    *_from(4, "SPLIT_V"),
    *_rows("SPLIT_V", version(2), dtype(0, *_FLOAT8_INT32), since=4),
    *_rows("SPLIT_V", constant(1, "int32"), rank(1, 1, 1), constant(2, "int32"), since=4),
    *_rows("SPLIT_V", split_sizes, since=4),
    *_from(3, "LOG_SOFTMAX"),
    *_rows("LOG_SOFTMAX", version(1), dtype(0, *_FLOAT), since=3),
    *_from(3, "QUANTIZE"),
    *_rows("QUANTIZE", version(2), dtype(0, *_FLOAT8), since=3),
    *_rows("QUANTIZE", quantize_input, quantize_output, since=3),
    *_rows("QUANTIZE", out_dtype("uint8"), since=3, until=4),
    *_rows("QUANTIZE", out_dtype(*QUANTIZED), since=4),
    *_from(3, "REDUCE_ANY"),
    *_rows("REDUCE_ANY", version(2), out_rank(1, NEVER), since=3),
    *_from(3, "REDUCE_MIN REDUCE_MAX"),
    *_rows("REDUCE_MIN REDUCE_MAX", version(2), dtype(0, *_FLOAT8), rank(0, 1, NEVER), since=3),
    *_rows("DEPTH_TO_SPACE", dtype(0, *_FLOAT8)),
    *_from(3, "REDUCE_PROD SUM"),
    *_rows("REDUCE_PROD SUM", version(1), out_rank(1, NEVER), dtype(0, *_FLOAT), since=3),
    *_from(4, "ELU"),
    *_rows("ELU", version(1), dtype(0, *_FLOAT), since=4),
    *_from(4, "FILL"),
    *_rows("FILL", version(1), constant(0, "int32", "int64"), fits_int32, since=4),
    *_rows("FILL", dtype(1, "float32", "int32", "int64"), since=4),
    *_from(4, "PACK"),
    *_rows("PACK", version(2), since=4),
    *_rows("PACK", dtype(0, "float32", "int8"), pack_axis, since=4, until=6),
    *_rows("PACK", dtype(0, *_FLOAT8_INT32), since=6),
    *_from(4, "UNPACK"),
    *_rows("UNPACK", version(2), dtype(0, *_FLOAT8), rank(0, 2, 4), unpack_axis, since=4),
    *_from(2, "SQUARED_DIFFERENCE"),
    *_rows("SQUARED_DIFFERENCE", version(2), *_BINARY_RANK, since=2),
    *_rows("SQUARED_DIFFERENCE", dtype(0, *_FLOAT), since=2, until=3),
    *_rows("SQUARED_DIFFERENCE", dtype(0, "float32", "uint8"), since=3, until=4),
    *_rows("SQUARED_DIFFERENCE", dtype(0, *_FLOAT8_INT32), since=4),
    *_from(6, "BATCH_MATMUL"),
    *_rows("BATCH_MATMUL", version(2), dtype(0, "float32", "int32", "int8"), since=6),
    *_rows("BATCH_MATMUL", same_dtype, rank(0, 2, 4), no_broadcast, since=6),
    *_from(7, "MIRROR_PAD REVERSE_V2"),
    *_rows("MIRROR_PAD", version(2), not_empty, since=7),
    *_rows("REVERSE_V2", version(3), since=7),
    *_rows("MIRROR_PAD REVERSE_V2", dtype(0, *_FLOAT8_INT32), inputs(2), since=7),
)
