"""Products, normalizations and what else networks are made of, without windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ..schedules.arithmetic import FLOATS
from .call import Call, Converted, Converter, Expr, constant, reshaped, scalar
from .dynamic_products import dynamic_product, is_worth
from .elementwise import cast
from .products import POINT, product
from .rows import normalization, takes
from .stored import multiply_stored, stored_weight
from .tiles import Index, Tensor

op = relax.op


def _gemm(call: Call) -> Expr:
    """alpha * A' B' + beta * C."""
    if _constant(call) is not None:
        call = call.native
    if _is_normal(call):
        stored = stored_weight(call, (1, 0) if call.attr("transB", 0) else (0, 1))
        if stored is not None:
            return multiply_stored(call, stored)
    a, b = (
        op.permute_dims(call[k], (1, 0)) if call.attr(name, 0) else call[k]
        for k, name in enumerate(("transA", "transB"))
    )
    dtype = call.out_dtype()
    weight = _constant(call)
    if weight is None:
        result = _computed(call, a, b)
    else:
        result = multiply(call, a, weight.T if call.attr("transB", 0) else weight)
    alpha, beta = call.attr("alpha", 1.0), call.attr("beta", 1.0)
    if alpha != 1.0:
        result = op.multiply(result, scalar(alpha, dtype))
    if call.has(2) and beta != 0.0:
        bias = call[2] if beta == 1.0 else op.multiply(call[2], scalar(beta, dtype))
        result = op.add(result, bias)
    return result


def _is_normal(call: Call) -> bool:
    """Whether a Gemm is A B' + C, with one number of C for each column."""
    plain = call.attr("alpha", 1.0) == call.attr("beta", 1.0) == 1.0
    columns = not call.has(2) or call.shape(2) == call.out_shape()[1:]
    return plain and columns and not call.attr("transA", 0)


def matmul(call: Call, a: Expr, b: Expr, out_dtype: str | None = None) -> Expr:
    """Return numpy's matmul of inputs 0 and 1 (or expressions of their shapes)."""
    return reshaped(op.matmul(a, b, out_dtype), call.out_shape())


def _matmul(call: Call) -> Expr:
    if is_worth(call.native) or (_constant(call) is not None and call.rank(1) == 2 <= call.rank()):
        call = call.native
    stored = stored_weight(call, (0, 1)) if call.rank(1) == 2 else None
    if stored is not None:
        return multiply_stored(call, stored)
    weight = _constant(call)
    if weight is not None and weight.ndim == 2 and call.rank() >= 2:
        return multiply(call, call[0], weight)
    return _computed(call, call[0], call[1])


def _computed(call: Call, a: Expr, b: Expr) -> Expr:
    """Return the product of two operands that are both computed."""
    if is_worth(call):
        return dynamic_product(call, a, b, call.out_shape())
    return matmul(call, a, b)


def _constant(call: Call) -> np.ndarray | None:
    """Return the second operand if it is a constant."""
    value = call.node.inputs[1]
    return None if value is None or value.const_value is None else call.array(1)


def multiply(call: Call, a: Expr, weight: np.ndarray) -> Expr:
    """Return the product of (..., M, K) with a constant (K, N)."""
    if call.core is None or str(weight.dtype) not in FLOATS:
        return op.matmul(a, constant(weight))
    data = call.emit(a)
    *lead, _ = data.ty.shape
    return product(call, data, weight[None], POINT, (*map(int, lead), weight.shape[1]))


def _einsum(call: Call) -> Expr:
    return op.einsum(tuple(call.inputs), call.attr("equation").replace(" ", ""))


def _per_channel(call: Call, x: Expr) -> Expr:
    """Return one number for each channel so that it broadcasts with input 0."""
    return reshaped(x, (1, call.shape()[1], *(1,) * (call.rank() - 2)))


def _batch_normalization(call: Call) -> Expr:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, as one multiplication and addition."""
    dtype, rank = call.dtype(), call.rank()
    scale, bias, mean, variance = (cast(call[k], call.dtype(k), dtype) for k in range(1, 5))
    deviation = op.sqrt(op.add(variance, scalar(call.attr("epsilon", 1e-5), dtype)))
    factor = call.emit(op.divide(scale, deviation))
    shift = op.subtract(bias, op.multiply(mean, factor))
    if rank == 1:
        return op.add(op.multiply(call[0], factor), shift)
    return op.add(op.multiply(call[0], _per_channel(call, factor)), _per_channel(call, shift))


def normalized(
    call: Call, x: Expr, axes: Sequence[int], epsilon: float, dtype: str
) -> tuple[Expr, Expr, Expr]:
    """Return (x - mean) / sqrt(variance + epsilon) over axes, and mean and 1 / sqrt(...)."""
    x = call.emit(x)
    mean = call.emit(op.mean(x, list(axes), keepdims=True))
    centred = call.emit(op.subtract(x, mean))
    variance = op.mean(op.multiply(centred, centred), list(axes), keepdims=True)
    inverse = op.divide(scalar(1, dtype), op.sqrt(op.add(variance, scalar(epsilon, dtype))))
    inverse = call.emit(inverse)
    return op.multiply(centred, inverse), mean, inverse


def _layer_normalization(call: Call) -> Converted:
    dtype, axes = call.dtype(), range(call.axis(-1), call.rank())
    if len(call.node.outputs) == 1 and takes(call, axes):
        return _normalized_rows(call, len(axes))
    y, mean, inverse = normalized(call, call[0], axes, call.attr("epsilon", 1e-5), dtype)
    y = op.multiply(y, call[1])
    if call.has(2):
        y = op.add(y, call[2])
    return [y, mean, inverse][: len(call.node.outputs)]


def _normalized_rows(call: Call, axes: int) -> Expr:
    """Return a layer's normalization with its scale and bias, whose shape is that of a row."""
    shape = call.shape()[call.rank() - axes :]
    others = [
        call.emit(reshaped(op.broadcast_to(call[k], shape), (math.prod(shape),)))
        for k in (1, 2)
        if call.has(k)
    ]

    def finish(value: Any, row: Index, k: Any, scale: Tensor, bias: Tensor | None = None) -> Any:
        scaled = value * scale(k)
        return scaled if bias is None else scaled + bias(k)

    y = normalization(call, call[0], axes, call.attr("epsilon", 1e-5), others, finish)
    return reshaped(call.rounded(y), call.out_shape())


def _rms_normalization(call: Call) -> Expr:
    dtype, axes = call.dtype(), list(range(call.axis(-1), call.rank()))
    x = call.emit(call[0])
    square = op.mean(op.multiply(x, x), axes, keepdims=True)
    root = op.sqrt(op.add(square, scalar(call.attr("epsilon", 1e-5), dtype)))
    return op.multiply(op.divide(x, root), call[1])


def _scaled(call: Call, y: Expr) -> Expr:
    """Multiply by inputs 1 and add input 2, one number for each channel."""
    return op.add(op.multiply(y, _per_channel(call, call[1])), _per_channel(call, call[2]))


def _instance_normalization(call: Call) -> Expr:
    axes, epsilon = range(2, call.rank()), call.attr("epsilon", 1e-5)
    if takes(call, axes):

        def finish(value: Any, row: Index, k: Any, scale: Tensor, bias: Tensor) -> Any:
            return value * scale(row[1]) + bias(row[1])

        y = normalization(call, call[0], len(axes), epsilon, [call[1], call[2]], finish)
        return reshaped(call.rounded(y), call.out_shape())
    return _scaled(call, normalized(call, call[0], axes, epsilon, call.dtype())[0])


def _group_normalization(call: Call) -> Expr:
    """Scale and bias have one number for each channel (opset 21)."""
    n, channels, *space = call.shape()
    groups = call.attr("num_groups")
    each, size = channels // groups, math.prod(space)
    x = reshaped(call[0], (n, groups, each * size))
    if takes(call, range(1, call.rank())):

        def finish(value: Any, row: Index, k: Any, scale: Tensor, bias: Tensor) -> Any:
            channel = row[1] * each + tirx.floordiv(k, size)
            return value * scale(channel) + bias(channel)

        y = normalization(call, x, 1, call.attr("epsilon", 1e-5), [call[1], call[2]], finish)
        return reshaped(call.rounded(y), call.shape())
    y, _, _ = normalized(call, x, (2,), call.attr("epsilon", 1e-5), call.dtype())
    return _scaled(call, reshaped(y, call.shape()))


def _mean_variance_normalization(call: Call) -> Expr:
    axes = call.attr("axes", (0, 2, 3))
    dtype = call.dtype()
    x = call.emit(call[0])
    mean = call.emit(op.mean(x, list(axes), keepdims=True))
    centred = call.emit(op.subtract(x, mean))
    variance = op.mean(op.multiply(centred, centred), list(axes), keepdims=True)
    # The operator's own definition adds 1e-9 to the deviation.
    return op.divide(centred, op.add(op.sqrt(variance), scalar(1e-9, dtype)))


def _lp_normalization(call: Call) -> Expr:
    """x / norm; where the norm is zero, zero."""
    axis, dtype = call.axis(-1), call.dtype()
    x = call.emit(call[0])
    if call.attr("p", 2) == 1:
        norm = op.sum(op.abs(x), axis, keepdims=True)
    else:
        norm = op.sqrt(op.sum(op.multiply(x, x), axis, keepdims=True))
    norm = call.emit(norm)
    zero = op.equal(norm, scalar(0, dtype))
    safe = op.where(zero, scalar(1, dtype), norm)
    return op.where(zero, scalar(0, dtype), op.divide(x, safe))


def _local_response_normalization(call: Call) -> Expr:
    """x / (bias + alpha / size * sum of squares of `size` channels around)^beta."""
    size, dtype = call.attr("size"), call.dtype()
    before, channels = (size - 1) // 2, call.shape()[1]
    x = call.emit(call[0])

    def around(data: te.Tensor) -> te.Tensor:
        def compute(*index: tirx.Expr) -> tirx.Expr:
            tap = te.reduce_axis((0, size), "tap")
            channel = index[1] + tap - before
            value = data(index[0], channel, *index[2:])
            inside = tirx.all(channel >= 0, channel < channels)
            return te.sum(tirx.if_then_else(inside, value * value, tirx.const(0, dtype)), axis=tap)

        return te.compute(data.shape, compute, name="squares")

    squares = call.builder.emit_te(around, x, primfunc_name_hint="lrn")
    alpha, bias = call.attr("alpha", 1e-4), call.attr("bias", 1.0)
    inner = op.add(scalar(bias, dtype), op.multiply(scalar(alpha / size, dtype), squares))
    return op.divide(x, op.power(inner, scalar(call.attr("beta", 0.75), dtype)))


NETWORKS: dict[str, Converter] = {
    "BatchNormalization": _batch_normalization,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LRN": _local_response_normalization,
    "LayerNormalization": _layer_normalization,
    "LpNormalization": _lp_normalization,
    "MatMul": _matmul,
    "MeanVarianceNormalization": _mean_variance_normalization,
    "RMSNormalization": _rms_normalization,
}
