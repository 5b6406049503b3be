"""Products of matrices."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..activations import activation_code
from ..call import Call, Converter, NotSaidError, Options
from .windows import no_bias


def gemm(call: Call) -> None:
    """alpha x W' + beta b, in the normal form alpha = beta = 1."""
    if call.attr("alpha", 1.0) != 1 or call.attr("beta", 1.0) != 1 or call.attr("transA", 0):
        raise NotSaidError("Gemm is not in normal form")
    weight = call.constant(1)
    if weight is None:
        _variable_gemm(call)
        return
    if not call.attr("transB", 0):
        weight = weight.transposed((1, 0))
    count = weight.array.shape[0]
    bias = call.constant(2) if call.has(2) else None
    tensor = no_bias(call, weight, count)
    if bias is not None:
        array = np.broadcast_to(bias.array.reshape(-1), (count,))
        tensor = call.weights(type(bias)(array, bias.quantization))
    inputs = [call.input(), call.weights(weight), tensor]
    call.emit("FULLY_CONNECTED", inputs, None, ("FullyConnectedOptions", _fields(call)))


def _fields(call: Call) -> dict[str, Any]:
    """Return the options of FULLY_CONNECTED; data that it rounds itself gets a zero point."""
    activation = activation_code(call.activation)
    return {"fusedActivationFunction": activation, "asymmetricQuantizeInputs": call.dynamic}


def _variable_gemm(call: Call) -> None:
    if call.has(2) or call.activation != "NONE":
        raise NotSaidError("a Gemm whose second factor is not constant takes no bias")
    options = ("BatchMatMulOptions", {"adjY": bool(call.attr("transB", 0))})
    call.emit("BATCH_MATMUL", [call.input(0), call.input(1)], None, options)


def matmul(call: Call) -> None:
    weight = call.constant(1)
    if weight is not None and weight.array.ndim == 2 and call.rank() > 1:
        last = weight.transposed((1, 0))
        bias = no_bias(call, last, last.array.shape[0])
        fields = {**_fields(call), "keepNumDims": call.rank() > 2}
        inputs = [call.input(), call.weights(last), bias]
        call.emit("FULLY_CONNECTED", inputs, None, ("FullyConnectedOptions", fields))
        return
    if call.activation != "NONE":
        raise NotSaidError("BATCH_MATMUL takes no activation")
    left, right = call.input(0), call.input(1)
    if call.rank(0) == 1:
        left = call.reshape(left, (1, *call.shape(0)))
    if call.rank(1) == 1:
        right = call.reshape(right, (*call.shape(1), 1))
    options: Options = ("BatchMatMulOptions", {})
    if call.rank(0) > 1 and call.rank(1) > 1:
        call.emit("BATCH_MATMUL", [left, right], None, options)
        return
    a, b = call.shape_of(left), call.shape_of(right)
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
    product = call.temporary(shape, call.output(), "product")
    call.emit("BATCH_MATMUL", [left, right], product, options)
    call.reshape(product, call.out_shape(), call.output())


MATRICES: Final[dict[str, Converter]] = {"Gemm": gemm, "MatMul": matmul}
