from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.reference import Reference
from tapeout.lowering.widening import has_half, widened

import support

FORMATS = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def ran(model: ir.Model, **feeds: np.ndarray) -> np.ndarray:
    [output] = Reference(model).run(feeds).values()
    return output


@pytest.mark.parametrize("name", FORMATS)
def test_every_result_is_rounded(name: str) -> None:
    model = support.from_text(
        f"""g (float[1000] x, float[1000] y) => (float[1000] z) {{
            a = Cast<to={int(ir.DataType[name.upper()])}>(x)
            b = Cast<to={int(ir.DataType[name.upper()])}>(y)
            c = Mul(a, b)
            d = Add(c, b)
            e = Sqrt(d)
            z = Cast<to=1>(e)
        }}"""
    )
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.1, 9, (2, 1000)).astype(np.float32)
    # Addition, multiplication and the square root of two 16-bit numbers are rounded alike,
    # whether by way of float32 or not: it has more than twice the digits, and two.
    a, b = x.astype(FORMATS[name]), y.astype(FORMATS[name])
    wanted = np.sqrt(a * b + b).astype(np.float32)
    np.testing.assert_array_equal(ran(model, x=x, y=y), wanted)


def test_what_overflows_between_two_nodes_is_infinite() -> None:
    model = support.from_text(
        """g (float16[1] x, float16[1] four) => (float16[1] z) {
            y = Mul(x, four)
            z = Div(y, four)
        }""",
        four=np.array([4], np.float16),
    )
    assert ran(model, x=np.array([16384], np.float16)) == [np.float16(np.inf)]
    assert ran(model, x=np.array([16368], np.float16)) == [np.float16(16368)]


@pytest.mark.parametrize("name", FORMATS)
def test_integers_are_made_of_the_format_by_scales_in_float32(name: str) -> None:
    dtype = int(ir.DataType[name.upper()])
    model = support.from_text(
        f"""g (float[1000] x) => (float[1000] y) <float s = {{0.01}}, int8 z = {{0}}> {{
            a = Cast<to={dtype}>(x)
            q = QuantizeLinear(a, s, z)
            d = DequantizeLinear<output_dtype={dtype}>(q, s, z)
            y = Cast<to=1>(d)
        }}"""
    )
    x = np.random.default_rng(0).uniform(-1.5, 1.5, 1000).astype(np.float32)
    steps = np.rint(x.astype(FORMATS[name]).astype(np.float32) / np.float32(0.01)).clip(-128, 127)
    wanted = (steps * np.float32(0.01)).astype(FORMATS[name]).astype(np.float32)
    np.testing.assert_array_equal(ran(model, x=x), wanted)


def test_each_value_and_constant_is_widened_once_and_the_model_left_as_it_is() -> None:
    model = support.from_text(
        """g (float16[3] x, float16[3] w) => (float16[3] y, float16[3] z) {
            y = Mul(x, w)
            z = Add(x, w)
        }""",
        w=np.arange(3, dtype=np.float16),
    )
    text = support.body(model)
    after = widened(model)
    assert support.body(model) == text
    assert has_half(model)
    assert not has_half(after)
    assert support.body(after) == "\n".join(
        [
            '"y/wide" = Cast <to: int = 1> (x)',
            '"y/rounded" = Mul ("y/wide", "y/wide_1")',
            'y = Cast <to: int = 10> ("y/rounded")',
            '"z/rounded" = Add ("y/wide", "y/wide_1")',
            'z = Cast <to: int = 10> ("z/rounded")',
        ]
    )
    assert [value.dtype for value in after.graph.outputs] == [ir.DataType.FLOAT16] * 2


def test_bodies_of_control_flow_are_widened_where_they_stand() -> None:
    model = support.from_text(
        """g (bool c, float[3] x) => (float[3] z) {
            w = Cast<to=16>(x)
            y = If (c) <
                then_branch = t () => (bfloat16[3] a) { a = Mul(w, w) },
                else_branch = e () => (bfloat16[3] b) { b = Neg(w) }
            >
            n = Abs(y)
            z = Cast<to=1>(n)
        }"""
    )
    x = np.array([1.1, -2, 3], np.float32)
    near = x.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(ran(model, c=np.array(True), x=x), near * near)
    np.testing.assert_array_equal(ran(model, c=np.array(False), x=x), abs(near))


def test_casts_alone_need_nothing() -> None:
    model = support.from_text(
        "g (float[3] x) => (float16[3] y, float[3] z) { y = Cast<to=10>(x) z = Cast<to=1>(y) }"
    )
    assert not has_half(model)
