from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st

from tapeout.lowering.clamps import Clamp, clamp_of, operands_and_numbers

import support

BOUND = st.none() | st.integers(-4, 4)
CLAMPS = st.builds(Clamp, BOUND, BOUND)


@given(first=CLAMPS, then=CLAMPS, number=st.integers(-6, 6))
def test_two_in_a_row(first: Clamp, then: Clamp, number: int) -> None:
    assert first.then(then).of(number) == then.of(first.of(number))


@given(clamp=CLAMPS, number=st.integers(-6, 6))
def test_simplified_does_the_same(clamp: Clamp, number: int) -> None:
    simple = clamp.simplified(ir.DataType.INT8)
    assert simple.of(number) == clamp.of(number)
    assert simple.low is None or simple.high is None or simple.low <= simple.high


def test_bounds_that_everything_keeps() -> None:
    assert Clamp(0, 255).simplified(ir.DataType.UINT8) == Clamp()
    assert Clamp(-128, 6).simplified(ir.DataType.INT8) == Clamp(None, 6)
    largest = float(np.finfo(np.float16).max)
    assert Clamp(-1, largest).simplified(ir.DataType.FLOAT16) == Clamp(-1, None)
    assert Clamp(-np.inf, np.inf).simplified(ir.DataType.DOUBLE) == Clamp()
    assert Clamp(None, 65504).simplified(ir.DataType.FLOAT) == Clamp(None, 65504)


def test_what_bounds_what() -> None:
    model = support.from_text(
        """g (float[2] x, float s) => (float[2] e) <float c = {1}, float[2] v = {1,2}> {
            a = Relu(x)
            b = Min(c, a)
            d = Clip(b, s)
            f = Max(d, v)
            e = Neg(f)
        }"""
    )
    found = [clamp_of(node) for node in model.graph]
    assert [item[1] if item else None for item in found] == [
        Clamp(0, None),
        Clamp(None, 1),
        None,
        None,
        None,
    ]
    assert operands_and_numbers(model.graph[3]) is None
    assert clamp_of(None) is None
