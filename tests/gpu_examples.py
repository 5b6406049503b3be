"""What TFLite's GPU delegate takes, by example: the facts of its public code, stated once more.

From https://github.com/google-ai-edge/LiteRT, as of commit f67457790: model_builder.cc in
tflite/delegates/gpu/common and gpu_compatibility.cc in tflite/tools/versioning; not from our table,
which is held to it. The operator in question is the first one.
"""

from __future__ import annotations

_UNARY = "{T}[1,4] -> {T}[1,4]"
_BINARY = "{T}[1,4] {T}[1,4] -> {T}[1,4]"
_COMPARISON = "{T}[4] {T}[4] -> c:bool[4]; CAST c -> float32[4]"
_REDUCE = "{T}[1,8,3] int32[1]=1 -> {T}[1,3]"
_POOL = (
    "{T}[1,8,8,3] -> {T}[1,4,4,3] Pool2DOptions{filterWidth=2 filterHeight=2 strideW=2 strideH=2}"
)
_STRIDES = "{strideW=1 strideH=1 depthMultiplier=4}"
_CONV = "{T}[1,8,8,1] float32[1,1,1,4]=1 float32[4]=1 -> {T}[1,8,8,4] "
_PAD = "{T}[1,2,2,1] int32[4,2]=1 -> {T}[3,4,4,3]"
_STRIDED = "{T}[1,2,4] int32[3]=0 int32[3]=1 int32[3]=1 -> {T}[1,1,1] StridedSliceOptions{}"
_LSTM = " ".join(["float32[4]=1"] * 19)
_TANH = "LSTMOptions{fusedActivationFunction=4}"

#: Dtypes that all take, without quantized models and with them.
_DATA = "0:fh 1:fhus"

#: (operators, what one is like where {T} is the dtype in question, the dtypes taken without
#: quantized models and with them, the highest version taken if there is one).
OPERATORS = [
    ("ABS COS ELU EXP FLOOR GELU LOG LOGISTIC NEG RSQRT SIGN SIN SQRT SQUARE TANH",
     _UNARY, _DATA, 2),
    ("HARD_SWISH", _UNARY, _DATA, None),
    ("RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 LEAKY_RELU", _UNARY, _DATA, 2),
    ("PRELU", "{T}[1,4] float32[4]=1 -> {T}[1,4]", _DATA, 1),
    ("ADD ADD_N DIV FLOOR_DIV FLOOR_MOD MAXIMUM MINIMUM POW SQUARED_DIFFERENCE SUB",
     _BINARY, _DATA, 2),
    ("MUL", _BINARY, _DATA, 3),
    ("LOGICAL_AND", _BINARY, "0:fhb 1:fhusb", 2),
    ("EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL NOT_EQUAL", _COMPARISON, _DATA, 2),
    ("REDUCE_MAX REDUCE_MIN REDUCE_PROD SUM MEAN", _REDUCE, _DATA, None),
    ("AVERAGE_POOL_2D MAX_POOL_2D", _POOL, _DATA, 2),
    ("CONV_2D", f"{_CONV}Conv2DOptions{{strideW=1 strideH=1}}", _DATA, 6),
    ("DEPTHWISE_CONV_2D", f"{_CONV}DepthwiseConv2DOptions{_STRIDES}", _DATA, 6),
    ("TRANSPOSE_CONV",
     "int32[4]=8 float32[4,1,1,3]=1 {T}[1,8,8,3] -> {T}[1,8,8,4] "
     "TransposeConvOptions{strideW=1 strideH=1}", _DATA, 3),
    ("PAD MIRROR_PAD", _PAD, _DATA, 2),
    ("PADV2", "{T}[1,2,2,1] int32[4,2]=1 float32[]=1 -> {T}[3,4,4,3]", _DATA, 2),
    ("RESHAPE", "{T}[1,4] int32[1]=4 -> {T}[4]", _DATA, 1),
    ("RESIZE_BILINEAR", "{T}[1,2,2,1] int32[2]=4 -> {T}[1,4,4,1] ResizeBilinearOptions{}",
     _DATA, 3),
    ("RESIZE_NEAREST_NEIGHBOR", "{T}[1,2,2,1] int32[2]=4 -> {T}[1,4,4,1]", _DATA, 3),
    ("SPACE_TO_DEPTH", "{T}[1,2,2,1] -> {T}[1,1,1,4] SpaceToDepthOptions{blockSize=2}", _DATA, 2),
    ("DEPTH_TO_SPACE", "{T}[1,1,1,4] -> {T}[1,2,2,1] DepthToSpaceOptions{blockSize=2}",
     _DATA, None),
    ("TILE", "{T}[4] int32[1]=2 -> {T}[8]", _DATA, None),
    ("TRANSPOSE", "{T}[2,4] int32[2]=1,0 -> {T}[4,2]", _DATA, 4),
    ("SELECT SELECT_V2", "{T}[4] float32[4] float32[4] -> float32[4]", "0:fhb", 1),
    ("SELECT SELECT_V2", "bool[4] {T}[4] {T}[4] -> {T}[4]", _DATA, None),
    ("QUANTIZE", "{T}[4]*1 -> int8[4]*1", "1:fhus", 2),
    ("DEQUANTIZE", "{T}[4]*1 -> float32[4]", "1:fhus", 3),
    ("BATCH_MATMUL", "{T}[2,3] {T}[3,4] -> {T}[2,4]", _DATA, None),
    ("CAST", "{T}[4] -> float32[4]", "0:fn", None),
    ("CONCATENATION", "{T}[4] {T}[4] -> {T}[8]", _DATA, 2),
    ("CUMSUM", "{T}[4] int32[]=0 -> {T}[4]", "0:fh", 1),
    ("DENSIFY", "{T}[4]=1 -> {T}[4]", _DATA, 1),
    ("FULLY_CONNECTED", "{T}[1,4] float32[2,4]=1 - -> {T}[1,2] FullyConnectedOptions{}", _DATA, 9),
    ("GATHER", "{T}[4] int32[2]=1 -> {T}[2]", _DATA, 1),
    ("GATHER", "float32[4] {T}[2]=1 -> float32[2]", "0:n", None),
    ("LSTM", f"{{T}}[1,4] {_LSTM} -> {{T}}[1,4] {_TANH}", _DATA, 4),
    ("ONE_HOT", "{T}[4] int32[]=3 float32[]=1 float32[]=2 -> float32[4,3] OneHotOptions{axis=-1}",
     "0:n", 1),
    ("PACK", "{T}[4] {T}[4] -> {T}[2,4]", _DATA, None),
    ("UNPACK", "{T}[2,4] -> {T}[4] {T}[4]", _DATA, None),
    ("SLICE", "{T}[1,2,4] int32[3]=0 int32[3]=1 -> {T}[1,1,1]", _DATA, 2),
    ("STRIDED_SLICE", _STRIDED, _DATA, 4),
    ("SOFTMAX", "{T}[1,4] -> {T}[1,4] SoftmaxOptions{beta=1.0}", _DATA, 2),
    ("SPLIT", "int32[]=0 {T}[4] -> {T}[2] {T}[2]", _DATA, None),
    ("SPLIT_V", "{T}[4] int32[2]=2 int32[]=0 -> {T}[2] {T}[2]", _DATA, None),
]  # fmt: skip

_POOLED = "MAX_POOL_2D float32[1,8,8,3] -> float32[1,4,4,3] Pool2DOptions"
_CONV_F = _CONV.replace("{T}", "float32")
_DEPTH = "DEPTHWISE_CONV_2D float32[1,8,8,2] float32[1,1,1,4]=1 float32[{}]=1 -> float32[1,8,8,4] "
_BASIC = (
    "LSTM float32[1,4] float32[1,4] float32[4,4]=1 float32[4]=1 float32[1,4] -> "
    "float32[1,4] float32[1,4] float32[1,4] float32[1,{}] LSTMOptions{{{}}}"
)
_FC = "FULLY_CONNECTED float32[1,4] float32[2,4]=1 float32[2]=1 -> float32[1,2]"
_EQUAL = "EQUAL float32[4] float32[4] -> c:bool[4]"
_ONE_HOT = "ONE_HOT int32[1,4] int32[]=3 {} -> float32[1,4,3] OneHotOptions{{axis={}}}"

#: (what is taken, what is not, for one reason alone), with quantized models allowed.
PAIRS = [
    ("RELU float32[1,1,1,4] -> float32[4]", "RELU float32[1,1,1,1,4] -> float32[4]"),
    ("GELU float32[4] -> float32[4]", "GELU float32[4]=1 -> float32[4]"),
    ("SUB float32[4] float32[4]=1 -> float32[4]", "SUB float32[4]=2 float32[4]=1 -> float32[4]"),
    ("GATHER float32[4] int32[2] -> float32[2]", "GATHER float32[4]=1 int32[2]=1 -> float32[2]"),
    ("SUM float32[4,2] int32[1]=1 -> float32[4]", "SUM float32[4,2]=1 int32[1]=1 -> float32[4]"),
    ("MEAN float32[4,2] int32[1]=1 -> float32[4]", "MEAN float32[4,2] int64[1]=1 -> float32[4]"),
    ("TILE float32[4] int32[1]=2 -> float32[8]", "TILE float32[4]=1 int32[1]=2 -> float32[8]"),
    ("DENSIFY float32[4]=1 -> float32[4]", "DENSIFY float32[4] -> float32[4]"),
    (f"CONV_2D {_CONV_F}Conv2DOptions{{strideW=1 strideH=1}}",
     "CONV_2D float32[1,8,8,1] float32[4,1,1,1] float32[4] -> float32[1,8,8,4] "
     "Conv2DOptions{strideW=1 strideH=1}"),
    (f"CONV_2D {_CONV_F}Conv2DOptions{{strideW=1 strideH=1}}",
     f"CONV_2D {_CONV_F}Conv2DOptions{{strideW=1 strideH=0}}"),
    *(
        (f"{name} {_CONV_F}{options}{{strideW=1 strideH=1 {more}}}",
         f"{name} {_CONV_F}{options}{{strideW=1 strideH=1 {more} {bad}}}")
        for name, options, more in (
            ("CONV_2D", "Conv2DOptions", ""),
            ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", "depthMultiplier=4"),
        )
        for bad in ("dilationHFactor=0", "fusedActivationFunction=5")
    ),
    ("ADD_N float32[4] float32[4] -> float32[4]",
     "ADD_N float32[4] float32[4] float32[4] -> float32[4]"),
    ("SLICE float32[1,2,4] int32[3]=0 int32[3]=1 -> float32[1,1,1]",
     "SLICE float32[1,2,4] int32[3]=0 -> float32[1,1,1]"),
    ("SLICE float32[1,1,2,4] int32[4]=0 int32[4]=1 -> float32[1,1,1,1]",
     "SLICE float32[2,4] int32[2]=0 int32[2]=1 -> float32[1,1]"),
    (_STRIDED.replace("{T}", "float32").join(("STRIDED_SLICE ", "")),
     "STRIDED_SLICE float32[1,2,4] int32[3]=0 int32[3]=1 -> float32[1,1,1] StridedSliceOptions{}"),
    *(
        ("STRIDED_SLICE " + _STRIDED.replace("{T}", "float32"),
         "STRIDED_SLICE " + _STRIDED.replace("{T}", "float32").replace("{}", f"{{{mask}=1}}"))
        for mask in ("ellipsisMask", "newAxisMask", "shrinkAxisMask")
    ),
    (f"{_FC} FullyConnectedOptions{{}}", f"{_FC} FullyConnectedOptions{{weightsFormat=1}}"),
    (f"{_FC} FullyConnectedOptions{{keepNumDims=1}}",
     _FC.replace("> float32[1,2]", "> float32[2]") + " FullyConnectedOptions{keepNumDims=1}"),
    ("FULLY_CONNECTED float32[1,4] float32[2,4] float32[2]=1 -> float32[1,2]",
     "FULLY_CONNECTED float32[1,4] float32[2,4] float32[2] -> float32[1,2]"),
    ("FULLY_CONNECTED float32[1,4] float32[2,4] - -> float32[1,2]",
     "FULLY_CONNECTED float32[1,4]=1 float32[2,4] - -> float32[1,2]"),
    # Broadcasting: ranks 3 and 2 only to 4, in some cases.
    ("ADD float32[1,2,3,4] float32[2,3,4] -> float32[1,2,3,4]",
     "ADD float32[2,2,3,4] float32[2,3,4] -> float32[2,2,3,4]"),
    ("MUL float32[1,1] float32[1,2,3,4] -> float32[1,2,3,4]",
     "MUL float32[1,1] float32[2,2,3,4] -> float32[2,2,3,4]"),
    ("ADD float32[2,3,5,4] float32[2,4] -> float32[2,3,5,4]",
     "ADD float32[2,3,5,4] float32[5,4] -> float32[2,3,5,4]"),
    ("ADD float32[2,3,4] float32[4] -> float32[2,3,4]",
     "ADD float32[2,3,4] float32[3,4] -> float32[2,3,4]"),
    (_DEPTH.format(4) + "DepthwiseConv2DOptions{strideW=1 strideH=1 depthMultiplier=2}",
     _DEPTH.format(4) + "DepthwiseConv2DOptions{strideW=1 strideH=1 depthMultiplier=1}"),
    (_DEPTH.format(4) + "DepthwiseConv2DOptions{strideW=1 strideH=1 depthMultiplier=2}",
     _DEPTH.format(1) + "DepthwiseConv2DOptions{strideW=1 strideH=1 depthMultiplier=2}"),
    (_POOLED + "{strideW=2 strideH=2 filterWidth=2 filterHeight=2}",
     _POOLED + "{strideW=0 strideH=2 filterWidth=2 filterHeight=2}"),
    (_POOLED + "{strideW=2 strideH=2 filterWidth=2 filterHeight=2}",
     _POOLED + "{strideW=2 strideH=2 filterWidth=2 filterHeight=0}"),
    ("SOFTMAX float32[1,4] -> float32[1,4] SoftmaxOptions{beta=1.0}",
     "SOFTMAX float32[1,4] -> float32[1,4] SoftmaxOptions{beta=2.0}"),
    ("DEPTH_TO_SPACE float32[1,1,1,4] -> float32[1,2,2,1] DepthToSpaceOptions{blockSize=2}",
     "DEPTH_TO_SPACE float32[1,1,1,4] -> float32[1,1,1,4] DepthToSpaceOptions{blockSize=1}"),
    ("RESIZE_BILINEAR float32[1,2,2,1] int32[2]=4 -> float32[1,4,4,1] "
     "ResizeBilinearOptions{alignCorners=1}",
     "RESIZE_BILINEAR float32[1,2,2,1] int32[2]=4 -> float32[1,4,4,1] "
     "ResizeBilinearOptions{alignCorners=1 halfPixelCenters=1}"),
    ("MIRROR_PAD float32[1,2,2] int32[3,2]=1 -> float32[3,4,4] MirrorPadOptions{mode=0}",
     "MIRROR_PAD float32[1,2,2] int32[3,2]=1 -> float32[3,4,4] MirrorPadOptions{mode=1}"),
    ("PAD float32[1,2,2] int32[3,2]=1 -> float32[3,4,4]",
     "PAD float32[1,2] int32[2,2]=1 -> float32[3,4]"),
    ("GATHER float32[4] int32[2] -> float32[2]", "GATHER float32[4] int32[2,1] -> float32[2,1]"),
    ("GATHER float32[4] int32[2]=1 -> float32[2]", "GATHER float32[4] int64[2]=1 -> float32[2]"),
    ("CUMSUM float32[4] int32[]=0 -> float32[4]", "CUMSUM float32[4] int64[]=0 -> float32[4]"),
    ("CUMSUM float32[4] int32[]=0 -> float32[4]", "CUMSUM int8[4] int32[]=0 -> int8[4]"),
    ("CUMSUM float32[4] int32[]=0 -> float32[4]", "CUMSUM float32[4] int32[]=0 -> float16[4]"),
    ("DEQUANTIZE int8[4]=1 -> float32[4]", "DEQUANTIZE int16[4]=1 -> float32[4]"),
    (_ONE_HOT.format("float32[]=1 float32[1]=0", -1),
     _ONE_HOT.format("float32[]=1 float32[2]=0", -1)),
    (_ONE_HOT.format("float32[]=1 float32[1]=0", -1),
     _ONE_HOT.format("float32[]=1 float32[1]", -1)),
    (_ONE_HOT.format("float32[]=1 float32[1]=0", -1),
     _ONE_HOT.format("float32[]=1 float32[1]=0", 0)),
    ("ONE_HOT int32[2,1,1,4] int32[]=3 float32[]=1 float32[]=2 -> float32[4] "
     "OneHotOptions{axis=-1}",
     "ONE_HOT int32[2,1,4] int32[]=3 float32[]=1 float32[]=2 -> float32[4] OneHotOptions{axis=-1}"),
    (_ONE_HOT.format("float32[]=1 float32[1]=0", -1),
     "ONE_HOT int64[4]=1 int32[]=3 float32[]=1 float32[]=2 -> float32[4,3] OneHotOptions{axis=-1}"),
    ("SELECT_V2 bool[1,4] float32[3,4]=1 float32[]=2 -> float32[3,4]",
     "SELECT_V2 bool[2,4] float32[3,4]=1 float32[]=2 -> float32[3,4]"),
    ("SELECT_V2 bool[3,4] float32[3,4]=1 float32[1]=2 -> float32[3,4]",
     "SELECT_V2 bool[3,4] float32[3,4]=1 float32[4]=2 -> float32[3,4]"),
    ("SELECT_V2 bool[3,4] float32[3,4]=1 float32[]=2 -> float32[3,4]",
     "SELECT_V2 bool[3,4] float32[3,4] float32[]=2 -> float32[3,4]"),
    ("SELECT_V2 bool[4] float32[4] float32[4] -> float32[4]",
     "SELECT_V2 uint8[4] float32[4] float32[4] -> float32[4]"),
    (f"LSTM float32[1,4] {_LSTM} -> float32[1,4] {_TANH}",
     f"LSTM float32[1,4] {_LSTM} -> float32[1,4] LSTMOptions{{fusedActivationFunction=1}}"),
    (f"LSTM float32[1,4] {_LSTM} - - - - -> float32[1,4] {_TANH}",
     f"LSTM float32[1,4] {_LSTM} - - - -> float32[1,4] {_TANH}"),
    (_BASIC.format(8, "kernelType=1 fusedActivationFunction=4"),
     _BASIC.format(6, "kernelType=1 fusedActivationFunction=4")),
    (_BASIC.format(8, "kernelType=1 fusedActivationFunction=4"),
     _BASIC.format(8, "kernelType=1 fusedActivationFunction=4 cellClip=1.0")),
    (_BASIC.format(8, "kernelType=1 fusedActivationFunction=4"),
     _BASIC.replace("float32[4]=1", "float32[4]").format(
         8, "kernelType=1 fusedActivationFunction=4"
     )),
    ("CAST int32[4] -> int32[4]", "CAST float16[4] -> float32[4]"),
    ("CAST float32[4] -> bool[4]", "CAST int32[4] -> bool[4]"),
    (f"{_EQUAL}; CAST c -> float16[4]", f"{_EQUAL}; CAST c -> int32[4]"),
    (f"{_EQUAL}; SELECT_V2 c float32[4] float32[4] -> float32[4]",
     f"{_EQUAL}; LOGICAL_NOT c -> bool[4]"),
    (f"{_EQUAL}; CAST c -> float32[4]", f"{_EQUAL}; CAST c -> float32[4]; CAST c -> float32[4]"),
    (f"{_EQUAL}; CAST c -> float32[4]", _EQUAL),
]  # fmt: skip
