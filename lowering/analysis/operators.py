"""What the operators cost and how they touch memory, as one table.

A multiply-accumulate (MAC) is counted apart from the other arithmetic. Zero padding counts as data,
as is usual: a 3x3 convolution does nine MACs at the border too. Other arithmetic counts one for an
addition, a multiplication or a comparison; `DIVISION` and `TRANSCENDENTAL` stand for the longer
instruction sequences of a division or square root and of a vectorised polynomial (Cephes' ``expf``
is about twenty operations).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final, Literal

import onnx_ir as ir

from ..dialect import DOMAIN
from .contraction import einsum_macs
from .tensors import elements_of, op_of, outputs_of, shape_of

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

#: Additions that take as long as one division or square root.
DIVISION: Final = 4
#: Additions that take as long as one exponential, logarithm, sine, error function ...
TRANSCENDENTAL: Final = 20


@dataclasses.dataclass(frozen=True)
class Work:
    """Arithmetic: multiply-accumulates, and everything else in operations."""

    macs: int = 0
    ops: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.macs + other.macs, self.ops + other.ops)

    def __mul__(self, times: int) -> Work:
        return Work(self.macs * times, self.ops * times)


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
    work: Callable[[ir.Node], Work]
    view: bool = False
    settled: frozenset[int] = frozenset()
    sparse: frozenset[int] = frozenset()


def _input(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input, None where it is left out."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None or value.name == "" else value


def _shape(node: ir.Node, index: int) -> tuple[int, ...]:
    value = _input(node, index)
    return () if value is None else shape_of(value)


def _size(node: ir.Node, index: int = 0) -> int:
    value = _input(node, index)
    return 0 if value is None else elements_of(value)


def _written(node: ir.Node) -> int:
    """Return the elements of the first output that is there."""
    outputs = outputs_of(node)
    return elements_of(outputs[0]) if outputs else 0


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.is_ref() else attribute.as_int()


def _text(node: ir.Node, name: str, default: str) -> str:
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.is_ref() else attribute.as_string()


def _nothing(node: ir.Node) -> Work:
    return Work()


def _per_output(ops: int) -> Callable[[ir.Node], Work]:
    return lambda node: Work(ops=ops * _written(node))


def _per_input(ops: int) -> Callable[[ir.Node], Work]:
    return lambda node: Work(ops=ops * _size(node))


def _variadic(node: ir.Node) -> Work:
    return Work(ops=max(1, len(node.inputs) - 1) * _written(node))


def _convolution(weight: int, bias: int) -> Callable[[ir.Node], Work]:
    """Weights OIHW: each output element takes I/group x H x W MACs, in any data layout."""

    def work(node: ir.Node) -> Work:
        taps = math.prod(_shape(node, weight)[1:])
        added = _written(node) if _input(node, bias) is not None else 0
        return Work(_written(node) * taps, added)

    return work


def _transposed_convolution(node: ir.Node) -> Work:
    """Weights IOHW: each input element is spread over O/group x H x W outputs."""
    taps = math.prod(_shape(node, 1)[1:])
    return Work(_size(node) * taps, _written(node) if _input(node, 2) is not None else 0)


def _deformable_convolution(node: ir.Node) -> Work:
    """A convolution, each of whose samples is interpolated from four neighbours (8 operations)."""
    weight = _shape(node, 1)
    outputs = _written(node) // weight[0] if weight[0] else 0
    samples = outputs * _shape(node, 0)[1] * math.prod(weight[2:])
    return _convolution(1, 3)(node) + Work(ops=8 * samples)


def _gemm(node: ir.Node) -> Work:
    rows = _shape(node, 0)
    inner = rows[0] if _int(node, "transA", 0) else rows[1]
    return Work(_written(node) * inner, _written(node) if _input(node, 2) is not None else 0)


def _matmul(node: ir.Node) -> Work:
    return Work(_written(node) * _shape(node, 0)[-1])


def _einsum(node: ir.Node) -> Work:
    shapes = [_shape(node, index) for index in range(len(node.inputs))]
    macs = einsum_macs(_text(node, "equation", ""), shapes)
    return Work(macs) if len(shapes) > 1 else Work(ops=macs)


def _recurrent(gates: int, activations: int) -> Callable[[ir.Node], Work]:
    """X @ W and H @ R in each step and direction: W (D, gates*H, I), R (D, gates*H, H)."""

    def work(node: ir.Node) -> Work:
        data, hidden = _shape(node, 0), _shape(node, 2)[-1]
        directions = _shape(node, 1)[0]
        steps = data[0] * data[1]  # sequence x batch, in either layout
        cells = steps * directions * hidden
        macs = steps * (_size(node, 1) + _size(node, 2))
        return Work(macs, cells * (activations * TRANSCENDENTAL + 2 * gates))

    return work


def _attention(node: ir.Node) -> Work:
    """Q K^T and its product with V; a causal mask is not discounted.

    Q, K, V are (batch, heads, length, size), or (batch, length, heads * size) with the heads in
    attributes; past keys lengthen K and V.
    """
    query, key, value = (_shape(node, index) for index in range(3))
    past = _shape(node, 4)
    if len(query) == 4:
        batch, heads, length, size = query
        keys, width = key[2], value[3]
    else:
        heads, kv_heads = _int(node, "q_num_heads", 1), _int(node, "kv_num_heads", 1)
        batch, length, size = query[0], query[1], query[2] // heads
        keys, width = key[1], value[2] // kv_heads
    keys += past[2] if past else 0
    scores = batch * heads * length * keys
    masked = scores if _input(node, 3) is not None else 0
    return Work(scores * (size + width), scores * _SOFTMAX + scores + masked)


def _linear_attention(node: ir.Node) -> Work:
    """Per token and head: one outer product into the state (d_k, d_v), and one read of it.

    The delta rules read the state once more. Q, K, V are (batch, length, heads * size).
    """
    query, value = _shape(node, 0), _shape(node, 2)
    heads, kv_heads = _int(node, "q_num_heads", 1), _int(node, "kv_num_heads", 1)
    state = (query[2] // heads) * (value[2] // kv_heads)
    rule = _text(node, "update_rule", "gated_delta")
    tokens = query[0] * query[1]
    reads = kv_heads if "delta" in rule else 0
    decay = state * kv_heads if "gated" in rule else 0
    return Work(tokens * state * (kv_heads + heads + reads), tokens * decay)


def _pool(node: ir.Node) -> Work:
    """One operation per tap of the window, and a division where the result is a mean."""
    attribute = node.attributes.get("kernel_shape")
    taps = math.prod(attribute.as_ints()) if attribute is not None else 1
    return Work(ops=_written(node) * (taps + (DIVISION if "Average" in node.op_type else 0)))


def _lrn(node: ir.Node) -> Work:
    return Work(ops=_written(node) * (2 * _int(node, "size", 1) + TRANSCENDENTAL + DIVISION))


def _top_k(node: ir.Node) -> Work:
    """A heap of k over each row: n log2(k) comparisons."""
    axis = _int(node, "axis", -1)
    shape = shape_of(outputs_of(node)[0])
    kept = shape[axis] if shape else 1
    return Work(ops=_size(node) * max(1, math.ceil(math.log2(max(2, kept)))))


def _sort(node: ir.Node) -> Work:
    """A sort of all elements: n log2(n) comparisons."""
    return Work(ops=_size(node) * max(1, math.ceil(math.log2(max(2, _size(node))))))


def _resize(node: ir.Node) -> Work:
    """Two operations per tap: 2 taps (linear) or 4 (cubic) along each axis that is scaled."""
    taps = {"linear": 2, "cubic": 4}.get(_text(node, "mode", "nearest"), 0)
    before, after = _shape(node, 0), shape_of(node.outputs[0])
    scaled = sum(old != new for old, new in zip(before, after, strict=False))
    return Work(ops=2 * taps**scaled * _written(node) if taps and scaled else 0)


def _grid_sample(node: ir.Node) -> Work:
    axes = len(_shape(node, 0)) - 2
    mode = _text(node, "mode", "linear")
    taps = {"nearest": 0, "cubic": 4, "bicubic": 4}.get(mode, 2)
    return Work(ops=_written(node) * (2 * taps**axes if taps else 0))


def _roi_align(node: ir.Node) -> Work:
    """Four interpolated samples per output (the count at ``sampling_ratio`` 2), 8 operations."""
    ratio = _int(node, "sampling_ratio", 0) or 2
    return Work(ops=_written(node) * ratio * ratio * 8)


def _fourier(node: ir.Node) -> Work:
    """A fast transform of length n: 5 n log2(n) operations (Cooley and Tukey's count)."""
    axis = shape_of(node.outputs[0])[-2]
    length = max(2, axis)
    return Work(ops=math.ceil(5 * (_written(node) // 2) * math.log2(length)))


def _determinant(node: ir.Node) -> Work:
    """LU factorization: n^3 / 3 MACs for each matrix."""
    shape = _shape(node, 0)
    return Work(macs=math.prod(shape[:-2]) * (shape[-1] ** 3 // 3))


_SOFTMAX: Final = TRANSCENDENTAL + DIVISION + 3  # max, subtract, exp, sum, divide
_SIGMOID: Final = TRANSCENDENTAL + DIVISION + 1

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
    "Sigmoid": _SIGMOID, "Swish": _SIGMOID + 1, "SwiGLU": _SIGMOID + 2,
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
    "NegativeLogLikelihoodLoss": 2, "SoftmaxCrossEntropyLoss": _SOFTMAX + 2,
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

_COUNTED: Final[dict[str, tuple[Kind, Callable[[ir.Node], Work]]]] = {
    "Conv": ("convolution", _convolution(1, 2)),
    "ConvInteger": ("convolution", _convolution(1, 4)),
    "QLinearConv": ("convolution", _convolution(3, 8)),
    "CausalConvWithState": ("depthwise", _convolution(1, 2)),
    "ConvTranspose": ("convolution", _transposed_convolution),
    "DeformConv": ("convolution", _deformable_convolution),
    "Gemm": ("matmul", _gemm),
    "MatMul": ("matmul", _matmul),
    "MatMulInteger": ("matmul", _matmul),
    "QLinearMatMul": ("matmul", _matmul),
    "Einsum": ("matmul", _einsum),
    "Det": ("matmul", _determinant),
    "LSTM": ("recurrent", _recurrent(4, 5)),
    "GRU": ("recurrent", _recurrent(3, 3)),
    "RNN": ("recurrent", _recurrent(1, 1)),
    "Attention": ("attention", _attention),
    "LinearAttention": ("attention", _linear_attention),
    "MaxPool": ("pool", _pool),
    "AveragePool": ("pool", _pool),
    "LpPool": ("pool", _pool),
    "MaxRoiPool": ("pool", _per_output(4)),
    "RoiAlign": ("pool", _roi_align),
    "Softmax": ("softmax", _per_output(_SOFTMAX)),
    "LogSoftmax": ("softmax", _per_output(_SOFTMAX)),
    "LRN": ("normalization", _lrn),
    "TopK": ("reduction", _top_k),
    "Unique": ("reduction", _sort),
    "Resize": ("movement", _resize),
    "GridSample": ("movement", _grid_sample),
    "DFT": ("other", _fourier),
    "STFT": ("other", _fourier),
}

#: Operators of our own domain: the ONNX operator with its data input and output channels-last.
_CHANNELS_LAST: Final = (
    "Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
)  # fmt: skip


def _table() -> dict[str, Operator]:
    rows: dict[str, tuple[Kind, Callable[[ir.Node], Work]]] = {
        **{name: ("elementwise", _per_output(ops)) for name, ops in _ELEMENTWISE.items()},
        **dict.fromkeys(_VARIADIC, ("elementwise", _variadic)),
        **{name: ("reduction", _per_input(ops)) for name, ops in _REDUCTIONS.items()},
        **{name: ("normalization", _per_input(ops)) for name, ops in _NORMALIZATIONS.items()},
        **{name: ("other", _per_output(ops)) for name, ops in _GENERATORS.items()},
        **dict.fromkeys((*_MOVES, *_SPARSE_MOVES, *_VIEWS), ("movement", _nothing)),
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
        table |= {f"{DOMAIN}.{name}{layout}": table[name] for layout in ("Nhwc", "Nwc")}
    return table


#: Every operator that is counted, by the name that `op_of` gives.
OPERATORS: Final[dict[str, Operator]] = _table()

#: What an operator outside the table is taken for: one operation per output element.
UNKNOWN: Final = Operator("other", _per_output(1))


def operator_of(node: ir.Node) -> Operator:
    """Return the operator's row; `UNKNOWN` for one that has none."""
    return OPERATORS.get(op_of(node), UNKNOWN)


def kind_of(node: ir.Node) -> Kind:
    """Return the node's kind: a convolution whose groups have one input channel is depthwise."""
    kind = operator_of(node).kind
    if kind != "convolution" or _int(node, "group", 1) == 1:
        return kind
    weight = _shape(node, 3 if node.op_type == "QLinearConv" else 1)
    return "depthwise" if weight[1] == 1 else kind
