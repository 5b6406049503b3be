"""What NNAPI's delegate takes, by example: the facts of its public code, stated once more.

From https://github.com/google-ai-edge/LiteRT, tflite/delegates/nnapi/nnapi_delegate.cc,
NNAPIDelegateKernel::Validate, as of commit f67457790; not from our table, which is held to it.
"""

from __future__ import annotations

#: Feature levels by the names that the examples give them: API levels, then feature levels.
LEVELS = {27: 1, 28: 2, 29: 3, 30: 4, 31: 5, 6: 6, 7: 7}

DTYPES = {
    "f": "float32", "h": "float16", "n": "int32", "l": "int64", "u": "uint8", "s": "int8",
    "w": "int16", "b": "bool",
}  # fmt: skip
ALL = "".join(DTYPES)

_POOL = "{T}[1,8,8,3] -> {T}[1,4,4,3] Pool2DOptions{filterWidth=2 filterHeight=2}"
_ARG = "{T}[1,4] int32[]=1 -> int32[1] ArgMaxOptions{outputType=2}"
_UNARY = "{T}[1,4] -> {T}[1,4]"
_BINARY = "{T}[1,4] {T}[1,4] -> {T}[1,4]"
_COMPARISON = "{T}[1,4] {T}[1,4] -> bool[1,4]"
_CONV = "{T}[1,8,8,3]*0.5 {T}[4,1,1,3]*0.5=1 {T}[4]=1 -> {T}[1,8,8,4]*1"
_REDUCE = "{T}[1,8,3] int32[1]=1 -> {T}[1,3]"
_LSTM = " ".join(["float32[4]=1"] * 19)

#: (operators, what one is like where {T} is the dtype in question, the dtypes taken from a level
#: on, the highest version taken if there is one).
OPERATORS = [
    ("ADD", _BINARY, "27:fus 30:fusn", 2),
    ("MUL", _BINARY, "27:fus 30:fusn", None),
    ("ARG_MAX ARG_MIN", _ARG, "29:hfnus", 2),
    ("AVERAGE_POOL_2D MAX_POOL_2D", _POOL, "27:fus", 2),
    ("L2_POOL_2D", _POOL, "27:f", 1),
    ("CONV_2D", f"{_CONV} Conv2DOptions{{}}", f"27:fu 29:{ALL}", 5),
    ("DEPTHWISE_CONV_2D", f"{_CONV} DepthwiseConv2DOptions{{}}", f"27:fu 29:{ALL}", 3),
    ("FULLY_CONNECTED", "{T}[1,4]*0.5 {T}[2,4]*0.5=1 {T}[2]=1 -> {T}[1,2]*1",
     "27:fu 29:hfnlusb", 5),
    ("HARD_SWISH", _UNARY, "27:fus", None),
    ("SOFTMAX", "{T}[1,4] -> float32[1,4]", "27:fus", 2),
    ("SOFTMAX", "float32[1,4] -> {T}[1,4]", "27:fus", None),
    ("RESHAPE", "{T}[1,4] int32[1]=4 -> {T}[4]", "27:fus 6:fusn", 1),
    ("RESIZE_BILINEAR", "{T}[1,2,2,3] int32[2]=4 -> {T}[1,4,4,3]", "27:f 29:fus", 3),
    ("RESIZE_NEAREST_NEIGHBOR", "{T}[1,2,2,3] int32[2]=4 -> {T}[1,4,4,3]", "29:fus", 3),
    ("SQUEEZE", "{T}[1,4] -> {T}[4] SqueezeOptions{squeezeDims=0,}", f"28:{ALL}", 1),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", f"{{T}}[1,2,4] {_LSTM} -> {{T}}[1,2,4]", f"29:{ALL}", 2),
    ("BIDIRECTIONAL_SEQUENCE_LSTM", f"{{T}}[1,2,4] {_LSTM} -> {{T}}[1,2,4]", f"29:{ALL}", 1),
    ("UNIDIRECTIONAL_SEQUENCE_RNN", "{T}[1,2,4] float32[4,4]=1 -> {T}[1,2,4]", f"29:{ALL}", 1),
    ("L2_NORMALIZATION", "{T}[1,2,2,4] -> {T}[1,2,2,4]", f"27:f 29:{ALL}", 2),
    ("LOCAL_RESPONSE_NORMALIZATION", _UNARY, f"27:{ALL}", 1),
    ("LSH_PROJECTION", "{T}[2,4] {T}[4] {T}[4] -> {T}[2]", f"27:{ALL}", 1),
    ("CONCATENATION", "{T}[1,4]*1 {T}[1,4]*1 -> {T}[2,4]*1 ConcatenationOptions{}", "27:hfus", 2),
    ("DEQUANTIZE", "{T}[1,4]*0.5 -> float32[1,4]", "27:u 29:us 30:hus", None),
    ("DENSIFY", "{T}[4]=1 -> {T}[4]", f"30:{ALL}", None),
    ("FLOOR", _UNARY, f"27:{ALL}", 1),
    ("RELU RELU_N1_TO_1 RELU6 LOGISTIC", _UNARY, "27:fus", 2),
    ("TANH", _UNARY, "27:f 29:fus", 2),
    ("SUB", _BINARY, "28:f 29:fus 30:fusn", 3),
    ("DIV", _BINARY, "28:f", 1),
    ("PAD", "{T}[1,4] int32[2,2]=1 -> {T}[3,6]", "28:f 29:fus", 2),
    ("PADV2", "{T}[1,4] int32[2,2]=1 {T}[]=1 -> {T}[3,6]", "29:fus", 2),
    ("SPACE_TO_BATCH_ND", "{T}[1,4,4,1] int32[2]=2 int32[2,2]=0 -> {T}[4,2,2,1]", f"28:{ALL}", 2),
    ("BATCH_TO_SPACE_ND", "{T}[4,2,2,1] int32[2]=2 int32[2,2]=0 -> {T}[1,4,4,1]", f"28:{ALL}", 2),
    ("STRIDED_SLICE", "{T}[4] int32[1]=0 int32[1]=2 int32[1]=1 -> {T}[2]", "28:fus", 2),
    ("TRANSPOSE", "{T}[2,4] int32[2]=1,0 -> {T}[4,2]", f"28:{ALL}", 2),
    ("ABS EXP LOG COS SIN SQRT", _UNARY, "29:f", 1),
    ("POW", _BINARY, "29:f", 1),
    ("RSQRT", _UNARY, "29:f 7:fus", 2),
    ("SLICE", "{T}[4] int32[1]=0 int32[1]=2 -> {T}[2]", "29:fusn", 2),
    ("SLICE", "float32[4] {T}[1]=0 int32[1]=2 -> float32[2]", "29:n", None),
    ("SLICE", "float32[4] int32[1]=0 {T}[1]=2 -> float32[2]", "29:n", None),
    ("TRANSPOSE_CONV", "int32[4]=8 {T}[4,1,1,3]=1 {T}[1,8,8,3] -> {T}[1,8,8,4]", f"29:{ALL}", 4),
    ("RNN", "float32[1,4] {T}[4,4]=1 float32[4,4]=1 float32[4]=1 float32[1,4] -> float32[1,4]",
     "27:f", 1),
    ("SVDF", "float32[1,4] {T}[4,4]=1 float32[4,4]=1 float32[4]=1 float32[1,4] -> float32[1,4]",
     "28:f", 1),
    ("LSTM", f"float32[1,4] {_LSTM.replace('float32', '{T}')} -> float32[1,4]",
     "28:f 29:fu 30:fus", 3),
    ("SPACE_TO_DEPTH", "{T}[1,4,4,1] -> {T}[1,2,2,4]", "27:fus", 2),
    ("DEPTH_TO_SPACE", "{T}[1,2,2,4] -> {T}[1,4,4,1]", "27:fus", None),
    ("MEAN", _REDUCE, "28:f 29:fus", 2),
    ("EMBEDDING_LOOKUP", "int32[2] {T}[4,4]=1 -> float32[2,4]", "27:f", 1),
    ("HASHTABLE_LOOKUP", "int32[2] int32[4]=1 float32[4]=1 -> {T}[2]", "27:f", 1),
    ("MAXIMUM MINIMUM", _BINARY, "29:fusn", 3),
    ("CAST", "{T}[4] -> float32[4]", "29:fnu 30:fnus", 1),
    ("CAST", "float32[4] -> {T}[4]", "29:fnu 30:fnus", None),
    ("LEAKY_RELU", _UNARY, "29:fus", 1),
    ("PRELU", _BINARY, "29:fus", 1),
    ("TILE", "{T}[4] int32[1]=2 -> {T}[8]", "29:fusn", 1),
    ("TILE", "float32[4] {T}[1]=2 -> float32[8]", "29:n", None),
    ("LOGICAL_OR LOGICAL_AND", _BINARY, "29:b", 1),
    ("LOGICAL_NOT", _UNARY, "29:b", 1),
    ("LESS LESS_EQUAL GREATER GREATER_EQUAL EQUAL NOT_EQUAL", _COMPARISON, "29:fusbn", 2),
    ("NEG", _UNARY, "29:fn", 2),
    ("TOPK_V2", "{T}[4] int32[]=2 -> {T}[2] int32[2]", "29:fnus", 2),
    ("TOPK_V2", "float32[4] {T}[]=2 -> float32[2] int32[2]", "29:n", None),
    ("SELECT", "bool[4] {T}[4] {T}[4] -> {T}[4]", "29:fnus", 2),
    ("GATHER", "{T}[4] int32[2]=1 -> {T}[2]", "29:fhnus", 2),
    ("GATHER", "float32[4] {T}[2]=1 -> float32[2]", "29:n", None),
    ("EXPAND_DIMS", "{T}[4] int32[]=1 -> {T}[4,1]", "29:fhnus", 1),
    ("EXPAND_DIMS", "float32[4] {T}[]=1 -> float32[4,1]", "29:n", None),
    ("SPLIT", "int32[]=0 {T}[4] -> {T}[2] {T}[2]", "29:fun 30:fusn", 3),
    ("SPLIT", "{T}[]=0 float32[4] -> float32[2] float32[2]", "29:n", None),
    ("SPLIT_V", "{T}[4] int32[2]=2 int32[]=0 -> {T}[2] {T}[2]", "30:fusn", 2),
    ("SPLIT_V", "float32[4] {T}[2]=2 int32[]=0 -> float32[2] float32[2]", "30:n", None),
    ("SPLIT_V", "float32[4] int32[2]=2 {T}[]=0 -> float32[2] float32[2]", "30:n", None),
    ("LOG_SOFTMAX", _UNARY, "29:f", 1),
    ("QUANTIZE", "{T}[4]*0.5 -> uint8[4]*0.5", "29:fus", 2),
    ("QUANTIZE", "float32[4] -> {T}[4]*0.5", "29:u 30:us", None),
    ("REDUCE_ANY", _REDUCE, f"29:{ALL}", 2),
    ("REDUCE_MIN REDUCE_MAX", _REDUCE, "29:fus", 2),
    ("REDUCE_PROD SUM", _REDUCE, "29:f", 1),
    ("ELU", _UNARY, "30:f", 1),
    ("FILL", "int32[2]=2 {T}[]=1 -> {T}[2,2]", "30:fnl", 1),
    ("FILL", "{T}[2]=2 float32[]=1 -> float32[2,2]", "30:nl", None),
    ("PACK", "{T}[4] {T}[4] -> {T}[2,4] PackOptions{axis=0}", "30:fs 6:fsun", 2),
    ("UNPACK", "{T}[2,4] -> {T}[4] {T}[4] UnpackOptions{axis=0}", "30:fus", 2),
    ("SQUARED_DIFFERENCE", _BINARY, "28:f 29:fu 30:fusn", 2),
    ("BATCH_MATMUL", "{T}[2,3] {T}[3,4] -> {T}[2,4]", "6:fns", 2),
    ("MIRROR_PAD", "{T}[1,4] int32[2,2]=1 -> {T}[3,6]", "7:fusn", 2),
    ("REVERSE_V2", "{T}[1,4] int32[1]=1 -> {T}[1,4]", "7:fusn", 3),
]  # fmt: skip

_POOLED = "AVERAGE_POOL_2D int8[1,32,32,3] -> int8[1,16,16,3] Pool2DOptions"
_BASIC = (
    "LSTM uint8[1,4]*0.0078125+128 {A} {B} {C} float32[1,4] -> "
    "uint8[1,4]*{D} int16[1,4]*{E} uint8[1,4] uint8[1,4]"
)
_GOOD = {"A": "uint8[1,4]", "B": "uint8[4,4]=1", "C": "int32[4]=1", "D": "0.0078125+128", "E": "1"}


def _basic(**changed: str) -> str:
    text = _BASIC
    for key, value in {**_GOOD, **changed}.items():
        text = text.replace(f"{{{key}}}", value)
    return text


#: (levels, what is taken, what is not, for one reason alone).
PAIRS = [
    (
        (27, 31),
        "ADD float32[1,2,3,4] float32[4] -> float32[1,2,3,4]",
        "ADD float32[1,1,2,3,4] float32[4] -> float32[1,1,2,3,4]",
    ),
    (
        (27, 31),
        "ADD float32[4] float32[1,2,3,4] -> float32[1,2,3,4]",
        "ADD float32[4] float32[1,1,2,3,4] -> float32[1,1,2,3,4]",
    ),
    ((27, 31), "MUL float32[1,1,1,2] float32[1] -> float32[2]",
     "MUL float32[1,1,1,1,2] float32[1] -> float32[2]"),
    ((27, 31), "MUL float32[1] float32[1,1,1,2] -> float32[2]",
     "MUL float32[1] float32[1,1,1,1,2] -> float32[2]"),
    ((30, 31), "ADD int32[4] int32[4] -> int32[4] AddOptions{}",
     "ADD int32[4] int32[4] -> int32[4] AddOptions{fusedActivationFunction=1}"),
    ((30, 31), "ADD float32[4] float32[4] -> float32[4] AddOptions{fusedActivationFunction=1}",
     "MUL int32[4] int32[4] -> int32[4] MulOptions{fusedActivationFunction=1}"),
    ((27, 28), "MUL@2 int8[4] int8[4] -> int8[4]", "MUL@3 int8[4] int8[4] -> int8[4]"),
    ((29, 31), "MUL@3 int8[4] int8[4] -> int8[4]", "MUL@4 int8[4] int8[4] -> int8[4]"),
    ((29,), "ARG_MAX float32[4] int64[]=0 -> int32[] ArgMaxOptions{outputType=2}",
     "ARG_MAX float32[4] int64[] -> int32[] ArgMaxOptions{outputType=2}"),
    ((29,), "ARG_MIN float32[4] int32[] -> int32[] ArgMinOptions{outputType=2}",
     "ARG_MIN float32[4] int32[] -> int64[] ArgMinOptions{outputType=4}"),
    ((27, 28), _POOLED + "{filterWidth=16 filterHeight=16}",
     _POOLED + "{filterWidth=17 filterHeight=16}"),
    ((27, 28), "L2_POOL_2D float32[1,4,4,1] -> float32[1,2,2,1] Pool2DOptions{}",
     "L2_POOL_2D float32[1,4,4,1] -> float32[1,2,2,1] Pool2DOptions{fusedActivationFunction=1}"),
    ((27, 31), "CONV_2D float32[1,4,4,1] float32[1,1,1,1]=1 float32[1]=0 -> float32[1,4,4,1]",
     "CONV_2D float32[1,4,4,1] float32[1,1,1,1]=1 -> float32[1,4,4,1]"),
    ((27, 28), "CONV_2D uint8[1,4,4,1]*1 uint8[2,1,1,1]*0.5=1 int32[2]=0 -> uint8[1,4,4,2]*1",
     "CONV_2D uint8[1,4,4,1]*1 uint8[2,1,1,1]*0.5,0.2=1 int32[2]=0 -> uint8[1,4,4,2]*1"),
    ((27, 28), "CONV_2D uint8[1,4,4,1]*1 uint8[2,1,1,1]*0.5=1 int32[2]=0 -> uint8[1,4,4,2]*0.6",
     "CONV_2D uint8[1,4,4,1]*1 uint8[2,1,1,1]*0.5=1 int32[2]=0 -> uint8[1,4,4,2]*0.5"),
    ((27, 28), "CONV_2D float32[1,4,4,4] float32[2,1,1,4]=1 float32[2]=0 -> float32[1,4,4,2]",
     "CONV_2D float32[1,4,4,4] float32[2,1,1,2]=1 float32[2]=0 -> float32[1,4,4,2]"),
    *(
        (
            (27, 28),
            f"{name} float32[1,4,4,1] float32[1,1,1,1]=1 float32[1]=0 -> float32[1,4,4,1] "
            f"{options}{{{field}=1}}",
            f"{name} float32[1,4,4,1] float32[1,1,1,1]=1 float32[1]=0 -> float32[1,4,4,1] "
            f"{options}{{{field}=2}}",
        )
        for name, options in (
            ("CONV_2D", "Conv2DOptions"), ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"),
        )
        for field in ("dilationWFactor", "dilationHFactor")
    ),
    ((27, 28), "FULLY_CONNECTED float32[1,4] float32[2,4]=1 float32[2]=0 -> float32[1,2]",
     "FULLY_CONNECTED float32[1,4] int8[2,4]=1 float32[2]=0 -> float32[1,2]"),
    ((29, 31), "FULLY_CONNECTED float32[1,4] int8[2,4]=1 float32[2]=0 -> float32[1,2]",
     "FULLY_CONNECTED int16[1,4] int8[2,4]=1 float32[2]=0 -> int16[1,2]"),
    ((29,), "FULLY_CONNECTED float32[1,4] float32[2,4]=1 - -> float32[1,2] FullyConnectedOptions{}",
     "FULLY_CONNECTED float32[1,4] float32[2,4]=1 - -> float32[1,2] "
     "FullyConnectedOptions{keepNumDims=1}"),
    ((29, 31), "SOFTMAX float32[1,1,1,4] -> float32[1,1,1,4]",
     "SOFTMAX float32[1,1,1,1,4] -> float32[1,1,1,1,4]"),
    ((27, 28), "SOFTMAX float32[1,4] -> float32[1,4]", "SOFTMAX float32[1,1,4] -> float32[1,1,4]"),
    ((27, 31), "RESHAPE float32[1,1,1,4] int32[1]=4 -> float32[4]",
     "RESHAPE float32[1,1,1,1,4] int32[1]=4 -> float32[4]"),
    ((27, 31), "RESHAPE float32[4] int32[4]=1,1,1,4 -> float32[1,1,1,4]",
     "RESHAPE float32[4] int32[5]=1,1,1,1,4 -> float32[1,1,1,1,4]"),
    ((27, 31), "RESHAPE float32[4] int32[1]=4 -> float32[4]",
     "RESHAPE float32[4] int32[1] -> float32[4]"),
    ((27, 31), "RESHAPE float32[1] -> float32[1] ReshapeOptions{newShape=1,}",
     "RESHAPE float32[1] -> float32[] ReshapeOptions{newShape=0,}"),
    ((27, 31), "RESIZE_BILINEAR float32[1,2,2,1] int32[2]=4 -> float32[1,4,4,1]",
     "RESIZE_BILINEAR float32[2,2,1] int32[2]=4 -> float32[1,4,4,1]"),
    ((27, 31), "RESIZE_BILINEAR float32[1,2,2,1] int32[2]=4 -> float32[1,4,4,1]",
     "RESIZE_BILINEAR float32[1,2,2,1] int32[2] -> float32[1,4,4,1]"),
    ((27, 28), "RESIZE_BILINEAR float32[1,2,2,1] int32[2]=4 -> float32[1,4,4,1]",
     "RESIZE_BILINEAR float32[1,2,2,1] int32[2]=4,6 -> float32[1,4,6,1]"),
    ((29, 31), "RESIZE_NEAREST_NEIGHBOR float32[1,2,2,1] int32[2]=4 -> float32[1,4,4,1]",
     "RESIZE_NEAREST_NEIGHBOR float32[1,2,2,1] int32[2] -> float32[1,4,4,1]"),
    *(
        (
            (29,),
            f"{name} float32[1,2,2,1] int32[2]=4 -> float32[1,4,4,1] {options}{{}}",
            f"{name} float32[1,2,2,1] int32[2]=4 -> float32[1,4,4,1] {options}{{{field}=1}}",
        )
        for name, options in (
            ("RESIZE_BILINEAR", "ResizeBilinearOptions"),
            ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
        )
        for field in ("alignCorners", "halfPixelCenters")
    ),
    ((28,), "SQUEEZE float32[1,4] -> float32[4] SqueezeOptions{squeezeDims=0,}",
     "SQUEEZE float32[1,4] -> float32[4] SqueezeOptions{}"),
    *(
        (
            (29, 31),
            f"{name} float32[1,2,4] float32[4]=1 {_LSTM[13:]} -> float32[1,2,4]",
            f"{name} float32[1,2,4] float32[4]=1 int8[4]=1 {_LSTM[26:]} -> float32[1,2,4]",
        )
        for name in ("UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM")
    ),
    ((29, 31), f"UNIDIRECTIONAL_SEQUENCE_LSTM float32[1,2,4] {_LSTM} -> float32[1,2,4]",
     f"UNIDIRECTIONAL_SEQUENCE_LSTM float32[1,2,4] {_LSTM} - -> float32[1,2,4]"),
    ((29, 31), "UNIDIRECTIONAL_SEQUENCE_RNN float32[1,2,4] float32[4]=1 -> float32[1,2,4]",
     "UNIDIRECTIONAL_SEQUENCE_RNN float32[1,2,4] int8[4]=1 -> float32[1,2,4]"),
    ((27, 31), "L2_NORMALIZATION float32[1,1,1,4] -> float32[1,1,1,4] L2NormOptions{}",
     "L2_NORMALIZATION float32[1,1,1,4] -> float32[1,1,1,4] "
     "L2NormOptions{fusedActivationFunction=1}"),
    ((27, 28), "L2_NORMALIZATION float32[1,1,1,4] -> float32[1,1,1,4]",
     "L2_NORMALIZATION float32[1,4] -> float32[1,4]"),
    ((27, 28), "LSH_PROJECTION int32[2] int32[4] -> int32[2] LSHProjectionOptions{type=2}",
     "LSH_PROJECTION int32[2] int32[4] -> int32[2] LSHProjectionOptions{type=1}"),
    ((29, 31), "LSH_PROJECTION int32[2] int32[4] -> int32[2] LSHProjectionOptions{type=1}",
     "LSH_PROJECTION int32[2] int32[4] int32[4] -> int32[2] LSHProjectionOptions{type=1}"),
    ((27, 31), "CONCATENATION float32[4] float32[4] -> float32[8] ConcatenationOptions{}",
     "CONCATENATION float32[4] float32[4] -> float32[8] "
     "ConcatenationOptions{fusedActivationFunction=1}"),
    ((27, 31), "CONCATENATION float32[1,1,1,4] float32[1,1,1,4] -> float32[8]",
     "CONCATENATION float32[1,1,1,1,4] float32[1,1,1,1,4] -> float32[8]"),
    ((27, 28), "CONCATENATION uint8[4]*0.5+1 uint8[4]*0.5+1 -> uint8[8]*0.5+1",
     "CONCATENATION uint8[4]*0.5+1 uint8[4]*0.5+2 -> uint8[8]*0.5+1"),
    ((29, 31), "CONCATENATION uint8[4]*0.5+1 uint8[4]*0.25+2 -> uint8[8]*0.5+1",
     "CONCATENATION int32[4] int32[4] -> int32[8]"),
    ((27, 28), "DEQUANTIZE@2 uint8[4]*1 -> float32[4]", "DEQUANTIZE@3 uint8[4]*1 -> float32[4]"),
    ((29, 30), "DEQUANTIZE@2 int8[4]*1 -> float32[4]", "DEQUANTIZE@5 int8[4]*1 -> float32[4]"),
    ((29,), "DEQUANTIZE@2 int8[4]*1 -> float32[4]", "DEQUANTIZE@2 int8[4]*1+3 -> float32[4]"),
    ((30, 31), "DEQUANTIZE@3 float16[4] -> float32[4]", "DEQUANTIZE@3 uint8[4] -> float32[4]"),
    ((30, 31), "DENSIFY float32[4]=1 -> float32[4]", "DENSIFY float32[4] -> float32[4]"),
    ((30, 31), "SUB int32[4] int32[4] -> int32[4] SubOptions{}",
     "SUB int32[4] int32[4] -> int32[4] SubOptions{fusedActivationFunction=1}"),
    *(
        ((29, 31), f"{name} {good} -> float32[4]", f"{name} {bad} -> float32[4]")
        for name in ("SUB", "DIV", "SQUARED_DIFFERENCE")
        for good, bad in (
            ("float32[1,1,1,4] float32[4]", "float32[1,1,1,1,4] float32[4]"),
            ("float32[4] float32[1,1,1,4]", "float32[4] float32[1,1,1,1,4]"),
        )
    ),
    ((28, 31), "PAD float32[1,4] int32[2,2]=1 -> float32[3,6]",
     "PAD float32[0,4] int32[2,2]=1 -> float32[2,6]"),
    ((29, 31), "PADV2 float32[1,4] int32[2,2]=1 float32[] -> float32[3,6]",
     "PADV2 float32[0,4] int32[2,2]=1 float32[] -> float32[2,6]"),
    ((28, 31), "BATCH_TO_SPACE_ND float32[4,2,2,1] int32[2]=2 int32[2,2]=0 -> float32[1,4,4,1]",
     "BATCH_TO_SPACE_ND float32[4,2,2,1] int32[2]=2 int32[2,2]=0,0,0,1 -> float32[1,4,3,1]"),
    ((28, 31), "TRANSPOSE float32[2,4] int32[2]=1,0 -> float32[4,2]",
     "TRANSPOSE float32[2,4] int32[2] -> float32[4,2]"),
    ((29, 31), "TRANSPOSE_CONV int32[4]=1 float32[1,1,1,1]=1 float32[1,1,1,1] -> float32[1,1,1,1]",
     "TRANSPOSE_CONV int32[4] float32[1,1,1,1]=1 float32[1,1,1,1] -> float32[1,1,1,1]"),
    ((29, 31), "TRANSPOSE_CONV int32[4]=1 float32[1,1,1,1]=1 float32[1,1,1,1] -> float32[1,1,1,1]",
     "TRANSPOSE_CONV int32[4]=1 float32[1,1,1,1] float32[1,1,1,1] -> float32[1,1,1,1]"),
    *(
        (
            (28, 31),
            f"{name} float32[4] float32[4]=1 float32[4]=1 float32[4]=1 float32[4] -> float32[4]",
            f"{name} float32[4] float32[4]=1 float32[4]=1 float32[4]=1 -> float32[4]",
        )
        for name in ("RNN", "SVDF")
    ),
    ((28, 31), _basic(), _basic(B="int8[4,4]=1")),
    ((28, 31), _basic(), _basic(D="0.0078125+127")),
    ((28, 31), _basic(E="0.00048828125+1"), _basic(E="0.5+1")),
    ((28, 31), _basic(), _basic(B="uint8[4,4]")),
    ((28, 31), _basic(), _basic(C="int32[4]")),
    ((28, 31), _basic(), _basic().replace("LSTM uint8[1,4]*0.0078125", "LSTM uint8[1,4]*0.5")),
    ((28,), f"LSTM float32[1,4] {_LSTM} -> float32[1,4]",
     f"LSTM float32[1,4] {_LSTM} - - - - -> float32[1,4]"),
    ((28,), f"LSTM float32[1,4] {_LSTM} -> float32[1,4]",
     f"LSTM float32[1,4] float32[4]=1 uint8[4]=1 {_LSTM[26:]} -> float32[1,4]"),
    ((28, 31), "MEAN float32[2,4] int32[1]=1 -> float32[2]",
     "MEAN float32[4] int32[1]=1 -> float32[]"),
    ((28, 31), "MEAN float32[1,1,1,4] int32[1]=1 -> float32[4]",
     "MEAN float32[1,1,1,1,4] int32[1]=1 -> float32[4]"),
    ((29, 31), "MAXIMUM float32[4] float32[]=1 -> float32[4]",
     "MAXIMUM float32[4] float32[] -> float32[4]"),
    ((29, 31), "TOPK_V2 float32[4] int32[]=2 -> float32[2] int32[2]",
     "TOPK_V2 float32[4] int32[] -> float32[2] int32[2]"),
    ((29, 31), "SELECT bool[2,4] float32[2,4] float32[2,4] -> float32[2,4]",
     "SELECT bool[2] float32[2,4] float32[2,4] -> float32[2,4]"),
    ((29, 31), "GATHER float32[4] int32[1] -> float32[1]",
     "GATHER float32[4] int32[] -> float32[]"),
    ((29, 31), "EXPAND_DIMS float32[4] int32[]=1 -> float32[4,1]",
     "EXPAND_DIMS float32[4] int32[] -> float32[4,1]"),
    ((29, 31), "SPLIT int32[]=0 float32[4] -> float32[2] float32[2]",
     "SPLIT int32[] float32[4] -> float32[2] float32[2]"),
    ((30, 31), "SPLIT_V float32[4] int32[2]=2,2 int32[]=0 -> float32[2] float32[2]",
     "SPLIT_V float32[4] int32[2,1]=2,2 int32[]=0 -> float32[2] float32[2]"),
    ((30, 31), "SPLIT_V float32[4] int32[2]=3,-1 int32[]=-1 -> float32[3] float32[1]",
     "SPLIT_V float32[4] int32[2]=4,-1 int32[]=-1 -> float32[4] float32[0]"),
    ((30, 31), "SPLIT_V float32[4] int32[2]=2,2 int32[]=0 -> float32[2] float32[2]",
     "SPLIT_V float32[4] int32[2] int32[]=0 -> float32[2] float32[2]"),
    ((30, 31), "SPLIT_V float32[4] int32[2]=2,2 int32[]=0 -> float32[2] float32[2]",
     "SPLIT_V float32[4] int32[2]=2,2 int32[] -> float32[2] float32[2]"),
    ((29, 31), "QUANTIZE uint8[4]*0.5 -> uint8[4]*1", "QUANTIZE uint8[4] -> uint8[4]*1"),
    ((29, 31), "QUANTIZE uint8[4]*0.5 -> uint8[4]*1", "QUANTIZE uint8[4]*0.5 -> uint8[4]"),
    *(
        ((29, 31), f"{name} {dtype}[2,4] int32[1]=1 -> {dtype}[2]",
         f"{name} {dtype}[4] int32[1]=0 -> {dtype}[]")
        for name, dtype in (("REDUCE_ANY", "bool"), ("REDUCE_PROD", "float32"), ("SUM", "float32"))
    ),
    ((29, 31), "REDUCE_MAX float32[4] int32[1]=0 -> float32[]",
     "REDUCE_MAX float32[] int32[1]=0 -> float32[]"),
    ((30, 31), "FILL int32[1]=2 int64[]=9 -> int64[2]",
     "FILL int32[1]=2 int64[]=3000000000 -> int64[2]"),
    ((30, 31), "FILL int32[1]=2 float32[] -> float32[2]", "FILL int32[1] float32[] -> float32[2]"),
    ((30, 31), "PACK float32[4] float32[4] -> float32[2,4] PackOptions{axis=0}",
     "PACK float32[4] float32[4] -> float32[4,2] PackOptions{axis=-1}"),
    ((30, 31), "UNPACK float32[2,4] -> float32[4] float32[4] UnpackOptions{axis=0}",
     "UNPACK float32[4,2] -> float32[4] float32[4] UnpackOptions{axis=1}"),
    ((30, 31), "UNPACK float32[2,1,1,4] -> float32[4] float32[4]",
     "UNPACK float32[2,1,1,1,4] -> float32[4] float32[4]"),
    ((6, 7), "BATCH_MATMUL float32[2,3] float32[3,4] -> float32[2,4]",
     "BATCH_MATMUL float32[2,3] int8[3,4] -> float32[2,4]"),
    ((6, 7), "BATCH_MATMUL float32[1,1,2,3] float32[1,1,3,4] -> float32[1,1,2,4]",
     "BATCH_MATMUL float32[1,1,1,2,3] float32[1,1,1,3,4] -> float32[1,1,1,2,4]"),
    ((6, 7), "BATCH_MATMUL float32[5,2,3] float32[5,3,4] -> float32[5,2,4]",
     "BATCH_MATMUL float32[5,2,3] float32[1,3,4] -> float32[5,2,4]"),
    ((7,), "MIRROR_PAD float32[1,4] int32[2,2]=1 -> float32[3,6]",
     "MIRROR_PAD float32[0,4] int32[2,2]=1 -> float32[2,6]"),
    ((7,), "REVERSE_V2 float32[4] int32[1]=0 -> float32[4]", "REVERSE_V2 float32[4] -> float32[4]"),
]  # fmt: skip
