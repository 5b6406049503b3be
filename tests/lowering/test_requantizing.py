from __future__ import annotations

import numpy as np
import pytest

from tapeout.lowering.reference import Reference
from tapeout.lowering.requantizing import requantized

import support


def undone(dtype: str, before: str, after: str) -> bool:
    """Whether QuantizeLinear gives back the integers of these parameters."""
    model = support.from_text(
        f"""g ({dtype}[2,3] x) => ({dtype}[2,3] y)
            <float s = {{0.1}}, {dtype} z = {{3}}, {dtype} o = {{0}}, float[1] t = {{0.1}},
             {dtype}[1] u = {{3}}, float r = {{0.2}}, float[3] v = {{1,2,3}},
             {dtype}[3] w = {{1,2,3}}> {{
            a = DequantizeLinear{before}
            y = QuantizeLinear{after}
        }}"""
    )
    found = requantized(model.graph[1])
    assert found in (None, model.graph.inputs[0])
    return found is not None


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("(x, s, z)", "(a, s, z)", True),
        ("(x, s, z)", "(a, t, u)", True),
        ("<axis=0>(x, s, z)", "<axis=1>(a, s, z)", True),
        ("(x, s)", "(a, s, o)", True),
        ("(x, s, z)", "(a, s, o)", False),
        ("(x, s, z)", "(a, r, z)", False),
        ("<axis=-1>(x, v, w)", "<axis=1>(a, v, w)", True),
        ("(x, v, w)", "(a, s, z)", False),
    ],
)
def test_same_parameters(before: str, after: str, wanted: bool) -> None:
    assert undone("uint8", before, after) == wanted


def test_the_axis_counts() -> None:
    model = support.from_text(
        """g (int8[3,3] x) => (int8[3,3] y) <float[3] v = {1,2,3}, int8[3] w = {0,0,0}> {
            a = DequantizeLinear<axis=0>(x, v, w)
            y = QuantizeLinear<axis=1>(a, v, w)
        }"""
    )
    assert requantized(model.graph[1]) is None


def test_other_integers() -> None:
    model = support.from_text(
        """g (int8[3] x) => (uint8[3] y) <float s = {0.1}, int8 z = {0}, uint8 o = {0}> {
            a = DequantizeLinear(x, s, z)
            y = QuantizeLinear(a, s, o)
        }"""
    )
    assert requantized(model.graph[1]) is None


@pytest.mark.parametrize("scale", [1e-30, 1 / 3, 0.1, 7e25])
def test_every_integer_of_16_bits_survives(scale: float) -> None:
    model = support.from_text(
        """g (uint16[65536] x, float s, uint16 z) => (uint16[65536] y) {
            a = DequantizeLinear(x, s, z)
            y = QuantizeLinear(a, s, z)
        }""",
        s=np.array(scale, np.float32),
        z=np.array(12345, np.uint16),
    )
    assert requantized(model.graph[1]) is model.graph.inputs[0]
    x = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(Reference(model).run({"x": x})["y"], x)
