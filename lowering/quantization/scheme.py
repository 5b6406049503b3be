"""Quantization schemes: what the numbers of a quantized network may be, as data.

A target and a profile choose a scheme by name; nothing else decides what is quantized, or how.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import onnx_ir as ir

#: Operators with a constant weight as input 1 and a bias as input 2, whose sums are integers.
LINEAR: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

#: Operators whose output has the very values of their input: it keeps the input's parameters.
PASSING: Final = frozenset(
    {
        "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape",
        "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip

#: Operators that compute in float between a DequantizeLinear and a QuantizeLinear; integer kernels
#: exist for them in every runtime that takes the scheme.
_COMPUTING: Final = frozenset(
    {
        "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul", "Relu",
        "ReduceMean", "Resize", "Sub",
    }
)  # fmt: skip

#: What TensorRT computes in float in one kernel, with what comes before and after: sums go in as
#: they are, and only the result is rounded.
_ELEMENTWISE: Final = frozenset({"Add", "Clip", "LeakyRelu", "Mul", "Relu", "Sub"})

#: What TensorFlow Lite has integer kernels for besides.
_TFLITE: Final = frozenset(
    {
        "Elu", "Gelu", "GlobalMaxPool", "HardSigmoid", "HardSwish", "PRelu", "ReduceMax",
        "ReduceMin", "ReduceSum", "Swish",
    }
)  # fmt: skip

#: Activations with a fixed range: (scale, zero point) of their int8 output.
#: Source: TensorFlow Lite's 8-bit quantization specification.
_FIXED: Final = MappingProxyType(
    {
        "HardSigmoid": (1 / 256, -128),
        "LogSoftmax": (16 / 256, 127),
        "Sigmoid": (1 / 256, -128),
        "Softmax": (1 / 256, -128),
        "Tanh": (1 / 128, 0),
    }
)

#: Functions of one number that take many operations, in float, and follow sums: a table takes few.
_LONG: Final = frozenset({"Mish", "Swish"})

#: Functions of one number, of which FPGAs keep a table of 256; those with a fixed range.
_TABLES: Final = frozenset(
    {
        "Abs", "Celu", "Div", "Elu", "Erf", "Gelu", "HardSwish", "Mish", "PRelu", "Selu",
        "Softplus", "Softsign", "Swish", "ThresholdedRelu",
    }
)  # fmt: skip
_SHARES: Final = MappingProxyType(
    {name: _FIXED[name] for name in ("HardSigmoid", "Sigmoid", "Tanh")}
)


@dataclasses.dataclass(frozen=True, eq=False)
class Scheme:
    """Static quantization to integers, or to floating-point numbers of 8 bits.

    Attributes:
        activations: INT8, UINT8 or FLOAT8E4M3FN.
        symmetric: whether the zero point of activations is 0 (of unsigned ones: 128).
        weights: INT8, INT4 or FLOAT8E4M3FN; always symmetric, and integers narrow (-127..127), so
            that no product of two of the least numbers occurs.
        per_channel: one scale of weights for each output channel, else one for the tensor.
        power_of_two: whether every scale is a power of two, so that requantization is a shift.
        integer_bias: whether a bias is int32 with scale = input scale x weight scale, else float.
        operators: those that are computed in integers.
        fixed: operator -> (scale, zero point) of its output, whatever its range.
        float_outputs: whether what follows the last linear operator stays float: the sums of that
            operator are given as they are, no rounding is added at the network's output.
        passing: those whose output keeps the parameters of their input.
        same_in_concat: whether the inputs and the output of a Concat need the same parameters.
        one_scale: operators whose weights have one scale even so.
        kernels: whose integer kernels they are, for messages.
        inner: operators that take a sum in as it is, before it is rounded: they compute in the
            kernel that gives it, or in one that reads it and rounds what comes of it.
        group: how many input channels one group of a grouped convolution has at least: kernels
            fill smaller groups up with zeros, which takes more memory and time than float.
        shared: whether all that reads what is rounded reads it rounded, which saves memory; else
            only the operators of the scheme do.
        rest: what numbers are in that are not rounded: FLOAT, or FLOAT16 where it can hold them.
    """

    name: str
    summary: str
    activations: ir.DataType = ir.DataType.INT8
    symmetric: bool = False
    weights: ir.DataType = ir.DataType.INT8
    per_channel: bool = True
    power_of_two: bool = False
    integer_bias: bool = True
    operators: frozenset[str] = LINEAR | PASSING | _COMPUTING
    fixed: Mapping[str, tuple[float, int]] = dataclasses.field(default_factory=dict)
    float_outputs: bool = True
    passing: frozenset[str] = PASSING
    same_in_concat: bool = False
    one_scale: frozenset[str] = frozenset()
    kernels: str = ""
    inner: frozenset[str] = frozenset({"Clip", "Relu"})
    group: int = 1
    shared: bool = True
    rest: ir.DataType = ir.DataType.FLOAT

    @property
    def is_float(self) -> bool:
        """Whether the numbers of 8 bits are floating-point numbers."""
        return self.activations == ir.DataType.FLOAT8E4M3FN

    @property
    def format(self) -> str:
        """What to call the numbers in messages."""
        return "fp8" if self.is_float else "int8"

    def of(self, operator: str) -> Scheme:
        """Return the scheme as it holds for the weights of one operator."""
        if operator in self.one_scale and self.per_channel:
            return dataclasses.replace(self, per_channel=False)
        return self


@dataclasses.dataclass(frozen=True)
class WeightScheme:
    """Only constant weights are shorter: of `operators`, in FLOAT16 of all that have any.

    Attributes:
        weights: INT8 or INT4, symmetric, or FLOAT16.
        block: how many weights along the summed axis (of Conv: the input channels) share a scale;
            0: one scale for each output channel.
        data: whether kernels round the other factor to 8 bits as they run.
        operators: whose weights.
        whole: whether the summed axis must be a whole number of blocks.
        rest: what all numbers but the weights are in: FLOAT, or FLOAT16 where it can hold them.
    """

    name: str
    summary: str
    weights: ir.DataType
    block: int
    data: bool = False
    operators: frozenset[str] = frozenset({"Conv", "Gemm", "MatMul"})
    whole: bool = False
    rest: ir.DataType = ir.DataType.FLOAT


@dataclasses.dataclass(frozen=True)
class FloatScheme:
    """The network computes in a shorter floating-point format; inputs and outputs stay float32."""

    name: str
    summary: str
    dtype: ir.DataType


Selection = Literal["magnitude", "surgery"]


@dataclasses.dataclass(frozen=True)
class SparseScheme:
    """Weights of which two of every four are zero; the network computes in the numbers it has.

    Attributes:
        selection: which ones: the smaller ones, or those that the others best make up for.
    """

    name: str
    summary: str
    selection: Selection


AnyScheme = Scheme | WeightScheme | FloatScheme | SparseScheme

_ALL: Final[tuple[AnyScheme, ...]] = (
    Scheme("int8", "activations with zero points, weights per channel, the output in float"),
    Scheme(
        "int8-per-tensor", "as int8, with one scale for all weights of a node", per_channel=False
    ),
    Scheme(
        "int8-tables",
        "as int8, with functions that take long as tables: Mish and Swish",
        operators=LINEAR | PASSING | _COMPUTING | _LONG,
    ),
    Scheme(
        "tflite",
        "TensorFlow Lite's rules: as int8, with integers up to the output",
        operators=LINEAR | PASSING | _COMPUTING | _TFLITE | frozenset(_FIXED),
        fixed=_FIXED,
        float_outputs=False,
        passing=PASSING | {"AveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Resize"},
        same_in_concat=True,
        # Newer runtimes take more than one; NNAPI and older ones do not.
        one_scale=frozenset({"Gemm", "MatMul"}),
        kernels="TFLite",
    ),
    Scheme(
        "fpga",
        "integers from the input to the output, weights per channel in every node",
        operators=LINEAR | PASSING | _COMPUTING | _TABLES | {"GlobalMaxPool"} | frozenset(_SHARES),
        fixed=_SHARES,
        float_outputs=False,
        passing=PASSING | {"GlobalMaxPool", "Resize"},
        same_in_concat=True,
        kernels="an FPGA's engines",
    ),
    Scheme(
        "tensorrt",
        "TensorRT's rules: symmetric activations, biases in float",
        symmetric=True,
        integer_bias=False,
    ),
    Scheme(
        "tensorrt-fp16",
        "as tensorrt, with all that is not rounded in half precision",
        symmetric=True,
        integer_bias=False,
        inner=_ELEMENTWISE,
        group=4,
        rest=ir.DataType.FLOAT16,
    ),
    Scheme(
        "tensorrt-rtx",
        "factors of sums in int8, those of convolutions by one scale, the rest in half precision",
        symmetric=True,
        integer_bias=False,
        # Kernels of convolutions take in bias, activation and an addition, and give half precision;
        # with several scales they give float32, which other kernels multiply by the scales.
        operators=LINEAR,
        one_scale=frozenset({"Conv", "ConvTranspose"}),
        group=4,
        shared=False,
        rest=ir.DataType.FLOAT16,
    ),
    Scheme(
        "fp8",
        "factors of sums with 4 bits of exponent and 3 of mantissa, the rest in half precision",
        activations=ir.DataType.FLOAT8E4M3FN,
        weights=ir.DataType.FLOAT8E4M3FN,
        symmetric=True,
        integer_bias=False,
        operators=LINEAR,
        per_channel=False,
        group=4,
        shared=False,
        rest=ir.DataType.FLOAT16,
    ),
    Scheme(
        "power-of-two",
        "symmetric, every scale a power of two, for hardware that shifts",
        symmetric=True,
        power_of_two=True,
        per_channel=False,
    ),
    WeightScheme("weights-fp16", "weights alone, in half precision", ir.DataType.FLOAT16, 0),
    WeightScheme("weights-int8", "weights alone, per channel", ir.DataType.INT8, 0),
    WeightScheme(
        "int8-dynamic",
        "weights per channel, what they multiply by the range of each run",
        ir.DataType.INT8,
        0,
        data=True,
    ),
    WeightScheme("weights-int4", "weights alone, in blocks of 32", ir.DataType.INT4, 32),
    WeightScheme(
        "weights-int4-fp16",
        "weights of matrix products in whole blocks of 32, the rest in half precision",
        ir.DataType.INT4,
        32,
        operators=frozenset({"Gemm", "MatMul"}),
        whole=True,
        rest=ir.DataType.FLOAT16,
    ),
    FloatScheme("fp16", "IEEE half precision", ir.DataType.FLOAT16),
    FloatScheme("bf16", "bfloat16", ir.DataType.BFLOAT16),
    SparseScheme("sparse-2:4", "two of every four weights zero, the smaller ones", "magnitude"),
    SparseScheme(
        "sparse-2:4-surgery",
        "two of every four weights zero, those that others best make up for",
        "surgery",
    ),
)

SCHEMES: Final[Mapping[str, AnyScheme]] = MappingProxyType({item.name: item for item in _ALL})


def limits(dtype: ir.DataType, *, narrow: bool = False) -> tuple[int, int]:
    """Return the least and the greatest number of INT4, INT8, UINT8, INT32 or FLOAT8E4M3FN.

    Args:
        narrow: leave out the least integer, so that the range is symmetric.
    """
    low, high = _LIMITS[dtype]
    return (low + 1 if narrow and dtype != ir.DataType.FLOAT8E4M3FN else low), high


_LIMITS: Final = {
    ir.DataType.INT4: (-8, 7),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT32: (-(1 << 31), (1 << 31) - 1),
    ir.DataType.FLOAT8E4M3FN: (-448, 448),
}


def next_power_of_two(scale: float) -> float:
    """Return the least power of two that is not below a positive scale."""
    mantissa, exponent = math.frexp(scale)
    return math.ldexp(0.5 if mantissa == 0.5 else 1.0, exponent)
