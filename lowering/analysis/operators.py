"""The operators: how they count, and how they touch memory, as one table."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

import onnx_ir as ir

from .. import integer
from ..dialect import DOMAIN
from ..layout.nhwc import SUFFIXES
from . import arithmetic as count
from .arithmetic import DIVISION, SIGMOID, SOFTMAX, TRANSCENDENTAL, Formula
from .tensors import op_of

Kind = Literal[
    "convolution",
    "depthwise",
    "matmul",
    "recurrent",
    "attention",
    "pool",
    "reduction",
    "normalization",
    "softmax",
    "elementwise",
    "movement",
    "other",
]


@dataclasses.dataclass(frozen=True)
class Operator:
    """One row of the table.

    Attributes:
        kind: the class of operators that a machine runs about equally well.
        work: counts one node's arithmetic from its static shapes.
        view: the output is the input's bytes in another shape, so that nothing has to move.
        settled: inputs that a compiler reads (shapes, axes, bounds): no parameters, no traffic.
        sparse: inputs of which no more is read than is written (the rows that Gather picks).
    """

    kind: Kind
    work: Formula
    view: bool = False
    settled: frozenset[int] = frozenset()
    sparse: frozenset[int] = frozenset()


#: Operations per output element. The output at an index depends on the inputs at that index only
#: (broadcast), so that it may be written over an input and computed inside the producer's loop.
_ELEMENTWISE: Final[dict[str, int]] = {
    **dict.fromkeys(("Abs", "Neg", "Relu", "Not", "Sign", "Ceil", "Floor", "Round", "IsNaN",
                     "IsInf", "BitwiseNot", "Cast", "CastLike", "ThresholdedRelu"), 1),
    **dict.fromkeys(("Add", "Sub", "Mul", "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual",
                     "Less", "LessOrEqual", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
                     "Where"), 1),
    **dict.fromkeys(("Clip", "LeakyRelu", "PRelu", "Shrink", "BatchNormalization",
                     "DequantizeLinear"), 2),
    **dict.fromkeys(("Reciprocal", "Sqrt", "Div", "Mod"), DIVISION),
    **dict.fromkeys(("Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh",
                     "Tanh", "Asinh", "Acosh", "Atanh", "Erf"), TRANSCENDENTAL),
    "HardSigmoid": 4, "HardSwish": 5, "QuantizeLinear": DIVISION, "Softsign": DIVISION + 2,
    "Sigmoid": SIGMOID, "Swish": SIGMOID + 1, "SwiGLU": SIGMOID + 2,
    "Elu": TRANSCENDENTAL + 2, "Celu": TRANSCENDENTAL + 4, "Selu": TRANSCENDENTAL + 3,
    "Gelu": TRANSCENDENTAL + 4, "Softplus": 2 * TRANSCENDENTAL + 1,
    "Mish": 3 * TRANSCENDENTAL + 2, "Pow": 2 * TRANSCENDENTAL,
}  # fmt: skip

_VARIADIC: Final = ("Sum", "Max", "Min", "Mean")

#: Operations per element of the first input.
_REDUCTIONS: Final[dict[str, int]] = {
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
                     "ArgMax", "ArgMin", "CumSum", "CumProd", "Hardmax"), 1),
    **dict.fromkeys(("ReduceL2", "ReduceSumSquare", "ReduceLogSum"), 2),
    "ReduceLogSumExp": TRANSCENDENTAL + 3,
    "GlobalAveragePool": 1, "GlobalMaxPool": 1, "GlobalLpPool": 2,
    "NegativeLogLikelihoodLoss": 2, "SoftmaxCrossEntropyLoss": SOFTMAX + 2,
    "DynamicQuantizeLinear": DIVISION + 2,
}  # fmt: skip

#: Operations per element: mean and variance (4), then normalize, scale and shift (4).
_NORMALIZATIONS: Final[dict[str, int]] = {
    "LayerNormalization": 8, "InstanceNormalization": 8, "GroupNormalization": 8,
    "MeanVarianceNormalization": 6, "RMSNormalization": 4, "LpNormalization": 3,
}  # fmt: skip

#: Data movement: no arithmetic. Sparse: no more of the first input is read than is written.
_MOVES: Final = (
    "Transpose", "Concat", "Pad", "Tile", "Expand", "DepthToSpace", "SpaceToDepth",
    "ReverseSequence", "CenterCropPad", "Trilu", "OneHot", "EyeLike", "Range", "Constant",
    "ConstantOfShape", "Compress", "MaxUnpool", "ScatterElements", "ScatterND", "TensorScatter",
    "NonZero",
)  # fmt: skip
_SPARSE_MOVES: Final = ("Gather", "GatherElements", "GatherND", "Slice", "Split", "Shape", "Size")
_VIEWS: Final = (
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "BitCast", "Dropout",
)  # fmt: skip

#: Random numbers and window functions: operations per output element.
_GENERATORS: Final[dict[str, int]] = {
    **dict.fromkeys(("RandomUniform", "RandomUniformLike", "Bernoulli"), 8),
    **dict.fromkeys(("RandomNormal", "RandomNormalLike"), 8 + 2 * TRANSCENDENTAL),
    **dict.fromkeys(("BlackmanWindow", "HannWindow", "HammingWindow"), TRANSCENDENTAL + 2),
    "MelWeightMatrix": 4, "AffineGrid": 6, "RotaryEmbedding": 3, "Col2Im": 1,
    "Multinomial": TRANSCENDENTAL + 2,
}  # fmt: skip

#: Inputs that a compiler reads, by operator.
_SETTLED: Final[dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Split", "TopK",
                     "CenterCropPad", "AffineGrid", "CumSum", "CumProd", "Trilu", "OneHot",
                     "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
                     "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"), (1,)),
    "Slice": (1, 2, 3, 4), "Pad": (1, 2, 3), "Resize": (1, 2, 3), "Clip": (1, 2),
    "ConstantOfShape": (0,), "Range": (0, 1, 2), "DFT": (1, 2), "STFT": (1, 3), "Col2Im": (1, 2),
    "Dropout": (1, 2), "CastLike": (1,), "BlackmanWindow": (0,), "HannWindow": (0,),
    "HammingWindow": (0,), "MelWeightMatrix": (0, 1, 2, 3, 4), "MaxUnpool": (2,),
}  # fmt: skip

#: Inputs whose values are not read at all: only their shape or type counts.
_UNREAD: Final[dict[str, tuple[int, ...]]] = dict.fromkeys(
    ("Shape", "Size", "EyeLike", "RandomNormalLike", "RandomUniformLike"), (0,)
)

_COUNTED: Final[dict[str, tuple[Kind, Formula]]] = {
    "Conv": ("convolution", count.convolution(1, 2)),
    "ConvInteger": ("convolution", count.convolution(1, 4)),
    "QLinearConv": ("convolution", count.convolution(3, 8)),
    "CausalConvWithState": ("depthwise", count.convolution(1, 2)),
    "ConvTranspose": ("convolution", count.transposed_convolution),
    "DeformConv": ("convolution", count.deformable_convolution),
    "Gemm": ("matmul", count.gemm),
    "MatMul": ("matmul", count.matmul),
    "MatMulInteger": ("matmul", count.matmul),
    "QLinearMatMul": ("matmul", count.matmul),
    "Einsum": ("matmul", count.einsum),
    "Det": ("matmul", count.determinant),
    "LSTM": ("recurrent", count.recurrent(4, 5)),
    "GRU": ("recurrent", count.recurrent(3, 3)),
    "RNN": ("recurrent", count.recurrent(1, 1)),
    "Attention": ("attention", count.attention),
    "LinearAttention": ("attention", count.linear_attention),
    "MaxPool": ("pool", count.pool),
    "AveragePool": ("pool", count.pool),
    "LpPool": ("pool", count.pool),
    "MaxRoiPool": ("pool", count.per_output(4)),
    "RoiAlign": ("pool", count.roi_align),
    "Softmax": ("softmax", count.per_output(SOFTMAX)),
    "LogSoftmax": ("softmax", count.per_output(SOFTMAX)),
    "LRN": ("normalization", count.lrn),
    "TopK": ("reduction", count.top_k),
    "Unique": ("reduction", count.sort),
    "Resize": ("movement", count.resize),
    "GridSample": ("movement", count.grid_sample),
    "DFT": ("other", count.dft),
    "STFT": ("other", count.stft),
}

#: Operators of our own domain: the ONNX operator with its data input and output channels-last.
_CHANNELS_LAST: Final = (
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
)  # fmt: skip

#: Kinds of our integer operators (`lowering.integer`) that are counted as an operator is; the
#: others are elementwise, but kernels of their own, which no other joins: their kind is `other`.
_INTEGER: Final = ("Conv", "MatMul", "AveragePool")

#: Operations per output element: a sum to float and back, multiplied, moved and bounded; and those
#: of the operators that are elementwise.
_REQUANTIZE: Final = 7
_OTHERS: Final = {
    "Add": _REQUANTIZE + 6,
    "Mul": _REQUANTIZE + 5,
    "Rescale": _REQUANTIZE + 2,
    "Table": 2,
}


def _table() -> dict[str, Operator]:
    rows: dict[str, tuple[Kind, Formula]] = {
        **{name: ("elementwise", count.per_output(ops)) for name, ops in _ELEMENTWISE.items()},
        **dict.fromkeys(_VARIADIC, ("elementwise", count.variadic)),
        **{name: ("reduction", count.per_input(ops)) for name, ops in _REDUCTIONS.items()},
        **{name: ("normalization", count.per_input(ops)) for name, ops in _NORMALIZATIONS.items()},
        **{name: ("other", count.per_output(ops)) for name, ops in _GENERATORS.items()},
        **dict.fromkeys((*_MOVES, *_SPARSE_MOVES, *_VIEWS), ("movement", count.nothing)),
        **_COUNTED,
    }
    table = {
        name: Operator(
            kind,
            work,
            view=name in _VIEWS,
            settled=frozenset(_SETTLED.get(name, ()) + _UNREAD.get(name, ())),
            sparse=frozenset({0} if name in _SPARSE_MOVES else ()),
        )
        for name, (kind, work) in rows.items()
    }
    for name in _CHANNELS_LAST:
        table |= {f"{DOMAIN}.{name}{layout}": table[name] for layout in SUFFIXES.values()}
    for name, item in integer.operators().items():
        table[f"{DOMAIN}.{name}"] = _integer(table.get(item.base), item.base)
    return table


def _integer(standard: Operator | None, base: str) -> Operator:
    """Return the row of an integer operator, which ends in requantization."""
    if standard is None or base not in _INTEGER:
        return Operator("other", count.per_output(_OTHERS[base]))
    requantize = count.per_output(_REQUANTIZE)
    return Operator(standard.kind, lambda node: standard.work(node) + requantize(node))


#: Every operator that is counted, by the name that `op_of` gives.
OPERATORS: Final[dict[str, Operator]] = _table()

#: What an operator outside the table is taken for: one operation per output element.
UNKNOWN: Final = Operator("other", count.per_output(1))


def operator_of(node: ir.Node) -> Operator:
    """Return the operator's row; `UNKNOWN` for one that has none."""
    return OPERATORS.get(op_of(node), UNKNOWN)


def kind_of(node: ir.Node) -> Kind:
    """Return the node's kind: a convolution whose groups have one input channel is depthwise."""
    kind = operator_of(node).kind
    if kind != "convolution" or node.attributes.get_int("group", 1) == 1:
        return kind
    weight = count.input_shape(node, 3 if node.op_type == "QLinearConv" else 1)
    return "depthwise" if weight[1] == 1 else kind
