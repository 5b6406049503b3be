"""Types and shapes of one node's outputs, by ONNX's own inference, guarded.

ONNX's inference is C++ that trusts some attributes: what was seen to end the process or to run
without end (by fuzzing every operator) is refused here before it is called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import onnx
import onnx_ir as ir

from ..matching import shape_of, tensor_of
from .limits import MAX_FOLDED_ELEMENTS
from .onnx_structure import schema_of
from .quantized import linear_fault, product_fault

Dims = list[int | None]

#: What calls into ONNX's C++ raise for a node that they cannot take.
REJECTIONS: Final = (
    onnx.shape_inference.InferenceError,
    onnx.checker.ValidationError,
    onnx.version_converter.ConvertError,
    IndexError,
    OverflowError,
    RuntimeError,
    ValueError,
)

#: Operators without an inference of their own, and one with the same types and shapes.
_SAME_TYPES: Final = {
    "GreaterOrEqual": ("Greater", 2),
    "GroupNormalization": ("Identity", 1),
    "LessOrEqual": ("Less", 2),
    "MeanVarianceNormalization": ("Identity", 1),
}

_EINSUM: Final = re.compile(r"[A-Za-z.,]*(->[A-Za-z.]*)?")


class InvalidNodeError(Exception):
    """What is wrong with a node, in one sentence."""


def infer(node: ir.Node, opsets: Mapping[str, int]) -> list[tuple[ir.DataType, Dims | None]]:
    """Return dtype and dimensions of each output of a node; None for what is not known.

    Args:
        node: its inputs have dtypes and static shapes; small constants among them are looked at.
        opsets: version by domain.

    Raises:
        InvalidNodeError: the node is invalid, or gives something that is no tensor.
    """
    guard = _GUARDS.get(node.op_type) if node.domain == "" else None
    if guard is not None and (fault := guard(node)):
        raise InvalidNodeError(fault)
    op_type, kept = node.op_type, len(node.inputs)
    proto = ir.serde.serialize_node(node)
    if node.domain == "" and op_type in _SAME_TYPES:
        op_type, kept = _SAME_TYPES[op_type]
        proto.op_type = op_type
        del proto.attribute[:]
    del proto.input[kept:]
    schema = schema_of(node.domain, op_type, opsets[node.domain])
    if schema is None:
        raise InvalidNodeError(f"{op_type} is not known in opset {opsets[node.domain]}")
    types, data = {}, {}
    for index, value in enumerate(node.inputs[:kept]):
        if value is not None:
            name = proto.input[index] = f"i{index}"
            types[name] = type_proto(value)
            if (tensor := tensor_of(value)) is not None and tensor.size <= MAX_FOLDED_ELEMENTS:
                data[name] = ir.serde.serialize_tensor(tensor)
    proto.output[:] = [f"o{index}" if v.name else "" for index, v in enumerate(node.outputs)]
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=imports
        )
    except REJECTIONS as error:
        raise InvalidNodeError(reason(error)) from error
    return [_output(found.get(f"o{index}"), v.name) for index, v in enumerate(node.outputs)]


def type_proto(value: ir.Value) -> onnx.TypeProto:
    """Return the type of a value of known dtype and static shape."""
    dtype = value.dtype or ir.DataType.UNDEFINED
    return onnx.helper.make_tensor_type_proto(dtype.value, shape_of(value))


def reason(error: BaseException) -> str:
    """Return the message of an error of ONNX's C++ without where it was raised."""
    text = str(error).strip().removeprefix("[ShapeInferenceError]")
    text = re.sub(r"^\S+:\d+: \S+: Assertion `.*?` failed: ", "", text.strip())
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _output(found: onnx.TypeProto | None, name: str | None) -> tuple[ir.DataType, Dims | None]:
    kind = found.WhichOneof("value") if found is not None else None
    if found is None or kind is None:
        return ir.DataType.UNDEFINED, None
    if kind != "tensor_type":
        raise InvalidNodeError(
            f"gives {name!r}, which is a {kind.removesuffix('_type')}; only tensors are possible"
        )
    dtype = ir.DataType(found.tensor_type.elem_type)
    if not found.tensor_type.HasField("shape"):
        return dtype, None
    dims = found.tensor_type.shape.dim
    return dtype, [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _rank(node: ir.Node, index: int = 0) -> int:
    shape = shape_of(node.inputs[index]) if index < len(node.inputs) else None
    return len(shape or ())


def _axis(node: ir.Node) -> str:
    axis, rank = node.attributes.get_int("axis", -1), _rank(node)
    return "" if -rank <= axis < rank else f"axis {axis} is not in an input of {rank} dimensions"


def _batch_dims(node: ir.Node) -> str:
    dims, rank = node.attributes.get_int("batch_dims", 0), min(_rank(node), _rank(node, 1))
    return "" if 0 <= dims < rank else f"batch_dims {dims} is not in inputs of {rank} dimensions"


def _num_outputs(node: ir.Node) -> str:
    count, outputs = node.attributes.get_int("num_outputs"), len(node.outputs)
    fits = count is None or count == outputs
    return "" if fits else f"num_outputs is {count}, but the node has {outputs} outputs"


def _channels(node: ir.Node, inputs: tuple[int, int, int] = (0, 1, 2)) -> str:
    """Convolutions: inference does not compare the channels of input, weights and bias."""
    data, weights, bias = (
        shape_of(node.inputs[index]) if index < len(node.inputs) else None for index in inputs
    )
    data, weights = data or (), weights or ()
    groups = node.attributes.get_int("group", 1)
    if len(data) < 3 or len(weights) != len(data):
        return f"input and weights of shape {list(data)} and {list(weights)} do not go together"
    turned = node.op_type == "ConvTranspose"
    taken, given = weights[0 if turned else 1], weights[1 if turned else 0]
    taken, given = (taken, given * groups) if turned else (taken * groups, given)
    if groups < 1 or data[1] != taken or weights[0] % groups:
        return (
            f"input of shape {list(data)} does not go with weights of shape {list(weights)} "
            f"in {groups} groups"
        )
    return "" if bias in (None, (given,)) else f"bias of shape {list(bias or ())} is not [{given}]"


def _quantized_channels(node: ir.Node) -> str:
    is_linear = node.op_type == "QLinearConv"
    return _channels(node, (0, 3, 8) if is_linear else (0, 1, 4)) or product_fault(node)


def _permutation(node: ir.Node) -> str:
    perm, rank = node.attributes.get_ints("perm"), _rank(node)
    fits = perm is None or sorted(perm) == list(range(rank))
    return "" if fits else f"perm {list(perm or ())} does not order {rank} dimensions"


def _equation(node: ir.Node) -> str:
    text = node.attributes.get_string("equation", "")
    equation = text.replace(" ", "")
    left, _, right = equation.partition("->")
    terms = left.split(",")
    subscripts = [term.replace("...", "", 1) for term in [*terms, right]]
    if (
        _EINSUM.fullmatch(equation) is None
        or any("." in letters for letters in subscripts)
        or len(set(subscripts[-1])) < len(subscripts[-1])
        or not set(subscripts[-1]) <= set("".join(subscripts[:-1]))
    ):
        return f"equation {text!r} is not one of Einsum"
    if len(terms) != len(node.inputs):
        return f"equation {text!r} has {len(terms)} terms for {len(node.inputs)} inputs"
    for index, (term, letters) in enumerate(zip(terms, subscripts, strict=False)):
        rank = _rank(node, index)
        if len(letters) > rank or ("..." not in term and len(letters) < rank):
            return f"term {term!r} of equation {text!r} does not fit an input of {rank} dimensions"
    return ""


#: What is wrong with a node, or "": what must not reach ONNX's inference, and what it lets through.
_GUARDS: Final[dict[str, Callable[[ir.Node], str]]] = {
    "Conv": _channels,
    "ConvInteger": _quantized_channels,
    "ConvTranspose": _channels,
    "DequantizeLinear": linear_fault,
    "Einsum": _equation,
    "GatherND": _batch_dims,
    "LayerNormalization": _axis,
    "MatMulInteger": product_fault,
    "QLinearConv": _quantized_channels,
    "QLinearMatMul": product_fault,
    "QuantizeLinear": linear_fault,
    "RMSNormalization": _axis,
    "Split": _num_outputs,
    "Transpose": _permutation,
}
