"""Quantized operators, against ONNX Runtime and, where it has none, against their definition."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
import support

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def integers(dtype: type, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(max(info.min, -128), min(info.max, 255) + 1, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_quantization_and_back(dtype: type) -> None:
    many = kernels.Collection()
    x = many.input(draw(3, 4, 8) * 40)
    one = many.constant(np.array(0.37, np.float32))
    zero = many.constant(np.array(3, dtype))
    many.add("QuantizeLinear", [x, one, zero])
    scales = many.constant(RNG.uniform(0.1, 0.9, 4).astype(np.float32))
    zeros = many.constant(RNG.integers(0, 5, 4).astype(dtype))
    many.add("QuantizeLinear", [x, scales, zeros], axis=1)
    q = many.input(integers(dtype, 3, 4, 8))
    many.add("DequantizeLinear", [q, one, zero])
    many.add("DequantizeLinear", [q, scales, zeros], axis=-2)
    many.add("DequantizeLinear", [q, one])
    many.assert_same()


def test_ties_are_rounded_to_even_and_ends_are_kept() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf], np.float32)
    many = kernels.Collection()
    one = many.constant(np.array(1, np.float32))
    many.add("QuantizeLinear", [many.input(x), one, many.constant(np.array(0, np.int8))])
    many.add("QuantizeLinear", [many.input(x), one])
    many.assert_same()


def test_quotients_next_to_ties_are_those_of_a_division() -> None:
    many = kernels.Collection()
    for scale in RNG.uniform(1e-3, 1e3, 6).astype(np.float32):
        ties = (np.arange(-128, 128, 0.5, np.float32) + np.float32(0.25)) * np.float32(2 * scale)
        near = [np.nextafter(ties, np.float32(sign * np.inf)) for sign in (-1, 1)]
        x = many.input(np.concatenate([ties, *near]))
        zero = many.constant(np.array(7, np.uint8))
        many.add("QuantizeLinear", [x, many.constant(np.array(scale)), zero])
    many.assert_same()


@pytest.mark.parametrize("block", [2, 4])
def test_blocks_along_an_axis(block: int) -> None:
    many = kernels.Collection()
    x, q = many.input(draw(3, 8, 2) * 20), many.input(integers(np.int8, 3, 8, 2))
    scale = many.constant(RNG.uniform(0.1, 0.9, (3, 8 // block, 2)).astype(np.float32))
    zero = many.constant(RNG.integers(-5, 5, (3, 8 // block, 2)).astype(np.int8))
    many.add("QuantizeLinear", [x, scale, zero], axis=1, block_size=block)
    many.add("DequantizeLinear", [q, scale, zero], axis=1, block_size=block)
    many.assert_same()


def test_integer_dequantized_exactly() -> None:
    """int32, as biases are; the zero point is left out."""
    many = kernels.Collection()
    q = many.input(RNG.integers(-(2**20), 2**20, 16).astype(np.int32))
    many.add("DequantizeLinear", [q, many.constant(np.array(0.001, np.float32))])
    many.assert_same(1e-7)


def test_integer_products() -> None:
    many = kernels.Collection()
    a, b = many.input(integers(np.uint8, 2, 5, 6)), many.constant(integers(np.int8, 6, 7))
    a_zero, b_zero = many.constant(np.array(120, np.uint8)), many.constant(np.array(-3, np.int8))
    many.add("MatMulInteger", [a, b])
    many.add("MatMulInteger", [a, b, a_zero])
    many.add("MatMulInteger", [a, b, a_zero, b_zero])
    columns = many.constant(RNG.integers(-4, 4, 7).astype(np.int8))
    many.add("MatMulInteger", [a, b, a_zero, columns])
    many.assert_same()


def test_integer_convolutions() -> None:
    many = kernels.Collection()
    x = many.input(integers(np.uint8, 1, 4, 8, 9))
    zero = many.constant(np.array(121, np.uint8))
    for weight in (integers(np.uint8, 6, 4, 3, 3), integers(np.uint8, 4, 1, 2, 3)):
        group = 4 if weight.shape[1] == 1 else 1
        inputs = [x, many.constant(weight), zero, many.constant(np.array(7, np.uint8))]
        many.add("ConvInteger", inputs, group=group, pads=[1, 0, 0, 2], strides=[2, 1])
    many.assert_same()


def steps_apart(found: np.ndarray, expected: np.ndarray) -> int:
    return int(np.abs(found.astype(np.int64) - expected.astype(np.int64)).max())


@pytest.mark.parametrize("per_channel", [False, True])
def test_requantized_results(per_channel: bool) -> None:
    """Exact but for one step where ONNX Runtime's float factor rounds another way."""
    from tapeout.lowering.reference import Reference

    many = kernels.Collection()
    x = many.input(integers(np.uint8, 1, 4, 8, 9))
    weight = many.constant(integers(np.int8, 6, 4, 3, 3))
    count = 6 if per_channel else 1
    scales = many.constant(
        RNG.uniform(0.01, 0.03, count).astype(np.float32).reshape(count)
        if per_channel
        else np.array(0.02, np.float32)
    )
    zeros = many.constant(np.zeros(6, np.int8) if per_channel else np.array(0, np.int8))
    one = many.constant(np.array(0.05, np.float32))
    zero = many.constant(np.array(110, np.uint8))
    out = [many.constant(np.array(1.7, np.float32)), many.constant(np.array(90, np.uint8))]
    bias = many.constant(RNG.integers(-5000, 5000, 6).astype(np.int32))
    many.add("QLinearConv", [x, one, zero, weight, scales, zeros, *out, bias], pads=[1, 1, 1, 1])
    a, b = many.input(integers(np.uint8, 5, 12)), many.constant(integers(np.uint8, 12, 6))
    points = [many.constant(np.array(value, np.uint8)) for value in (127, 130, 12)]
    many.add(
        "QLinearMatMul",
        [
            a,
            one,
            points[0],
            b,
            many.constant(np.array(0.02, np.float32)),
            points[1],
            out[0],
            points[2],
        ],
    )
    model = many.model()
    expected = Reference(model).run(many.inputs)
    found = kernels.run(model, many.inputs)
    for name, wanted in expected.items():
        assert found[name].dtype == wanted.dtype
        assert steps_apart(found[name], wanted) <= 1
        assert (found[name] == wanted).mean() > 0.99


def test_half_precision_scales() -> None:
    model = support.from_text(
        "g (float16[4,6] x, float16 s, int8 z) => (int8[4,6] q, float16[4,6] y)"
        " { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }",
        s=np.array(0.25, np.float16),
        z=np.array(-3, np.int8),
    )
    x = (draw(4, 6) * 8).astype(np.float16)
    found = kernels.run(model, {"x": x})
    exact = np.clip(np.rint(x.astype(np.float64) / 0.25) - 3, -128, 127)
    np.testing.assert_array_equal(found["q"], exact)
    np.testing.assert_array_equal(found["y"], ((exact + 3) * 0.25).astype(np.float16))
