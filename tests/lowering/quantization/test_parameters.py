"""Scales and zero points: the numbers of ONNX Runtime, and ranges of every kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.quantization.parameters import (
    LEAST_SCALE,
    Parameters,
    of_bias,
    of_range,
    of_weights,
)
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme, limits
from tapeout.lowering.reference import Reference

import support

STATIC = tuple(item for item in SCHEMES.values() if isinstance(item, Scheme) and not item.is_float)
UNSIGNED = dataclasses.replace(STATIC[0], activations=ir.DataType.UINT8)
FOUR_BITS = dataclasses.replace(STATIC[0], weights=ir.DataType.INT4)
#: Short of the largest float32, which the product of an integer and a rounded scale may exceed.
FINITE = st.floats(-(2.0**126), 2.0**126, width=32)


def parameters(
    scale: object, zero: object, dtype: ir.DataType, axis: int | None = None
) -> Parameters:
    return Parameters(np.array(scale, np.float32), np.array(zero, dtype.numpy()), dtype, axis)


def run(found: Parameters, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what ONNX Runtime rounds numbers to: the integers, and their real numbers."""
    kind = found.dtype.name.lower()
    shape = ",".join(map(str, array.shape))
    along = f"<axis={found.axis}>" if found.axis is not None else ""
    size = ",".join(map(str, found.scale.shape))
    model = support.from_text(
        f"""agraph (float[{shape}] x, float[{size}] s, {kind}[{size}] z)
            => ({kind}[{shape}] q, float[{shape}] y) {{
          q = QuantizeLinear {along} (x, s, z)
          y = DequantizeLinear {along} (q, s, z)
        }}""",
        s=found.scale,
        z=found.zero_point,
    )
    outputs = Reference(model).run({"x": array})
    return outputs["q"], outputs["y"]


def numbers(scale: float) -> np.ndarray:
    """Return ties, their neighbours, what saturates, and the ordinary."""
    ties = (np.arange(-300, 300) / 2).astype(np.float32) * np.float32(scale)
    others = np.random.default_rng(0).standard_normal(2000).astype(np.float32) * (scale * 100)
    return np.concatenate(
        [
            ties,
            np.nextafter(ties, np.float32(np.inf)),
            np.nextafter(ties, np.float32(-np.inf)),
            others,
            np.array([0.0, -0.0, 1e30, -1e30], np.float32),
        ]
    ).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 1 / 255, 0.0123, 3e-9, 7e20])
@pytest.mark.parametrize(
    ("dtype", "zero"),
    [
        (ir.DataType.INT8, 0),
        (ir.DataType.INT8, -128),
        (ir.DataType.INT8, 127),
        (ir.DataType.INT8, 5),
        (ir.DataType.UINT8, 0),
        (ir.DataType.UINT8, 131),
    ],
)
def test_rounds_as_onnx_runtime_does_to_the_bit(
    scale: float, dtype: ir.DataType, zero: int
) -> None:
    found, array = parameters(scale, zero, dtype), numbers(scale)
    integers, reals = run(found, array)
    np.testing.assert_array_equal(found.integers(array), integers, strict=True)
    np.testing.assert_array_equal(found.reals(integers), reals, strict=True)
    np.testing.assert_array_equal(found.rounded(array), reals, strict=True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rounds_channels_as_onnx_runtime_does(axis: int) -> None:
    rng = np.random.default_rng(axis)
    array = rng.standard_normal((3, 4, 5)).astype(np.float32)
    count = array.shape[axis]
    scales, zeros = rng.uniform(0.001, 0.1, count), rng.integers(-128, 128, count)
    found = parameters(scales, zeros, ir.DataType.INT8, axis)
    integers, reals = run(found, array)
    np.testing.assert_array_equal(found.integers(array), integers, strict=True)
    np.testing.assert_array_equal(found.reals(integers), reals, strict=True)
    np.testing.assert_array_equal(found.rounded(array), reals, strict=True)


def test_negative_axis_counts_from_the_end() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    first = parameters([1, 2, 3, 4], [0, 0, 0, 0], ir.DataType.INT8, 1)
    last = dataclasses.replace(first, axis=-1)
    np.testing.assert_array_equal(first.integers(array), last.integers(array))


def test_int32_saturates_and_is_exact() -> None:
    found = parameters([0.25, 0.25, 0.25, 1.0], [0] * 4, ir.DataType.INT32, 0)
    reals = np.array([1e30, -1e30, 2**25 + 0.25, 16777216.0], np.float32)
    expected = np.array([2**31 - 1, -(2**31), 4 * (2**25), 16777216], np.int32)
    np.testing.assert_array_equal(found.integers(reals), expected, strict=True)
    exact = np.array([0.0, 0.0, 2**25 + 0.25, 0.0])
    assert found.integers(exact)[2] == 2**27 + 1


def test_int32_gives_the_reals_of_onnx_runtime() -> None:
    integers = np.random.default_rng(0).integers(-(2**31), 2**31, 5000).astype(np.int32)
    found = parameters(0.0123, 0, ir.DataType.INT32)
    model = support.from_text(
        "agraph (int32[5000] q, float s) => (float[5000] y) { y = DequantizeLinear (q, s) }",
        s=found.scale,
    )
    expected = Reference(model).run({"q": integers})["y"]
    np.testing.assert_array_equal(found.reals(integers), expected, strict=True)


def test_scalars_are_rounded_too() -> None:
    found = parameters(0.5, 1, ir.DataType.INT8)
    number = np.array(0.8, np.float32)
    assert found.rounded(number) == 1.0
    assert found.rounded(number).shape == found.integers(number).shape == ()
    assert found.integers(number) == 3


def test_narrow_leaves_out_the_least_integer() -> None:
    found = dataclasses.replace(parameters(1.0, 0, ir.DataType.INT8), narrow=True)
    array = np.array([-500, 500], np.float32)
    assert found.integers(array).tolist() == [-127, 127]
    assert found.rounded(array).tolist() == [-127, 127]


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan, [1.0, 0.0]])
def test_refuses_what_is_no_scale(scale: object) -> None:
    with pytest.raises(ValueError, match="a scale is not positive and finite"):
        parameters(scale, 0, ir.DataType.INT8)


@pytest.mark.parametrize("scheme", [*STATIC, UNSIGNED], ids=lambda item: item.name)
@given(first=FINITE, second=FINITE)
@settings(max_examples=150)
def test_every_range_has_good_parameters(scheme: Scheme, first: float, second: float) -> None:
    low, high = min(first, second), max(first, second)
    found = of_range(low, high, scheme)
    scale, zero = float(found.scale), int(found.zero_point)
    least, greatest = limits(scheme.activations)
    assert LEAST_SCALE <= scale < np.inf
    assert least <= zero <= greatest
    assert found.rounded(np.zeros(1, np.float32))[0] == 0  # exactly
    if scheme.symmetric:
        assert zero == (least + greatest + 1) // 2
    if scheme.power_of_two:
        assert np.frexp(scale)[0] == 0.5
    # Nothing of the range is further from its integer than the zero point's own rounding.
    ends = np.array([low, high], np.float32)
    error = np.abs(found.rounded(ends).astype(np.float64) - ends)
    assert (error <= scale * 0.5001).all()


@pytest.mark.parametrize(
    ("low", "high", "name", "scale", "zero"),
    [
        (0.0, 255.0, "int8", 1.0, -128),
        (-255.0, 0.0, "int8", 1.0, 127),
        (3.0, 255.0, "int8", 1.0, -128),  # is widened to hold zero
        (-127.0, 128.0, "int8", 1.0, -1),
        (-100.0, 127.0, "tensorrt", 1.0, 0),
        (0.0, 127.0, "tensorrt", 1.0, 0),
        (0.0, 130.0, "power-of-two", 2.0, 0),
        (0.0, 127.0, "power-of-two", 1.0, 0),
        (0.0, 0.0, "int8", 1.0, -128),
        (0.0, 0.0, "power-of-two", 1.0, 0),
        (0.0, 1e-42, "int8", LEAST_SCALE, -128),
    ],
)
def test_range(low: float, high: float, name: str, scale: float, zero: int) -> None:
    scheme = next(item for item in STATIC if item.name == name)
    found = of_range(low, high, scheme)
    assert (float(found.scale), int(found.zero_point)) == (scale, zero)
    assert found.dtype == ir.DataType.INT8
    assert found.axis is None
    assert found.scale.dtype == np.float32
    assert found.zero_point.dtype == np.int8


def test_numbers_of_eight_bits_are_the_nearest_that_there_are() -> None:
    scheme = SCHEMES["fp8"]
    assert isinstance(scheme, Scheme)
    found = of_range(-7.0, 3.5, scheme)
    assert float(found.scale) == 7 / 448
    every = np.arange(256, dtype=np.uint8).view(ir.DataType.FLOAT8E4M3FN.numpy())
    every = every[np.isfinite(every.astype(np.float32))]
    assert float(every.astype(np.float32).max()) == limits(ir.DataType.FLOAT8E4M3FN)[1]
    reals = found.reals(every)
    assert (found.integers(reals) == every).all()
    np.testing.assert_array_equal(found.rounded(reals), reals)
    x = np.random.default_rng(0).uniform(-8, 8, 500).astype(np.float32)
    distance = np.abs(reals[:, None] - x)
    np.testing.assert_allclose(np.abs(found.rounded(x) - x), distance.min(axis=0), atol=1e-6)
    weights = np.diag([448.0, 4.48]).astype(np.float32)
    assert of_weights(weights, 0, scheme).scale == 1.0
    each = dataclasses.replace(scheme, per_channel=True)
    np.testing.assert_allclose(of_weights(weights, 0, each).scale, [1.0, 0.01])


@pytest.mark.parametrize("ends", [(np.nan, 1.0), (0.0, np.inf), (-np.inf, 0.0)])
def test_refuses_a_range_that_is_not_finite(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="is not finite"):
        of_range(*ends, STATIC[0])


@pytest.mark.parametrize("scheme", [*STATIC, FOUR_BITS], ids=lambda item: item.name)
def test_weights_keep_their_largest_and_zero_channels(scheme: Scheme) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32)
    weights[1] = 0
    weights[2] *= 1e-30
    weights[3, 0, 0, 0] = -50
    found = of_weights(weights, 0, scheme)
    assert found.scale.shape == found.zero_point.shape == ((4,) if scheme.per_channel else ())
    assert found.axis == (0 if scheme.per_channel else None)
    assert found.dtype == scheme.weights
    assert not found.zero_point.astype(int).any()
    assert (found.scale >= LEAST_SCALE).all()
    integers = found.integers(weights)
    low, _ = limits(scheme.weights, narrow=True)
    assert integers.dtype == scheme.weights.numpy()
    assert integers.astype(int).min() >= low
    assert not integers[1].astype(int).any()
    error = np.abs(found.reals(integers) - weights).max(axis=(1, 2, 3))
    assert (error <= found.scale * 0.5001).all()
    if scheme.power_of_two:
        assert (np.frexp(found.scale)[0] == 0.5).all()
    else:
        assert integers[3, 0, 0, 0] == low
    if scheme.per_channel:
        assert found.scale[1] == 1
        assert found.scale[2] == LEAST_SCALE


def test_weights_of_any_axis() -> None:
    weights = np.array([[1.0, -254.0], [127.0, 3.0]], np.float32)
    assert of_weights(weights, 0, STATIC[0]).scale.tolist() == [2.0, 1.0]
    assert of_weights(weights, 1, STATIC[0]).scale.tolist() == [1.0, 2.0]


def test_bias_has_the_scale_of_the_products() -> None:
    inputs = of_range(0.0, 25.5, STATIC[0])
    weights = of_weights(np.diag([127.0, 12.7]).astype(np.float32), 0, STATIC[0])
    found = of_bias(inputs, weights)
    np.testing.assert_allclose(found.scale, [0.1, 0.01], rtol=1e-6)
    assert found.axis == 0
    assert found.zero_point.tolist() == [0, 0]
    assert found.integers(np.array([1.0, -1.0])).tolist() == [10, -100]
    one = of_bias(inputs, of_weights(np.ones((2, 2), np.float32), 0, STATIC[1]))
    assert one.axis is None
    assert one.scale.shape == ()


def test_least_scales_multiply_to_a_scale() -> None:
    least = of_range(0.0, 1e-40, STATIC[0])
    found = of_bias(least, of_weights(np.full((1, 1), 1e-40, np.float32), 0, STATIC[0]))
    assert found.scale >= np.finfo(np.float32).tiny
