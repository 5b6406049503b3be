"""Operators on each element: arithmetic, comparison, logic, activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ....lowering.clamps import clamp_of
from ..activations import activation_code, activation_of
from ..call import Call, Constant, Converter, NotSaidError, Said
from ..flatbuffer import Quantization
from .windows import filling_of


def unary(operator: str, options: str = "", **fields: Any) -> Converter:
    """Return a converter to one operator of one input."""
    named = (options, fields) if options else None
    return lambda call: call.emit(operator, [call.input()], None, named)


def binary(operator: str, options: str = "", *, fuses: bool = False) -> Converter:
    """Return a converter to an operator of two inputs, which broadcast as numpy does."""

    def convert(call: Call) -> None:
        fields = {"fusedActivationFunction": activation_code(call.activation)} if fuses else {}
        named = (options, fields) if options else None
        call.emit(operator, [call.input(0), call.input(1)], None, named)

    return convert


def additive(operator: str, options: str) -> Converter:
    """Return a converter to a sum or difference.

    Kernels with a fused activation make infinite results the largest finite number, also where no
    activation is fused. A constant that is infinite in places (a mask) is put in afterwards.
    """
    plain = binary(operator, options, fuses=True)

    def convert(call: Call) -> None:
        masks = [item for item in map(call.constant, (0, 1)) if item is not None]
        if call.integer or not any(np.isinf(item.array).any() for item in masks):
            plain(call)
            return
        sign = np.float32(-1 if operator == "SUB" and call.constant(1) is not None else 1)
        mask = masks[0].array
        finite = call.make(np.where(np.isinf(mask), np.float32(0), mask), "finite")
        inputs = [call.input(0), call.input(1)]
        inputs[0 if call.constant(0) is not None else 1] = finite
        total = call.temporary(call.out_shape(), call.output(), "total")
        call.emit(operator, inputs, total, (options, {"fusedActivationFunction": 0}))
        where, infinite = call.make(np.isinf(mask), "where"), call.make(mask * sign, "infinite")
        result = (
            call.output()
            if call.activation == "NONE"
            else call.temporary(call.out_shape(), total, "sum")
        )
        call.emit("SELECT_V2", [where, infinite, total], result, ("SelectV2Options", {}))
        if call.activation != "NONE":
            call.emit(call.activation, [result])

    return convert


def equal(call: Call) -> None:
    """Equality; with an infinity, whether a number is beyond or at the largest finite one.

    What is infinite in ONNX may be the largest finite number here: see `additive`.
    """
    constants = [item for item in map(call.constant, (0, 1)) if item is not None]
    real = [item.array for item in constants if item.array.dtype == np.float32]
    if not real or not np.isinf(real[0]).all() or len({float(x) for x in real[0].flat}) != 1:
        call.emit("EQUAL", [call.input(0), call.input(1)], None, ("EqualOptions", {}))
        return
    data = call.input(1 if call.constant(0) is not None else 0)
    limit = np.copysign(np.finfo(np.float32).max, real[0])
    operator = ("LESS_EQUAL", "LessEqualOptions")
    if real[0].flat[0] > 0:
        operator = ("GREATER_EQUAL", "GreaterEqualOptions")
    bound = call.make(limit.astype(np.float32), "largest")
    call.emit(operator[0], [data, bound], None, (operator[1], {}))


def folded(operator: str, options: str = "") -> Converter:
    """Return a converter of an operator of any number of inputs, two at a time."""

    def convert(call: Call) -> None:
        inputs = [call.input(index) for index in range(len(call.node.inputs))]
        named: tuple[str, Mapping[str, Any]] | None = (options, {}) if options else None
        total = inputs[0]
        if len(inputs) == 1:
            call.reshape(total, call.out_shape(), call.output())
            return
        for index, item in enumerate(inputs[1:], 2):
            last = index == len(inputs)
            shape = np.broadcast_shapes(call.shape_of(total), call.shape_of(item))
            output = call.output() if last else call.temporary(shape, total, f"part_{index}")
            call.emit(operator, [total, item], output, named)
            total = output

    return convert


def clip(call: Call) -> None:
    found, data = clamp_of(call.node), call.input()
    operators = ("MAXIMUM", "MINIMUM")
    if found is None:
        given = [(name, index) for index, name in enumerate(operators, 1) if call.has(index)]
        _bound(call, data, [(name, call.input(index)) for name, index in given])
        return
    if call.writer.tensors[data].dtype == "float32" or call.integer:
        name = activation_of(found[1])
        if name is not None:
            call.emit(name, [data])
            return
    ends = zip(operators, (found[1].low, found[1].high), strict=True)
    _bound(
        call, data, [(name, filling_of(call, data, end)) for name, end in ends if end is not None]
    )


def _bound(call: Call, data: int, bounds: Sequence[tuple[str, int]]) -> None:
    """Give a tensor to operators with their bounds, one after the other."""
    for index, (operator, bound) in enumerate(bounds):
        last = index == len(bounds) - 1
        output = call.output() if last else call.temporary(call.shape(), data, "bounded")
        call.emit(operator, [data, bound], output, _EXTREME)
        data = output
    if not bounds:
        call.reshape(data, call.out_shape(), call.output())


def leaky_relu(call: Call) -> None:
    options = ("LeakyReluOptions", {"alpha": float(call.attr("alpha", 0.01))})
    call.emit("LEAKY_RELU", [call.input()], None, options)


def elu(call: Call) -> None:
    """x where it is positive, else alpha (exp(x) - 1); ELU itself has alpha = 1."""
    alpha, data = float(call.attr("alpha", 1.0)), call.input()
    if alpha == 1:
        call.emit("ELU", [data])
        return
    none = {"fusedActivationFunction": 0}
    unit, scaled = (call.temporary(call.shape(), data, name) for name in ("unit", "scaled"))
    where = call.writer.tensor(f"{call.node.name}/where", call.shape(), "bool")
    call.emit("ELU", [data], unit)
    call.emit("MUL", [unit, filling_of(call, data, alpha)], scaled, ("MulOptions", none))
    call.emit("GREATER", [data, filling_of(call, data, 0.0)], where, ("GreaterOptions", {}))
    call.emit("SELECT_V2", [where, data, scaled], None, ("SelectV2Options", {}))


def is_unit_elu(said: Said) -> bool:
    """Whether it is ELU itself."""
    return float(said.attr("alpha", 1.0)) == 1


def mean(call: Call) -> None:
    inputs = [call.input(index) for index in range(len(call.node.inputs))]
    none = {"fusedActivationFunction": 0}
    total = inputs[0]
    for index, item in enumerate(inputs[1:]):
        shape = np.broadcast_shapes(call.shape_of(total), call.shape_of(item))
        added = call.temporary(shape, total, f"total_{index}")
        call.emit("ADD", [total, item], added, ("AddOptions", none))
        total = added
    share = filling_of(call, total, 1 / len(inputs))
    call.emit("MUL", [total, share], None, ("MulOptions", none))


def gelu(call: Call) -> None:
    approximate = call.attr("approximate", "none") == "tanh"
    call.emit("GELU", [call.input()], None, ("GeluOptions", {"approximate": approximate}))


def silu(call: Call) -> None:
    """x * sigmoid(alpha x)."""
    data, alpha = call.input(), float(call.attr("alpha", 1.0))
    gate, scaled = call.temporary(call.shape(), call.output(), "gate"), data
    if call.integer:
        gate = call.writer.tensor(f"{call.node.name}/gate", call.shape(), "int8", SHARES)
    if alpha != 1:
        scaled = _multiplied(call, data, alpha)
    call.emit("LOGISTIC", [scaled], gate)
    call.emit("MUL", [data, gate], None, ("MulOptions", {"fusedActivationFunction": 0}))


def hard_sigmoid(call: Call) -> None:
    """max(0, min(1, alpha x + beta)).

    Integers of scale 1/256 and zero point -128 are bounded by what they can be: 0 and 255/256.
    """
    data, beta = call.input(), float(call.attr("beta", 0.5))
    scaled = _multiplied(call, data, float(call.attr("alpha", 0.2)))
    none = {"fusedActivationFunction": 0}
    if call.integer:
        output = call.output()
        found = call.writer.tensors[output].quantization
        named = f"{call.node.name}/shares"
        exact = found is not None and found.key == SHARES.key
        shares = output if exact else call.writer.tensor(named, call.shape(), "int8", SHARES)
        call.emit("ADD", [scaled, _stored(call, beta)], shares, ("AddOptions", none))
        if not exact:
            call.emit("QUANTIZE", [shares], output, ("QuantizeOptions", {}))
        return
    moved = call.temporary(call.shape(), data, "moved")
    relu = {"fusedActivationFunction": activation_code("RELU")}
    call.emit("ADD", [scaled, filling_of(call, data, beta)], moved, ("AddOptions", relu))
    call.emit("MINIMUM", [moved, filling_of(call, data, 1.0)], None, _EXTREME)


#: What int8 shares of 1 mean.
SHARES: Final = Quantization(np.array([1 / 256], np.float32), np.array([-128], np.int64))


def is_rising(said: Said) -> bool:
    """Whether what the node multiplies by is positive, so that it can be part of a scale."""
    return float(said.attr("alpha", 1.0)) > 0


def _multiplied(call: Call, data: int, factor: float) -> int:
    """Multiply by a number; integers stay as they are, and mean others."""
    known = call.writer.tensors[data]
    found, other = known.quantization, filling_of(call, data, factor)
    if call.integer and found is not None:
        found = dataclasses.replace(found, scale=(found.scale * factor).astype(np.float32))
        other = _stored(call, factor)
    scaled = call.writer.tensor(f"{call.node.name}/scaled", known.shape, known.dtype, found)
    call.emit("MUL", [data, other], scaled, ("MulOptions", {"fusedActivationFunction": 0}))
    return scaled


def _stored(call: Call, number: float) -> int:
    """Return a number as an int8 scalar: 127 times a scale of its own."""
    size = abs(number) or 1.0
    meaning = Quantization(np.array([size / 127], np.float32), np.array([0], np.int64))
    return call.make(Constant(np.array(round(127 * number / size), np.int8), meaning), "number")


_EXTREME: Final = ("MaximumMinimumOptions", dict[str, Any]())


def power(call: Call) -> None:
    """Raise to a power of the same dtype; an integer to a real one as a real number."""
    base, exponent = call.input(0), call.input(1)
    known = call.writer.tensors
    if known[base].dtype == known[exponent].dtype:
        call.emit("POW", [base, exponent], None, ("PowOptions", {}))
        return
    given = [call.cast(tensor, "float32", f"real_{tensor}") for tensor in (base, exponent)]
    if known[base].dtype == "float32":
        call.emit("POW", given, None, ("PowOptions", {}))
        return
    result = call.writer.tensor(f"{call.node.name}/power", call.out_shape(), "float32")
    call.emit("POW", given, result, ("PowOptions", {}))
    call.emit("CAST", [result], None, ("CastOptions", {}))


def prelu(call: Call) -> None:
    call.emit("PRELU", [call.input(0), call.input(1)])


def cast(call: Call) -> None:
    call.emit("CAST", [call.input()], None, ("CastOptions", {}))


def reciprocal(call: Call) -> None:
    data = call.input()
    one = filling_of(call, data, 1.0)
    call.emit("DIV", [one, data], None, ("DivOptions", {"fusedActivationFunction": 0}))


def where(call: Call) -> None:
    call.emit("SELECT_V2", [call.input(index) for index in range(3)], None, ("SelectV2Options", {}))


def modulo(call: Call) -> None:
    if call.attr("fmod", 0):
        raise NotSaidError("FLOOR_MOD is no fmod")
    call.emit("FLOOR_MOD", [call.input(0), call.input(1)], None, ("FloorModOptions", {}))


def xor(call: Call) -> None:
    call.emit("NOT_EQUAL", [call.input(0), call.input(1)], None, ("NotEqualOptions", {}))


def is_nan(call: Call) -> None:
    """Only what is no number is unequal to itself."""
    call.emit("NOT_EQUAL", [call.input(), call.input()], None, ("NotEqualOptions", {}))


ELEMENTWISE: Final[dict[str, Converter]] = {
    "Abs": unary("ABS", "AbsOptions"),
    "Add": additive("ADD", "AddOptions"),
    "And": binary("LOGICAL_AND", "LogicalAndOptions"),
    "Cast": cast,
    "Ceil": unary("CEIL"),
    "Clip": clip,
    "Cos": unary("COS", "CosOptions"),
    "Div": binary("DIV", "DivOptions", fuses=True),
    "Elu": elu,
    "Equal": equal,
    "Exp": unary("EXP", "ExpOptions"),
    "Floor": unary("FLOOR"),
    "Gelu": gelu,
    "Greater": binary("GREATER", "GreaterOptions"),
    "GreaterOrEqual": binary("GREATER_EQUAL", "GreaterEqualOptions"),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": unary("HARD_SWISH", "HardSwishOptions"),
    "IsNaN": is_nan,
    "LeakyRelu": leaky_relu,
    "Less": binary("LESS", "LessOptions"),
    "LessOrEqual": binary("LESS_EQUAL", "LessEqualOptions"),
    "Log": unary("LOG"),
    "Max": folded("MAXIMUM", "MaximumMinimumOptions"),
    "Mean": mean,
    "Min": folded("MINIMUM", "MaximumMinimumOptions"),
    "Mod": modulo,
    "Mul": binary("MUL", "MulOptions", fuses=True),
    "Neg": unary("NEG", "NegOptions"),
    "Not": unary("LOGICAL_NOT", "LogicalNotOptions"),
    "Or": binary("LOGICAL_OR", "LogicalOrOptions"),
    "PRelu": prelu,
    "Pow": power,
    "Reciprocal": reciprocal,
    "Relu": unary("RELU"),
    "Round": unary("ROUND"),
    "Sigmoid": unary("LOGISTIC"),
    "Sign": unary("SIGN", "SignOptions"),
    "Sin": unary("SIN"),
    "Sqrt": unary("SQRT"),
    "Sub": additive("SUB", "SubOptions"),
    "Sum": folded("ADD", "AddOptions"),
    "Swish": silu,
    "Tanh": unary("TANH"),
    "Where": where,
    "Xor": xor,
}
