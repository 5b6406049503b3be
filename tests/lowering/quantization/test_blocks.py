from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.quantization import blocks as blocks_module
from tapeout.lowering.quantization.blocks import Blocks, in_blocks, in_channels
from tapeout.lowering.quantization.scheme import limits

INT8, INT4 = ir.DataType.INT8, ir.DataType.INT4


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reals(blocks: Blocks) -> np.ndarray:
    """Return what ONNX's DequantizeLinear gives."""
    scales = blocks.scales.astype(np.float32)
    if blocks.size:
        length = blocks.integers.shape[blocks.axis]
        spread = np.repeat(scales, blocks.size, blocks.axis)
        scales = np.take(spread, np.arange(length), blocks.axis)
    else:
        scales = np.expand_dims(
            scales, [k for k in range(blocks.integers.ndim) if k != blocks.axis]
        )
    return blocks.integers.astype(np.float32) * scales


def error(blocks: Blocks, weight: np.ndarray) -> float:
    return float(np.square(reals(blocks) - weight).sum())


def nearest(rows: np.ndarray, high: int) -> float:
    """Return the error of rounding to nearest, the largest of each row just held."""
    scale = np.abs(rows).max(axis=1, keepdims=True) / high
    return float(np.square(np.rint(rows / scale) * scale - rows).sum())


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_channels_along_any_axis(axis: int) -> None:
    weight = draw(6, 5, 3, 4)
    found = in_channels(weight, axis, INT8)
    assert (found.axis, found.size) == (axis, 0)
    assert found.integers.dtype == np.int8
    assert found.scales.dtype == np.float32
    assert found.scales.shape == (weight.shape[axis],)
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    assert 0 < error(found, weight) <= nearest(rows, 127)
    # Any rounding at all is to the nearest, but for what is cut off.
    assert np.abs(reals(found) - weight).max() < np.abs(weight).max() / 20


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [8, 32])
def test_blocks_along_either_axis_the_last_of_them_shorter(axis: int, size: int) -> None:
    shape = (70, 24) if axis == 0 else (24, 70)
    weight = draw(*shape)
    found = in_blocks(weight, axis, size, INT4)
    assert (found.axis, found.size) == (axis, size)
    assert found.integers.dtype == ml_dtypes.int4
    assert found.scales.dtype == np.float16
    assert found.scales.shape[axis] == -(-70 // size)
    assert found.scales.shape[1 - axis] == 24
    lines = np.moveaxis(weight, axis, 1)
    errors = [nearest(lines[:, k : k + size], 7) for k in range(0, 70, size)]
    assert 0 < error(found, weight) < 0.9 * sum(errors)


def test_each_block_stands_alone() -> None:
    weight = draw(4, 64)
    weight[:, 32:] *= 1000
    found = in_blocks(weight, 1, 32, INT4)
    alone = in_blocks(weight[:, :32], 1, 32, INT4)
    np.testing.assert_array_equal(found.integers[:, :32], alone.integers)
    np.testing.assert_array_equal(found.scales[:, :1], alone.scales)


def test_weights_on_a_grid_are_held_exactly() -> None:
    integers = np.random.default_rng(1).integers(-127, 128, (8, 50))
    integers[:, 0] = 127
    weight = (integers * np.float32(2.0**-9)).astype(np.float32)
    np.testing.assert_array_equal(reals(in_channels(weight, 0, INT8)), weight)


def test_a_row_of_zeros_has_a_scale() -> None:
    weight = draw(3, 64)
    weight[1] = 0
    for found in (in_channels(weight, 0, INT8), in_blocks(weight, 1, 32, INT4)):
        assert np.all(found.scales > 0)
        assert not reals(found)[1].any()


@pytest.mark.parametrize("factor", [1e-6, 1e7, 1e-37])
def test_scales_that_float16_cannot_hold_are_float32(factor: float) -> None:
    weight = (draw(4, 64) * np.float32(factor)).astype(np.float32)
    found = in_blocks(weight, 1, 32, INT4)
    assert found.scales.dtype == np.float32
    assert np.all(np.isfinite(found.scales))
    assert np.all(found.scales > 0)


def test_four_bits_use_the_least_integer_too() -> None:
    weight = draw(64, 32)
    integers = in_blocks(weight, 1, 32, INT4).integers.astype(np.int8)
    assert (integers.min(), integers.max()) == limits(INT4)
    assert in_channels(weight * 9, 0, INT8).integers.min() >= -127


def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = draw(40, 64)
    whole = in_blocks(weight, 1, 32, INT4)
    monkeypatch.setattr(blocks_module, "_AT_ONCE", 100)
    parts = in_blocks(weight, 1, 32, INT4)
    np.testing.assert_array_equal(whole.integers, parts.integers)
    np.testing.assert_array_equal(whole.scales, parts.scales)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(-120, 120), st.integers(-20, 20))
def test_scales_are_positive_and_finite_whatever_the_numbers_are(
    seed: int, exponent: int, spread: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = 2.0 ** np.clip(exponent + rng.uniform(-1, 1, (4, 40)) * spread, -149, 127)
    weight = (rng.choice([-1, 0, 1], (4, 40)) * sizes).astype(np.float32)
    for found in (in_channels(weight, 0, INT8), in_blocks(weight, 1, 16, INT4)):
        scales = found.scales.astype(np.float64)
        assert np.all(np.isfinite(scales))
        assert np.all(scales > 0)
        assert np.all(np.isfinite(reals(found)))


def test_a_block_of_next_to_nothing_is_zeros_where_scales_must_be_half_precision() -> None:
    weight = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    weight[:32, 0] *= np.float32(1e-6)
    assert in_blocks(weight, 0, 32, ir.DataType.INT4).scales.dtype == np.float32
    found = in_blocks(weight, 0, 32, ir.DataType.INT4, half=True)
    assert found.scales.dtype == np.float16
    assert not found.integers[:32, 0].astype(int).any()
    others = in_blocks(weight[:, 1:], 0, 32, ir.DataType.INT4)
    np.testing.assert_array_equal(found.integers[:, 1:], others.integers)
