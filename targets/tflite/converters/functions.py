"""Functions of one number that have no operator of their own: said by several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..call import Call, Converter, Options
from .windows import filling_of

_NONE: Final = {"fusedActivationFunction": 0}
_EXTREME: Final = ("MaximumMinimumOptions", dict[str, Any]())


def erf(call: Call) -> None:
    """x P(x^2) / Q(x^2) for x from -4 to 4, beyond which erf is 1 in single precision.

    Wrong by less than 5e-7 of the result, everywhere, in single precision. Source of the
    coefficients: the rational minimax approximation of Eigen's `generic_fast_erf_float`.
    """
    data, shape = call.input(), call.shape()

    def made(name: str, operator: str, options: Options | None, *inputs: int) -> int:
        output = call.temporary(shape, data, name)
        call.emit(operator, inputs, output, options)
        return output

    def polynomial(name: str, coefficients: Sequence[float]) -> int:
        """Return the polynomial of the square, by Horner's rule."""
        total = filling_of(call, data, coefficients[-1])
        for index, number in enumerate(coefficients[-2::-1]):
            product = made(f"{name}_{index}_times", "MUL", ("MulOptions", _NONE), square, total)
            start = filling_of(call, data, number)
            total = made(f"{name}_{index}", "ADD", ("AddOptions", _NONE), product, start)
        return total

    low = made("low", "MINIMUM", _EXTREME, data, filling_of(call, data, 4.0))
    x = made("bounded", "MAXIMUM", _EXTREME, low, filling_of(call, data, -4.0))
    square = made("square", "MUL", ("MulOptions", _NONE), x, x)
    above = made("above", "MUL", ("MulOptions", _NONE), x, polynomial("p", _ERF_ABOVE))
    below = polynomial("q", _ERF_BELOW)
    call.emit("DIV", [above, below], None, ("DivOptions", _NONE))


_ERF_ABOVE: Final = (
    -1.60960333262415e-02, -2.95459980854025e-03, -7.34990630326855e-04, -5.69250639462346e-05,
    -2.10102402082508e-06, 2.77068142495902e-08, -2.72614225801306e-10,
)  # fmt: skip
_ERF_BELOW: Final = (
    -1.42647390514189e-02, -7.37332916720468e-03, -1.68282697438203e-03, -2.13374055278905e-04,
    -1.45660718464996e-05,
)  # fmt: skip


def softplus(call: Call) -> None:
    """log(1 + exp(x)) as max(x, 0) + log(1 + e) with e = exp(-|x|), where nothing overflows.

    Where e is below 1/64, log(1 + e) is e (1 - e (1/2 - e (1/3 - e/4))), which is wrong by less
    than e^5/5; the logarithm is not exact there.
    """
    data, shape, none = call.input(), call.shape(), {"fusedActivationFunction": 0}
    one = filling_of(call, data, 1.0)

    def made(name: str, operator: str, options: Options | None, *inputs: int) -> int:
        output = call.temporary(shape, data, name)
        call.emit(operator, inputs, output, options)
        return output

    size = made("size", "ABS", ("AbsOptions", {}), data)
    e = made("e", "EXP", ("ExpOptions", {}), made("opposite", "NEG", ("NegOptions", {}), size))
    series = filling_of(call, data, 1 / 4)
    for index, number in enumerate((1 / 3, 1 / 2, 1.0)):
        term = made(f"term_{index}", "MUL", ("MulOptions", none), e, series)
        start = filling_of(call, data, number)
        series = made(f"series_{index}", "SUB", ("SubOptions", none), start, term)
    near = made("near", "MUL", ("MulOptions", none), e, series)
    far = made("far", "LOG", None, made("u", "ADD", ("AddOptions", none), e, one))
    is_near = call.writer.tensor(f"{call.node.name}/is_near", shape, "bool")
    call.emit("LESS", [e, filling_of(call, data, 1 / 64)], is_near, ("LessOptions", {}))
    rest = made("rest", "SELECT_V2", ("SelectV2Options", {}), is_near, near, far)
    positive = made("positive", "RELU", None, data)
    call.emit("ADD", [positive, rest], None, ("AddOptions", none))


def mish(call: Call) -> None:
    """x tanh(softplus(x)), which is x n / (n + 2) with n = e (e + 2) and e = exp(x).

    From 20 on it is x in single precision.
    """
    data, none = call.input(), {"fusedActivationFunction": 0}
    names = ("bounded", "power", "more", "n", "below", "share")
    bounded, power, more, n, below, share = (
        call.temporary(call.shape(), data, name) for name in names
    )
    two = filling_of(call, data, 2.0)
    call.emit("MINIMUM", [data, filling_of(call, data, 20.0)], bounded, _EXTREME)
    call.emit("EXP", [bounded], power, ("ExpOptions", {}))
    call.emit("ADD", [power, two], more, ("AddOptions", none))
    call.emit("MUL", [power, more], n, ("MulOptions", none))
    call.emit("ADD", [n, two], below, ("AddOptions", none))
    call.emit("DIV", [n, below], share, ("DivOptions", none))
    call.emit("MUL", [data, share], None, ("MulOptions", none))


FUNCTIONS: Final[dict[str, Converter]] = {"Erf": erf, "Mish": mish, "Softplus": softplus}
