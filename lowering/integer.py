"""Our integer operators, and what defines them: ONNX functions over the standard operators.

All have one form (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, section 2.2): int8 or uint8 numbers, less their zero
points, are multiplied and added as int32, exactly; and the sum is *requantized*:

    y = clip(round(float32(sum) x multiplier) + y_zero_point, low, high)

rounding halves to even, in the dtype of ``y_zero_point``. The conversion of the sum to float32
rounds to nearest, and it and the one product are the only arithmetic that is not in integers: no
order of summation, no vector width and no contraction of products and sums changes a bit of it.
The operators called ``...Float`` give float32(sum) x multiplier itself, and ``QTable`` gives the
number of a table of 256, which lie in the order of integers modulo 256.

``QConv`` and its kin are Conv: weights O x I/group x kernel, symmetric; pads stand for real zeros.
``QMatMul`` is MatMul by a matrix, ``QAveragePool`` a mean (the multiplier divides by the count) of
whole windows, ``QMul`` a product, ``QRescale`` the number itself on another scale. ``QAdd`` is a
sum of numbers of two scales: each is first multiplied by an int32 factor, and ``bias`` makes up for
both zero points. Bias and multiplier are broadcast to the output.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Final

import onnx
import onnx_ir as ir

from .layout.nhwc import CHANNELS_LAST, SUFFIXES
from .opset import DOMAIN, WORKING_OPSET

_CONV: Final = ("dilations", "group", "kernel_shape", "pads", "strides")
_POOL: Final = ("channels", "dilations", "kernel_shape", "pads", "strides")

#: x less its zero point, as int32.
_CENTRED: Final = """
    {x}_wide = Cast <to = 6> ({x})
    {x}_zero = Cast <to = 6> ({x}_zero_point)
    {x}_centred = Sub ({x}_wide, {x}_zero)
"""

#: The sums over windows, in integers of 8 bits without sign: the one kind whose products ONNX
#: Runtime adds up exactly on every machine. What is above zero and what is below are summed apart.
_WINDOWED: Final = """
    nothing = Constant <value = int32 {{0}}> ()
    unsigned_nothing = Constant <value = uint8 {{0}}> ()
    unsigned_middle = Constant <value = uint8 {{128}}> ()
    negated = Neg (x_first)
    positive = Max (x_first, nothing)
    negative = Max (negated, nothing)
    above = Cast <to = 2> (positive)
    below = Cast <to = 2> (negative)
    sums_above = ConvInteger <{window}> (above, unsigned_w, unsigned_nothing, unsigned_middle)
    sums_below = ConvInteger <{window}> (below, unsigned_w, unsigned_nothing, unsigned_middle)
    first = Sub (sums_above, sums_below)
"""

_WEIGHTS: Final = """
    middle = Constant <value = int32 {128}> ()
    w_wide = Cast <to = 6> (w)
    w_raised = Add (w_wide, middle)
    unsigned_w = Cast <to = 2> (w_raised)
"""

#: A kernel of ones for each channel.
_ONES: Final = """
    channel_count = Constant <value_int: int = @channels> ()
    single = Constant <value_ints = [1]> ()
    channel_list = Reshape (channel_count, single)
    kernel = Constant <value_ints: ints = @kernel_shape> ()
    ones_shape = Concat <axis = 0> (channel_list, single, kernel)
    unsigned_w = ConstantOfShape <value = uint8[1] {129}> (ones_shape)
"""

_REQUANTIZED: Final = """
    least = Constant <value_int: int = @low> ()
    most = Constant <value_int: int = @high> ()
    least_real = Cast <to = 1> (least)
    most_real = Cast <to = 1> (most)
    y_zero = Cast <to = 1> (y_zero_point)
    rounded = Round (scaled)
    moved = Add (rounded, y_zero)
    bounded = Clip (moved, least_real, most_real)
    y = CastLike (bounded, y_zero_point)
"""


@dataclasses.dataclass(frozen=True)
class Operator:
    """One of our integer operators.

    Attributes:
        base: the kind: Conv, MatMul, AveragePool, Add, Mul, Rescale or Table.
        rank: of the data of a channels-last operator; None where the layout is ONNX's own.
        floats: whether the scaled sums are given as they are.
    """

    base: str
    rank: int | None = None
    floats: bool = False

    @property
    def name(self) -> str:
        layout = "" if self.rank is None else SUFFIXES[self.rank]
        return f"Q{self.base}{layout}{'Float' if self.floats else ''}"

    @property
    def requantizes(self) -> bool:
        """Whether it rounds its scaled sums, to integers between ``low`` and ``high``."""
        return not self.floats and self.base != "Table"

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of its attributes; a node gives every one of them."""
        own = {"Conv": _CONV, "AveragePool": _POOL}.get(self.base, ())
        return tuple(sorted((*own, *(("high", "low") if self.requantizes else ()))))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs, all of which a node has."""
        return _INPUTS[self.base] + (("y_zero_point",) if self.requantizes else ())

    def definition(self) -> ir.Function:
        """Return a new copy of the function that defines the operator."""
        body = _BODIES[self.base](self)
        if self.floats:
            body += "y = Identity (scaled)"
        elif self.requantizes:
            body += _REQUANTIZED
        attributes = f"<{', '.join(self.attributes)}>" if self.attributes else ""
        text = f"""
            <domain: "{DOMAIN}", opset_import: ["" : {WORKING_OPSET}]>
            {self.name} {attributes} ({", ".join(self.inputs)}) => (y) {{ {body} }}"""
        return ir.serde.deserialize_function(onnx.parser.parse_function(text))


def _windowed(operator: Operator, kernel: str, group: str) -> str:
    """Return the body of sums over windows, in the operator's layout, as `sums`."""
    names = ("dilations", "kernel_shape", "pads", "strides")
    window = ", ".join((*(f"{name}: ints = @{name}" for name in names), f"group: int = @{group}"))
    if operator.rank is None:
        before, after = "x_first = Identity (x_centred)", "sums = Identity (first)"
    else:
        last = list(CHANNELS_LAST[operator.rank])
        back = [last.index(axis) for axis in range(operator.rank)]
        before = f"x_first = Transpose <perm = {back}> (x_centred)"
        after = f"sums = Transpose <perm = {last}> (first)"
    return "\n".join(
        (_CENTRED.format(x="x"), before, kernel, _WINDOWED.format(window=window), after)
    )


_SCALED: Final = "\n real = Cast <to = 1> (total)\n scaled = Mul (real, multiplier)\n"
_BIASED: Final = f"\n total = Add (sums, bias)\n{_SCALED}"


def _conv(operator: Operator) -> str:
    return _windowed(operator, _WEIGHTS, "group") + _BIASED


def _average_pool(operator: Operator) -> str:
    return _windowed(operator, _ONES, "channels") + "\n total = Identity (sums)" + _SCALED


def _matmul(_: Operator) -> str:
    product = "w_wide = Cast <to = 6> (w)\n sums = MatMul (x_centred, w_wide)\n"
    return _CENTRED.format(x="x") + product + _BIASED


def _add(_: Operator) -> str:
    parts = "".join(
        f"{x}_wide = Cast <to = 6> ({x})\n {x}_scaled = Mul ({x}_wide, {x}_factor)\n" for x in "ab"
    )
    return f"{parts}sums = Add (a_scaled, b_scaled)\n{_BIASED}"


def _mul(_: Operator) -> str:
    centred = "".join(_CENTRED.format(x=x) for x in "ab")
    return f"{centred}total = Mul (a_centred, b_centred)\n{_SCALED}"


def _rescale(_: Operator) -> str:
    return _CENTRED.format(x="x") + "\n total = Identity (x_centred)" + _SCALED


def _table(_: Operator) -> str:
    """Gather counts what is negative from the end, where the table has the negative integers."""
    return "index = Cast <to = 6> (x)\n y = Gather (table, index)\n"


_BODIES: Final = {
    "Add": _add,
    "AveragePool": _average_pool,
    "Conv": _conv,
    "MatMul": _matmul,
    "Mul": _mul,
    "Rescale": _rescale,
    "Table": _table,
}

_INPUTS: Final = {
    "Add": ("a", "b", "bias", "multiplier", "a_factor", "b_factor"),
    "AveragePool": ("x", "multiplier", "x_zero_point"),
    "Conv": ("x", "w", "bias", "multiplier", "x_zero_point"),
    "MatMul": ("x", "w", "bias", "multiplier", "x_zero_point"),
    "Mul": ("a", "b", "multiplier", "a_zero_point", "b_zero_point"),
    "Rescale": ("x", "multiplier", "x_zero_point"),
    "Table": ("x", "table"),
}


@functools.cache
def operators() -> dict[str, Operator]:
    """Return all of our integer operators by name."""
    ranks = (None, *CHANNELS_LAST)
    found = [
        *(Operator("Conv", rank, floats) for rank in ranks for floats in (False, True)),
        *(Operator("MatMul", None, floats) for floats in (False, True)),
        *(Operator("AveragePool", rank) for rank in ranks),
        Operator("Add"),
        Operator("Mul"),
        Operator("Rescale"),
        Operator("Table"),
    ]
    return {operator.name: operator for operator in found}
