"""Compute one node of constant inputs, safely: what it would give is known before it is computed.

What a file says of a node's output is not believed: dtype and shape are inferred here from the
constants themselves, so that a few bytes that ask for terabytes are refused at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ..errors import ModelError
from .dialect import IR_VERSION
from .reference import Reference

#: Operators that only look at the same elements in another shape: computed without a copy.
VIEWS: Final = frozenset(["Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"])

_LINEAR = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot
BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu Clip Concat ConstantOfShape Cos Cosh
CumSum DepthToSpace Div Elu Equal Erf Exp Expand EyeLike Floor Gather GatherElements GatherND
Gelu Greater GreaterOrEqual HammingWindow HannWindow HardSigmoid HardSwish IsInf IsNaN
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Max Mean Min Mish Mod Mul Neg Not
OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Round
ScatterElements ScatterND Selu Sigmoid Sign Sin Sinh Slice Softmax Softplus Softsign
SpaceToDepth Split Sqrt Sub Sum Tan Tanh Tile TopK Trilu Where Xor
"""

#: Operators whose work is at most a small multiple of the elements they read and write.
LINEAR: Final = frozenset(_LINEAR.split())

#: Operators each of whose output elements may read every element of the largest input.
PRODUCTS: Final = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger", "Resize"])

#: The most multiplications for which a product is computed here: well under a second.
WORK: Final = 1 << 26

#: What ONNX Runtime takes and returns as plain numpy arrays.
_DTYPES: Final = frozenset(
    [
        ir.DataType.FLOAT,
        ir.DataType.DOUBLE,
        ir.DataType.FLOAT16,
        ir.DataType.BOOL,
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
    ]
)

#: Constants of so many elements at most are shown to shape inference: shapes, axes, sizes.
_SHOWN: Final = 1024


@dataclasses.dataclass(frozen=True)
class Result:
    """What a node will give: the dtype and the static shape of one output."""

    dtype: ir.DataType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return -(-math.prod(self.shape) * self.dtype.bitwidth // 8)


def foresee(
    node: ir.Node, inputs: Sequence[ir.TensorProtocol | None], opset: int
) -> tuple[Result, ...] | None:
    """Return what a node of these constant inputs would give; None if it is not computed here.

    That is: the operator is not in the tables above, its work is too large, an output's shape does
    not follow from the inputs, or it would do what stops a processor (divide integers by zero).
    """
    if node.domain != "" or node.op_type not in VIEWS | LINEAR | PRODUCTS:
        return None
    results = _inferred(node, inputs, opset)
    if results is None:
        return None
    if node.op_type in VIEWS:
        return None if results[0].dtype == ir.DataType.STRING else results
    given = [tensor for tensor in inputs if tensor is not None]
    dtypes = [tensor.dtype for tensor in given] + [result.dtype for result in results]
    if not _DTYPES.issuperset(dtypes):
        return None
    if node.op_type in PRODUCTS:
        written = sum(math.prod(result.shape) for result in results)
        if written * max((tensor.size for tensor in given), default=0) > WORK:
            return None
    return None if _traps(node, inputs) else results


def compute(
    node: ir.Node,
    inputs: Sequence[ir.TensorProtocol | None],
    results: Sequence[Result],
    opset: int,
) -> tuple[ir.TensorProtocol, ...] | None:
    """Return the outputs of a node that was foreseen; None if ONNX Runtime cannot compute it."""
    if node.op_type in VIEWS:
        return (_view(node, inputs, results[0]),)
    feeds = {f"i{index}": tensor for index, tensor in enumerate(inputs) if tensor is not None}
    try:
        outputs = Reference(_model_of(node, feeds, results, opset)).run(
            {name: tensor.numpy() for name, tensor in feeds.items()}
        )
    except ModelError:
        return None
    if any(
        array.shape != result.shape or array.dtype != result.dtype.numpy()
        for array, result in zip(outputs.values(), results, strict=True)
    ):
        return None
    return tuple(ir.Tensor(array) for array in outputs.values())


def _inferred(
    node: ir.Node, inputs: Sequence[ir.TensorProtocol | None], opset: int
) -> tuple[Result, ...] | None:
    import onnx  # heavy, and not needed where nothing is constant

    proto = ir.serde.serialize_node(node)
    types, data = {}, {}
    for index, tensor in enumerate(inputs):
        if tensor is None:
            continue
        name = proto.input[index] = f"i{index}"
        types[name] = onnx.helper.make_tensor_type_proto(tensor.dtype, tensor.shape.numpy())
        if tensor.size <= _SHOWN:
            data[name] = ir.serde.serialize_tensor(tensor)
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
        found = onnx.shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=[onnx.helper.make_opsetid("", opset)]
        )
    except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError):
        return None
    results = []
    for name in filter(None, proto.output):
        tensor_type = found[name].tensor_type if name in found else onnx.TypeProto.Tensor()
        dims = [dim.dim_value for dim in tensor_type.shape.dim if dim.HasField("dim_value")]
        known = tensor_type.HasField("shape") and len(dims) == len(tensor_type.shape.dim)
        if not known or min(dims, default=0) < 0 or not tensor_type.elem_type:
            return None
        results.append(Result(ir.DataType(tensor_type.elem_type), tuple(dims)))
    return tuple(results)


def _traps(node: ir.Node, inputs: Sequence[ir.TensorProtocol | None]) -> bool:
    """Whether the processor would stop at it: integers divided by 0, or the least one by -1."""
    if node.op_type not in ("Div", "Mod") or inputs[0] is None or inputs[1] is None:
        return False
    dividend, divisor = inputs[0].numpy(), inputs[1].numpy()
    if divisor.dtype.kind not in "iu":
        return False
    least = np.iinfo(dividend.dtype).min
    return bool(np.any(divisor == 0) or (np.any(divisor == -1) and np.any(dividend == least)))


def _view(
    node: ir.Node, inputs: Sequence[ir.TensorProtocol | None], result: Result
) -> ir.TensorProtocol:
    tensor = inputs[0]
    array = tensor.numpy() if tensor is not None else np.zeros(result.shape)
    if node.op_type == "Transpose":
        reverse = tuple(reversed(range(array.ndim)))
        return ir.Tensor(
            array.transpose(node.attributes.get_ints("perm", reverse)), dtype=result.dtype
        )
    return ir.Tensor(array.reshape(result.shape), dtype=result.dtype)


def _model_of(
    node: ir.Node, feeds: Mapping[str, ir.TensorProtocol], results: Sequence[Result], opset: int
) -> ir.Model:
    """Return a model of this node alone, its inputs called i0, i1 ... and its outputs o0, o1 ..."""
    inputs = {
        name: ir.val(name, tensor.dtype, tensor.shape.numpy()) for name, tensor in feeds.items()
    }
    wanted = iter(results)
    outputs = []
    for index, value in enumerate(node.outputs):
        result = next(wanted) if value.name else None
        outputs.append(ir.val(f"o{index}", result.dtype, result.shape) if result else ir.val(""))
    alone = ir.Node(
        "",
        node.op_type,
        [inputs.get(f"i{index}") for index in range(len(node.inputs))],
        node.attributes,
        outputs=outputs,
    )
    graph = ir.Graph(
        list(inputs.values()),
        [value for value in outputs if value.name],
        nodes=[alone],
        opset_imports={"": opset},
    )
    return ir.Model(graph, ir_version=IR_VERSION)
