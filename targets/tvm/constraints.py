"""What TVM cannot take, or would compute wrongly: every such node, with the reason.

A constraint is a small function of a node: it returns what breaks it, or None if it holds. Its
docstring is the reason, in the message and in the documentation. Nothing here imports TVM.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from ...errors import Problem
from ...lowering.dialect import DOMAIN
from ...lowering.matching import array_of, ints_of, shape_of
from ...lowering.own_operators import is_own
from ..constraints import (
    REDUCTIONS,
    Constraint,
    broken,
    constants,
    floats_to_interpolate,
    input_of,
    known_window,
    no_output,
    of_dtypes,
    oversized,
    place_of,
    space_of,
    values_of,
    whole_lengths,
)

#: Dtypes that code for CPUs is generated for; half precision is computed in single precision.
DTYPES: Final = (
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.INT8,
    ir.DataType.INT16,
    ir.DataType.INT32,
    ir.DataType.INT64,
    ir.DataType.UINT8,
    ir.DataType.UINT16,
    ir.DataType.UINT32,
    ir.DataType.UINT64,
    ir.DataType.BOOL,
)

#: Steps of all directions of a recurrent operator, each of which becomes code of its own.
MAX_STEPS: Final = 512

#: Along the axis of TopK; its work grows with the square.
MAX_RANKED: Final = 1 << 15

#: Bytes of all constants: the engine holds them in one object, addressed with 31 bits.
MAX_WEIGHTS: Final = (1 << 31) - (1 << 24)


def supported_dtypes(node: ir.Node) -> str | None:
    """Code for CPUs computes with booleans, integers of 8 to 64 bits and floats of 16 to 64.

    Constants of 4 bits are taken where DequantizeLinear reads them.
    """
    for value in values_of(node):
        if is_packed(value) and node.op_type == "DequantizeLinear" and array_of(value) is not None:
            continue
        if wrong := of_dtypes(value, DTYPES):
            return wrong
    return None


def some_elements(node: ir.Node) -> str | None:
    """A tensor without elements has no memory, which TVM's kernels cannot be given."""
    outputs = [value for value in node.outputs if value.name]
    for value in outputs:
        if is_empty(value) and value.is_graph_output():
            return f"{value.name!r} has shape {list(shape_of(value) or ())}"
    if all(map(is_empty, outputs)):
        return None  # nothing is left to compute
    unread = {*STEERING.get(node.op_type, ()), *_unread(node)}
    for index, read in enumerate(node.inputs):
        if read is not None and is_empty(read) and index not in unread:
            return f"{read.name!r} has shape {list(shape_of(read) or ())}"
    return None


def is_packed(value: ir.Value) -> bool:
    """Whether two numbers of a value share a byte."""
    return value.dtype in (ir.DataType.INT4, ir.DataType.UINT4)


def is_empty(value: ir.Value) -> bool:
    """Whether a value has no elements."""
    return 0 in (shape_of(value) or ())


def _unread(node: ir.Node) -> Iterator[int]:
    """Yield the inputs of a node whose elements, if there are any, do not matter."""
    if node.op_type == "Concat":
        yield from range(len(node.inputs))
    elif node.op_type == "CastLike":
        yield 1
    elif node.op_type in ("EyeLike", "Shape", "Size"):
        yield 0


def constant(*indices: int) -> Constraint:
    """Return the constraint that these inputs, if given, are constants."""
    reason = "What steers an operator is compiled into its code, so it must be a constant."
    return constants(*indices, reason=reason)


def one_of(attribute: str, default: str, *allowed: str, reason: str) -> Constraint:
    """Return the constraint that an attribute has one of these values."""

    def allowed_value(node: ir.Node) -> str | None:
        value = node.attributes.get_string(attribute, default)
        return None if value in allowed else f"{attribute} = {value!r}"

    allowed_value.__doc__ = reason
    return allowed_value


def constant_region(node: ir.Node) -> str | None:
    """The region of tf_crop_and_resize is compiled into the code, so it must be a constant."""
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    return constant(1)(node) if mode == "tf_crop_and_resize" else None


def single_precision(node: ir.Node) -> str | None:
    """Places are computed in single precision: cast them, and the image, to it."""
    for value in node.inputs:
        if value is not None and (wrong := of_dtypes(value, (ir.DataType.FLOAT,))):
            return wrong
    return None


def fixed_samples(node: ir.Node) -> str | None:
    """How many samples a region takes must not depend on its size, which is data."""
    ratio = node.attributes.get_int("sampling_ratio", 0)
    return None if ratio > 0 else f"sampling_ratio = {ratio}"


def few_steps(node: ir.Node) -> str | None:
    """Every step becomes code of its own: run a long sequence in pieces, with the state between."""
    shape = shape_of(node.inputs[0]) or (0, 0)
    directions = (shape_of(node.inputs[1]) or (1,))[0]
    steps = shape[1 if node.attributes.get_int("layout", 0) else 0] * directions
    return None if steps <= MAX_STEPS else f"{steps} steps, and {MAX_STEPS} are the most"


def whole_sequences(node: ir.Node) -> str | None:
    """All sequences of a batch run to the end: lengths are left out, or say just that."""
    value = input_of(node, 4)
    if value is None:
        return None
    shape = shape_of(node.inputs[0]) or (0, 0)
    steps = shape[1 if node.attributes.get_int("layout", 0) else 0]
    lengths = ints_of(value)
    if lengths is not None and all(length == steps for length in lengths):
        return None
    return f"sequence_lens, {value.name!r}, is {'data' if lengths is None else list(lengths)}"


def plain_activations(node: ir.Node) -> str | None:
    """The activations of a cell are Sigmoid, Tanh and Relu, without parameters."""
    named = node.attributes.get_strings("activations", ())
    for name in named:
        if name not in ("Sigmoid", "Tanh", "Relu"):
            return f"activation {name!r}"
    for name in ("activation_alpha", "activation_beta"):
        if name in node.attributes:
            return f"{name} = {list(node.attributes.get_floats(name, ()))}"
    return None


def few_ranked(node: ir.Node) -> str | None:
    """Ranking compares every element with every other, which takes seconds for more."""
    shape = shape_of(node.inputs[0]) or ()
    size = shape[node.attributes.get_int("axis", -1)] if shape else 1
    return None if size <= MAX_RANKED else f"{size} elements, and {MAX_RANKED} are the most"


def integers_out(node: ir.Node) -> str | None:
    """Quantized values are integers of 8 or 16 bits; TVM has no code for others."""
    dtype = node.outputs[0].dtype
    if dtype in (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16):
        return None
    return f"it gives {dtype.name if dtype else None}"


_SPACE: Final = space_of(3, "Windows slide over one, two or three dimensions.")
_WINDOW: Final = (known_window, _SPACE)
_CELL: Final = (few_steps, whole_sequences, plain_activations)
_NO_INDICES: Final = "The kernels of poolings give values, not where they were found."
_NO_MAXIMUM: Final = "ONNX takes the maximum of weighted neighbours, TVM that of sampled points."

#: Operators without constraints of their own.
_FREE: Final = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization BitCast BitShift
BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Cos Cosh
DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor
Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization
IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization
MatMul MatMulInteger Max MaxUnpool Mean MeanVarianceNormalization Min Mish Mod Mul Neg Not Or
PRelu Pow QLinearMatMul RMSNormalization Reciprocal Relu Reshape ReverseSequence Round
ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign
SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Transpose Unsqueeze Where
Xor
"""

#: Operator -> the inputs that say what it does, and are not worked on.
STEERING: Final[dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(REDUCTIONS, (1,)),
    **dict.fromkeys(("AffineGrid", "Compress", "CumProd", "CumSum"), (1,)),
    **dict.fromkeys(("OneHot", "Tile", "Trilu"), (1,)),
    "Pad": (1, 3),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
}

#: Operator -> what must hold besides the constraints of all operators. Every operator with a
#: converter is here, and no other: `tests/targets/tvm/test_constraints.py` holds the two together.
OPERATORS: Final[dict[str, tuple[Constraint, ...]]] = {
    **dict.fromkeys(_FREE.split(), ()),
    **{name: (constant(*indices),) for name, indices in STEERING.items()},
    **dict.fromkeys(("AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool"), _WINDOW),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _CELL),
    "GridSample": (_SPACE, single_precision),
    "MaxPool": (*_WINDOW, no_output(1, _NO_INDICES)),
    "QLinearConv": _WINDOW,
    "QuantizeLinear": (integers_out,),
    "Resize": (constant(2, 3), constant_region, whole_lengths, floats_to_interpolate),
    "RoiAlign": (one_of("mode", "avg", "avg", reason=_NO_MAXIMUM), fixed_samples),
    "TopK": (few_ranked,),
}


def check(model: ir.Model) -> list[Problem]:
    """Return every reason why TVM cannot take the lowered model, in the order of the graph."""
    problems = [problem for node in model.graph for problem in _problems(node)]
    return [*problems, *oversized(model, MAX_WEIGHTS)]


def _problems(node: ir.Node) -> list[Problem]:
    constraints = () if node.domain == DOMAIN else OPERATORS.get(node.op_type)
    # Of our own operators, which the passes write, we take all.
    known = is_own(node) or (node.domain == "" and node.op_type in OPERATORS)
    if constraints is None or not known:
        return [Problem(place_of(node), f"TVM cannot take the operator {node.op_type!r}")]
    return broken(node, (supported_dtypes, some_elements, *constraints))
