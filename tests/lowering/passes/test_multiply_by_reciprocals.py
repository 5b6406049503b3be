from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.passes.multiply_by_reciprocals import MultiplyByReciprocals

import support


def run(model: ir.Model) -> ir.Model:
    after = MultiplyByReciprocals()(model).model
    assert dialect.check(after) == []
    return after


def test_a_division_becomes_a_product() -> None:
    model = support.from_text(
        "g (float[2,3] x, float[3] c) => (float[2,3] y) { y = Div(x, c) }",
        c=np.array([5.65685, -2, 1e-3], np.float32),
    )
    after = support.assert_same_numbers(model, run, tolerance=1e-6)
    assert support.body(after) == 'y = Mul (x, "y/reciprocal")'
    assert not MultiplyByReciprocals()(after).modified


@pytest.mark.parametrize("number", [0, np.inf, 1e-39])
def test_what_has_no_finite_reciprocal_stays(number: float) -> None:
    model = support.from_text(
        "g (float[2] x, float[2] c) => (float[2] y) { y = Div(x, c) }",
        c=np.array([1, number], np.float32),
    )
    assert not MultiplyByReciprocals()(model).modified


def test_other_divisions_stay() -> None:
    model = support.from_text(
        """g (float[2] x, float[2] c, int32[2] n) => (float[2] y, float[2] z, int32[2] m)
        <int32 two = {2}> { y = Div(x, c) z = Div(c, x) m = Div(n, two) }"""
    )
    assert not MultiplyByReciprocals()(model).modified
