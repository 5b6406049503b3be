"""The definitions of our integer operators, run by ONNX Runtime, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect, own_operators
from tapeout.lowering.integer import Operator, operators
from tapeout.lowering.reference import Reference

import support

RNG = np.random.default_rng(0)


def test_names_and_inputs() -> None:
    assert Operator("Conv", 4).name == "QConvNhwc"
    assert Operator("Conv", 3, floats=True).name == "QConvNwcFloat"
    assert Operator("MatMul").inputs[-1] == "y_zero_point"
    assert Operator("MatMul", floats=True).inputs[-1] == "x_zero_point"
    assert all(name == item.name for name, item in operators().items())
    assert set(operators()) < set(own_operators.operators())


@pytest.mark.parametrize("name", operators())
def test_every_operator_is_defined_by_a_function_of_its_inputs_and_attributes(name: str) -> None:
    operator = operators()[name]
    function = ir.to_proto(operator.definition())
    assert (function.domain, function.name) == (dialect.DOMAIN, name)
    assert tuple(function.input) == operator.inputs
    assert tuple(function.attribute) == operator.attributes
    assert own_operators.is_definition(operator.definition())


def run(text: str, **arrays: np.ndarray) -> np.ndarray:
    """Return the one output of a graph of our operators; every input is a constant but ``x``."""
    constants = {name: array for name, array in arrays.items() if name != "x"}
    model = support.from_text(text, **constants)
    own_operators.define_used(model)
    assert dialect.check(model) == []
    [found] = Reference(model).run({"x": arrays["x"]}).values()
    return found


def requantized(sums: np.ndarray, multiplier: float, zero: int, low: int, high: int) -> np.ndarray:
    """Round the product of two float32 numbers, exactly: half to even."""
    factor = Fraction(float(np.float32(multiplier)))
    products = [Fraction(float(np.float32(item))) * factor for item in sums.reshape(-1).tolist()]
    # A product of two numbers of 24 bits is exact in float64; then it is rounded, as defined.
    whole = [round(float(np.float32(float(product)))) for product in products]
    return np.clip(np.array(whole) + zero, low, high).reshape(sums.shape)


def test_a_matrix_product_is_exact_at_the_ends_of_int8() -> None:
    x = RNG.integers(-128, 128, (5, 300)).astype(np.int8)
    w = np.full((300, 4), -127, np.int8)
    w[:, 1:] = RNG.integers(-127, 128, (300, 3))
    bias = np.array([-1 << 24, -5, 0, 7], np.int32)
    found = run(
        """g (int8[5,300] x, int8[300,4] w, int32[4] b, float m, int8 xz, int8 yz) => (int8[5,4] y)
        { y = tapeout.QMatMul <low = -128, high = 100> (x, w, b, m, xz, yz) }""",
        x=x, w=w, b=bias, m=np.array(1e-4, np.float32), xz=np.array(-128, np.int8),
        yz=np.array(3, np.int8),
    )  # fmt: skip
    sums = (x.astype(np.int64) + 128) @ w.astype(np.int64) + bias
    assert np.abs(sums).max() > 1 << 23  # more than float32 holds exactly
    np.testing.assert_array_equal(found, requantized(sums, 1e-4, 3, -128, 100))


def test_halves_are_rounded_to_even() -> None:
    x = np.arange(-8, 8, dtype=np.int8)
    found = run(
        """g (int8[16] x, float m, int8 xz, int8 yz) => (int8[16] y)
        { y = tapeout.QRescale <low = -128, high = 127> (x, m, xz, yz) }""",
        x=x, m=np.array(0.5, np.float32), xz=np.array(0, np.int8), yz=np.array(0, np.int8),
    )  # fmt: skip
    np.testing.assert_array_equal(found, np.rint(x / 2))


def test_pads_of_a_convolution_stand_for_zero() -> None:
    x = RNG.integers(0, 256, (1, 4, 5, 6)).astype(np.uint8)
    w = RNG.integers(-128, 128, (6, 1, 3, 3)).astype(np.int8)
    found = run(
        """g (uint8[1,4,5,6] x, int8[6,1,3,3] w, int32[6] b, float[6] m, uint8 xz)
        => (float[1,4,5,6] y) {
            y = tapeout.QConvNhwcFloat <kernel_shape = [3, 3], strides = [1, 1], group = 6,
                dilations = [1, 1], pads = [1, 1, 1, 1]> (x, w, b, m, xz)
        }""",
        x=x, w=w, b=np.arange(6, dtype=np.int32), m=np.ones(6, np.float32),
        xz=np.array(200, np.uint8),
    )  # fmt: skip
    wide = np.zeros((6, 7, 6), np.int64)
    wide[1:5, 1:6] = x[0].astype(np.int64) - 200
    sums = np.zeros((4, 5, 6), np.int64) + np.arange(6)
    for row in range(3):
        for column in range(3):
            sums += wide[row : row + 4, column : column + 5] * w[:, 0, row, column].astype(int)
    np.testing.assert_array_equal(found[0], sums)
