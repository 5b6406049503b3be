"""Functions of float32 in arithmetic that vector units have, in place of calls for each number.

Each is within a few units in the last place of the exact result (`tests` hold them to numpy in
double precision), overflows and underflows where it has to, and passes on what is not a number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import tvm_ffi
from tvm import tirx
from tvm.ir import Call

#: TVM has no type hints: an expression of float32.
Expr: TypeAlias = Any

#: Above the one, exp is infinite; below the other, zero.
_HIGHEST, _LOWEST = 89.0, -104.0

#: ln 2 as two numbers, the first of which has few digits: n x it is exact. And the polynomial of
#: (exp(r) - 1 - r) / r^2 for |r| < ln 2 / 2, highest power first. Both are those of Cephes' expf
#: (S. Moshier, 1992).
_LN2: Final = (0.693359375, -2.12194440e-4)
_EXP: Final = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
    5.0000001201e-1,
)  # fmt: skip

#: Of the exponent of a float32.
_BIAS: Final = 127

#: Between these, exp(-x) is a normal number; and the polynomial of exp(-r) for |r| <= ln 2 / 2,
#: highest power first: least squares with weights that even its relative error out, to 9.2e-8.
_NORMAL: Final = (-88.3, 87.3)
_EXP_MINUS: Final = (-8.289363e-3, 4.189818e-2, -1.6667652e-1, 4.9999148e-1, -9.999997e-1, 1.0)

#: A number beyond it of moderate size is rounded to a whole one, whose last bits it then ends with.
_WHOLE: Final = 1.5 * 2**23

#: The polynomial of (tanh(x) - x) / x^3 in x^2 below this bound: Cephes' tanhf.
_TANH_BOUND: Final = 0.625
_TANH: Final = (
    -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1,
)  # fmt: skip

#: erf(x) as x P(x^2) / Q(x^2) for |x| < 4, where it is 1 but for rounding: Eigen's erf of float.
_ERF_BOUND: Final = 4.0
_ERF_P: Final = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_ERF_Q: Final = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
    -1.42647390514189e-02,
)  # fmt: skip


def with_arithmetic(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a kernel with arithmetic for each call of a function that is one of these.

    One that rounds to bfloat16 is left: TVM writes what it rounds several times, and then finds
    the names in it bound twice.
    """
    if _rounds_to_bfloat16(function):
        return function

    def replaced(call: Call) -> Any:
        formula = _FORMULAS.get(str(getattr(call.op, "name", "")))
        if formula is None or str(call.ty.dtype) != "float32":
            return call
        return let(call.args[0], formula)

    return tvm_ffi.structural_map(function, (Call, replaced))


def _rounds_to_bfloat16(function: tirx.PrimFunc) -> bool:
    found: list[bool] = []
    cast = (tirx.Cast, lambda node: found.append(str(node.ty.dtype).startswith("bfloat16")))
    tvm_ffi.structural_walk(function, cast)
    return any(found)


def let(value: Expr, body: Callable[[Expr], Expr]) -> Expr:
    """Return what a function makes of a value that is computed once."""
    variable = tirx.Var("v", str(value.ty.dtype))
    return tirx.Let(variable, value, body(variable))


def _number(value: float) -> Expr:
    return tirx.const(value, "float32")


def _polynomial(x: Expr, factors: Sequence[float]) -> Expr:
    """Return the polynomial with these factors, highest power first (Horner)."""
    first, *others = map(_number, factors)
    return functools.reduce(lambda total, factor: total * x + factor, others, first)


def _nearest(x: Expr) -> Expr:
    """TVM's own would be computed for one number at a time."""
    return tirx.call_llvm_pure_intrin("float32", "llvm.nearbyint", x)


def _exp(x: Expr) -> Expr:
    """2^n exp(r), where x = n ln 2 + r; 2^n in two factors, since n is up to 128, or below -126."""
    bounded = tirx.max(tirx.min(x, _number(_HIGHEST)), _number(_LOWEST))

    def of_power(power: Expr) -> Expr:
        rest = x - power * _number(_LN2[0]) - power * _number(_LN2[1])
        whole = power.astype("int32")
        return let(rest, lambda r: let(whole, lambda n: scaled(r, n)))

    def scaled(r: Expr, n: Expr) -> Expr:
        value = _polynomial(r, _EXP) * r * r + r + _number(1.0)
        half = tirx.shift_right(n, tirx.const(1, "int32"))
        return value * _two_to(half) * _two_to(n - half)

    power = _nearest(bounded * _number(1 / math.log(2)))
    return tirx.Select(x < _number(_LOWEST), _number(0.0), let(power, of_power))


def _two_to(n: Expr) -> Expr:
    """Return 2^n for -127 < n < 128: an exponent alone."""
    bits = tirx.shift_left(n + tirx.const(_BIAS, "int32"), tirx.const(23, "int32"))
    return tirx.reinterpret("float32", bits)


def _exp_minus(x: Expr) -> Expr:
    """exp(-x) where that is a normal number, and that of the bound beyond: for sums with 1.

    2^n exp(-r), where x = r - n ln 2. It takes half of what exp does.
    """
    low, high = map(_number, _NORMAL)

    def of_bounded(x: Expr) -> Expr:
        return let(x * _number(-1 / math.log(2)) + _number(_WHOLE + _BIAS), lambda n: of(x, n))

    def of(x: Expr, whole: Expr) -> Expr:
        n = whole - _number(_WHOLE + _BIAS)
        bits = tirx.shift_left(tirx.reinterpret("int32", whole), tirx.const(23, "int32"))
        rest = let(n, lambda n: x + n * _number(_LN2[0]) + n * _number(_LN2[1]))
        value = let(rest, lambda r: _polynomial(r, _EXP_MINUS))
        return value * tirx.reinterpret("float32", bits)

    # Of what is in no order, as what is not a number, these are the second.
    return let(tirx.max(low, tirx.min(high, x)), of_bounded)


def _sigmoid(x: Expr) -> Expr:
    return _number(1.0) / (_number(1.0) + _exp_minus(x))


def _tanh(x: Expr) -> Expr:
    """1 - 2 / (exp(2 x) + 1), and a polynomial where that would lose digits."""
    far = _number(1.0) - _number(2.0) / (let(x * _number(-2.0), _exp_minus) + _number(1.0))
    near = let(x * x, lambda square: _polynomial(square, _TANH) * square * x + x)
    return tirx.Select(tirx.abs(x) < _number(_TANH_BOUND), near, far)


def _erf(x: Expr) -> Expr:
    """Beyond the bound 1 with the sign of x: what is not a number has none, and is left."""
    one, zero = _number(1.0), _number(0.0)
    far = tirx.Select(x > zero, one, tirx.Select(x < zero, zero - one, x))
    near = let(x * x, lambda s: x * _polynomial(s, _ERF_P) / _polynomial(s, _ERF_Q))
    return tirx.Select(tirx.abs(x) < _number(_ERF_BOUND), near, far)


_FORMULAS: Final[dict[str, Callable[[Expr], Expr]]] = {
    "tirx.erf": _erf,
    "tirx.exp": _exp,
    "tirx.nearbyint": _nearest,
    "tirx.sigmoid": _sigmoid,
    "tirx.tanh": _tanh,
}
