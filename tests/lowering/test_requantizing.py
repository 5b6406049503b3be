from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.reference import Reference
from tapeout.lowering.requantizing import before_rounding, requantized, unclamped

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


@pytest.mark.parametrize(("scale", "wanted"), [(0.1, True), (1e-8, False), (600.0, False)])
def test_by_way_of_half_precision_where_that_holds_them(scale: float, wanted: bool) -> None:
    model = support.from_text(
        f"""g (int8[256] x) => (int8[256] y) <float s = {{{scale}}}, int8 z = {{0}}> {{
            a = DequantizeLinear<output_dtype = {int(ir.DataType.FLOAT16)}>(x, s, z)
            y = QuantizeLinear(a, s, z)
        }}"""
    )
    assert (requantized(model.graph[1]) is not None) == wanted
    x = np.arange(-128, 128, dtype=np.int8)
    [y] = Reference(model).run({"x": x}).values()
    assert np.array_equal(x, y) == wanted


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


@pytest.mark.parametrize(
    ("clamp", "scale", "zero", "free"),
    [
        ("Relu(x)", 0.1, 0, True),
        ("Relu(x)", 0.1, 1, False),
        ("Clip(x, l)", 0.1, 0, True),
        ("Clip(x, l, h)", 6 / 255, 0, True),
        ("Clip(x, l, h)", 6.02 / 255, 0, False),  # 6 is 254.15, which rounds to 254
        ("Clip(x, l, h)", 6.01 / 255, 0, True),
        ("Clip(x, l, h)", 0.1, 0, False),
        ("Clip(x, , h)", 0.01, 128, True),
        ("Min(x, h)", 0.01, 128, True),
        ("Clip(x, n, h)", 0.01, 128, False),
        ("Clip(x, h, l)", 0.01, 0, False),
        ("Neg(x)", 0.1, 0, False),
    ],
)
def test_clamps_that_saturation_does(clamp: str, scale: float, zero: int, free: bool) -> None:
    def model(inner: str) -> ir.Model:
        return support.from_text(
            f"""g (float[4001] x, float s, uint8 z) => (uint8[4001] y)
                <float l = {{0}}, float h = {{6}}, float n = {{-1}}> {{
                a = {inner}
                y = QuantizeLinear(a, s, z)
            }}""",
            s=np.array(scale, np.float32),
            z=np.array(zero, np.uint8),
        )

    made = model(clamp)
    feeds = {"x": np.linspace(-20, 20, 4001, dtype=np.float32)}
    wanted, plain = Reference(made).run(feeds)["y"], Reference(model("Identity(x)")).run(feeds)["y"]
    assert np.array_equal(wanted, plain) == free
    assert unclamped(made.graph[1]) is (made.graph.inputs[0] if free else None)


def test_a_clamp_that_others_need_stays() -> None:
    model = support.from_text(
        """g (float[4] x) => (uint8[4] y, float[4] a) <float s = {0.1}, uint8 z = {0}> {
            a = Relu(x)
            y = QuantizeLinear(a, s, z)
        }"""
    )
    assert unclamped(model.graph[1]) is None


def test_before_rounding() -> None:
    model = support.from_text(
        """g (float[4] x) => (float[4] y, int8[4] o) <float s = {0.1}, int8 z = {0}> {
            a = Neg(x)
            q = QuantizeLinear(a, s, z)
            r = DequantizeLinear(q, s, z)
            y = Neg(r)
            o = QuantizeLinear(y, s, z)
        }"""
    )
    first, quantize, dequantize, last, _ = model.graph
    value, rounded = before_rounding(last.inputs[0])
    assert value is first.outputs[0]
    assert rounded == [dequantize.outputs[0], quantize.outputs[0]]
    assert before_rounding(last.outputs[0]) == (last.outputs[0], [])
    assert before_rounding(None) == (None, [])
