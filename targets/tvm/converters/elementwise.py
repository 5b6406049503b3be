"""Operators whose output element depends on the input elements at the same index."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from tvm import relax, te, tirx

from .call import HALF, Call, Converter, Expr, is_float, scalar

op = relax.op


def unary(function: Callable[[Expr], Expr]) -> Converter:
    """Return the converter of an operator that Relax has under another name."""
    return lambda call: function(call[0])


def binary(function: Callable[[Expr, Expr], Expr]) -> Converter:
    """Return the converter of an operator of two operands of one dtype, which broadcast."""
    return lambda call: function(call[0], call[1])


def variadic(function: Callable[[Expr, Expr], Expr]) -> Converter:
    """Return the converter of an operator of any number of operands, which broadcast."""
    return lambda call: functools.reduce(function, (x for x in call.inputs if x is not None))


def of_formula(formula: Callable[[Expr, Call], Expr]) -> Converter:
    """Return the converter of a function of one tensor; its operand is bound, hence reusable."""
    return lambda call: formula(call.emit(call[0]), call)


def _k(call: Call, value: float) -> Expr:
    return scalar(value, call.out_dtype())


def _mean(call: Call) -> Expr:
    total = functools.reduce(op.add, (x for x in call.inputs if x is not None))
    return op.divide(total, _k(call, len(call.inputs)))


def _mod(call: Call) -> Expr:
    """With ``fmod`` the sign of the dividend, without it the sign of the divisor."""
    dtype = call.dtype()
    if call.attr("fmod", 0):
        return op.mod(call[0], call[1])
    if not is_float(dtype):
        return op.floor_mod(call[0], call[1])
    zero, divisor = scalar(0, dtype), call.emit(call[1])
    rest = call.emit(op.mod(call[0], divisor))
    differs = op.logical_xor(op.less(rest, zero), op.less(divisor, zero))
    wrong = op.logical_and(op.not_equal(rest, zero), differs)
    return op.where(wrong, op.add(rest, divisor), rest)


def _power(call: Call) -> Expr:
    """The base's dtype is the result's; the exponent may have another."""
    dtype, exponent = call.dtype(), call.dtype(1)
    if is_float(dtype):
        return op.power(call[0], cast(call[1], exponent, dtype))
    if is_float(exponent):
        doubles = (cast(call[k], call.dtype(k), "float64") for k in (0, 1))
        return cast(op.power(*doubles), "float64", dtype)
    return _integer_power(call)


def _integer_power(call: Call) -> Expr:
    """Square and multiply; beyond the 63rd power only 0, 1 and -1 do not overflow."""
    dtype = call.dtype()
    exponent = call.emit(cast(call[1], call.dtype(1), "int64"))
    parity = op.bitwise_and(exponent, scalar(1, "int64"))
    large = op.greater(exponent, scalar(63, "int64"))
    exponent = call.emit(op.where(large, op.add(scalar(62, "int64"), parity), exponent))
    square, result = call[0], scalar(1, dtype)
    for bit in range(6):
        square = call.emit(square if bit == 0 else op.multiply(square, square))
        is_set = op.not_equal(
            op.bitwise_and(exponent, scalar(1 << bit, "int64")), scalar(0, "int64")
        )
        result = call.emit(op.multiply(result, op.where(is_set, square, scalar(1, dtype))))
    return op.broadcast_to(result, call.out_shape())


def _shift(call: Call) -> Expr:
    """A shift by the width or more gives 0 (right, of a negative number: -1), unlike in C."""
    dtype = call.dtype()
    width = int(np.iinfo(dtype).bits)
    amount = call.emit(call[1])
    right = call.attr("direction") == "RIGHT"
    largest = scalar(width - 1, dtype)
    shift = op.right_shift if right else op.left_shift
    inside = shift(call[0], op.minimum(amount, largest))
    if right and not dtype.startswith("uint"):
        return inside
    return op.where(op.greater(amount, largest), scalar(0, dtype), inside)


def _clip(call: Call) -> Expr:
    result = call[0]
    if call.has(1):
        result = op.maximum(result, call[1])
    if call.has(2):
        result = op.minimum(result, call[2])
    return result


def cast(expression: Expr, source: str, target: str) -> Expr:
    """Return the values as another dtype: towards zero for integers, non-zero for booleans."""
    if source == target:
        return expression
    if target == "bool":
        # Not "not equal", which is false of NaN, and which TVM makes of the negation of "equal".
        is_zero = op.astype(op.equal(expression, scalar(0, source)), "int8")
        return op.astype(op.subtract(scalar(1, "int8"), is_zero), "bool")
    if {source, target} & {"float64"} and {source, target} & set(HALF):
        # No CPU converts these in one step, and the compiler's helper is missing at run time.
        expression = op.astype(expression, "float32")
    return op.astype(expression, target)


def _equal(call: Call) -> Expr:
    if call.dtype() == "bool":
        return op.logical_not(op.logical_xor(call[0], call[1]))
    return op.equal(call[0], call[1])


def _bit_cast(call: Call) -> Expr:
    """The same bits, read as another dtype of the same width; a boolean is a byte, 0 or 1."""
    dtype = call.out_dtype()
    if "bool" in (dtype, call.dtype()):
        return op.astype(call[0], dtype)

    def compute(data: te.Tensor) -> te.Tensor:
        return te.compute(data.shape, lambda *i: tirx.reinterpret(dtype, data(*i)), name="bits")

    return call.builder.emit_te(compute, call.emit(call[0]), primfunc_name_hint="bit_cast")


def _is_infinite(call: Call) -> Expr:
    value = call.emit(call[0])
    infinity = np.inf
    positive = op.equal(value, scalar(infinity, call.dtype()))
    negative = op.equal(value, scalar(-infinity, call.dtype()))
    if not call.attr("detect_negative", 1):
        return positive
    if not call.attr("detect_positive", 1):
        return negative
    return op.logical_or(positive, negative)


def _prelu(call: Call) -> Expr:
    value = call.emit(call[0])
    return op.where(op.less(value, scalar(0, call.dtype())), op.multiply(value, call[1]), value)


def _leaky_relu(x: Expr, call: Call) -> Expr:
    scaled = op.multiply(x, _k(call, call.attr("alpha", 0.01)))
    return op.where(op.less(x, _k(call, 0)), scaled, x)


def _thresholded_relu(x: Expr, call: Call) -> Expr:
    return op.where(op.greater(x, _k(call, call.attr("alpha", 1.0))), x, _k(call, 0))


def _elu(x: Expr, call: Call) -> Expr:
    return exponential_unit(x, call, call.attr("alpha", 1.0), 1.0, 1.0)


def _celu(x: Expr, call: Call) -> Expr:
    alpha = call.attr("alpha", 1.0)
    return exponential_unit(x, call, alpha, 1.0, alpha)


def _selu(x: Expr, call: Call) -> Expr:
    gamma = call.attr("gamma", 1.0507009873554805)
    return exponential_unit(x, call, call.attr("alpha", 1.6732632423543772), gamma, 1.0)


def exponential_unit(x: Expr, call: Call, alpha: float, gamma: float, width: float) -> Expr:
    """Return gamma * x where x > 0 and gamma * alpha * (exp(x / width) - 1) elsewhere."""
    below = op.minimum(x, _k(call, 0))
    if width != 1.0:
        below = op.divide(below, _k(call, width))
    curve = op.multiply(_k(call, alpha * gamma), op.subtract(op.exp(below), _k(call, 1)))
    return op.add(op.multiply(_k(call, gamma), op.maximum(x, _k(call, 0))), curve)


def _softplus(x: Expr, call: Call) -> Expr:
    """log(1 + exp(x)), in a form that neither overflows nor loses small results."""

    def compute(data: te.Tensor) -> te.Tensor:
        return te.compute(data.shape, lambda *i: tirx.log1p(data(*i)), name="log1p")

    tail = call.builder.emit_te(compute, call.emit(op.exp(op.negative(op.abs(x)))))
    return op.add(op.maximum(x, _k(call, 0)), tail)


def _mish(x: Expr, call: Call) -> Expr:
    """x * tanh(log(1 + e)) with e = exp(x), which is x * n / (n + 2) with n = e * (e + 2).

    Beyond 20 the quotient is 1 in single precision (in double: beyond 40).
    """
    bound = 40 if call.dtype() == "float64" else 20
    e = call.emit(op.exp(op.minimum(x, _k(call, bound))))
    n = call.emit(op.multiply(e, op.add(e, _k(call, 2))))
    return op.multiply(x, op.divide(n, op.add(n, _k(call, 2))))


def _hard_sigmoid(x: Expr, call: Call, alpha: float, beta: float) -> Expr:
    line = op.add(op.multiply(x, _k(call, alpha)), _k(call, beta))
    return op.minimum(op.maximum(line, _k(call, 0)), _k(call, 1))


def _gelu(x: Expr, call: Call) -> Expr:
    half = op.multiply(x, _k(call, 0.5))
    if call.attr("approximate", "none") == "tanh":
        cube = op.multiply(op.multiply(x, x), x)
        inner = op.multiply(
            _k(call, float(np.sqrt(2 / np.pi))), op.add(x, op.multiply(_k(call, 0.044715), cube))
        )
        return op.multiply(half, op.add(_k(call, 1), op.tanh(inner)))
    return op.multiply(half, op.add(_k(call, 1), op.erf(op.multiply(x, _k(call, 2**-0.5)))))


def _shrink(x: Expr, call: Call) -> Expr:
    bias, bound = call.attr("bias", 0.0), call.attr("lambd", 0.5)
    below = op.where(op.less(x, _k(call, -bound)), op.add(x, _k(call, bias)), _k(call, 0))
    return op.where(op.greater(x, _k(call, bound)), op.subtract(x, _k(call, bias)), below)


def _swish(x: Expr, call: Call) -> Expr:
    return op.multiply(x, op.sigmoid(op.multiply(x, _k(call, call.attr("alpha", 1.0)))))


def _softsign(x: Expr, call: Call) -> Expr:
    return op.divide(x, op.add(_k(call, 1), op.abs(x)))


def _reciprocal(call: Call) -> Expr:
    return op.divide(_k(call, 1), call[0])


ELEMENTWISE: dict[str, Converter] = {
    **{
        name: unary(getattr(op, name.lower()))
        for name in (
            "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf",
            "Exp", "Floor", "IsNaN", "Log", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Sqrt",
            "Tan", "Tanh",
        )
    },
    "BitwiseNot": unary(op.bitwise_not),
    "Neg": unary(op.negative),
    "Not": unary(op.logical_not),
    "Add": binary(op.add),
    "And": binary(op.logical_and),
    "BitwiseAnd": binary(op.bitwise_and),
    "BitwiseOr": binary(op.bitwise_or),
    "BitwiseXor": binary(op.bitwise_xor),
    "Equal": _equal,
    "Greater": binary(op.greater),
    "GreaterOrEqual": binary(op.greater_equal),
    "Less": binary(op.less),
    "LessOrEqual": binary(op.less_equal),
    "Mul": binary(op.multiply),
    "Or": binary(op.logical_or),
    "Sub": binary(op.subtract),
    "Xor": binary(op.logical_xor),
    "Max": variadic(op.maximum),
    "Min": variadic(op.minimum),
    "Sum": variadic(op.add),
    "Mean": _mean,
    "BitCast": _bit_cast,
    "BitShift": _shift,
    "Cast": lambda call: cast(call[0], call.dtype(), call.out_dtype()),
    "CastLike": lambda call: cast(call[0], call.dtype(), call.out_dtype()),
    "Celu": of_formula(_celu),
    "Clip": _clip,
    "Div": binary(op.divide),
    "Elu": of_formula(_elu),
    "Gelu": of_formula(_gelu),
    "HardSigmoid": of_formula(
        lambda x, call: _hard_sigmoid(x, call, call.attr("alpha", 0.2), call.attr("beta", 0.5))
    ),
    "HardSwish": of_formula(lambda x, call: op.multiply(x, _hard_sigmoid(x, call, 1 / 6, 0.5))),
    "IsInf": _is_infinite,
    "LeakyRelu": of_formula(_leaky_relu),
    "Mish": of_formula(_mish),
    "Mod": _mod,
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "Relu": lambda call: op.maximum(call[0], scalar(0, call.dtype())),
    "Selu": of_formula(_selu),
    "Shrink": of_formula(_shrink),
    "Softplus": of_formula(_softplus),
    "Softsign": of_formula(_softsign),
    "Swish": of_formula(_swish),
    "ThresholdedRelu": of_formula(_thresholded_relu),
    "Where": lambda call: op.where(call[0], call[1], call[2]),
}  # fmt: skip
