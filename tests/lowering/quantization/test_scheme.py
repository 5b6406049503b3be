"""The table of schemes: what every one of them must hold."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeout.lowering.quantization.scheme import (
    LINEAR,
    PASSING,
    SCHEMES,
    FloatScheme,
    Scheme,
    SparseScheme,
    WeightScheme,
    limits,
    next_power_of_two,
)

STATIC = [item for item in SCHEMES.values() if isinstance(item, Scheme) and not item.is_float]


def test_schemes_stand_under_their_names() -> None:
    assert all(name == item.name and item.summary for name, item in SCHEMES.items())
    kinds = {Scheme, WeightScheme, FloatScheme, SparseScheme}
    assert {type(item) for item in SCHEMES.values()} == kinds


@pytest.mark.parametrize("scheme", STATIC, ids=lambda item: item.name)
def test_operators_are_those_of_onnx(scheme: Scheme) -> None:
    assert isinstance(scheme.operators, frozenset)
    assert all(onnx.defs.has(name) for name in scheme.operators)
    assert scheme.operators >= LINEAR
    assert not LINEAR & PASSING
    assert scheme.fixed.keys() <= scheme.operators


@pytest.mark.parametrize("scheme", STATIC, ids=lambda item: item.name)
def test_fixed_parameters_fit_the_scheme(scheme: Scheme) -> None:
    low, high = limits(scheme.activations)
    for scale, zero in scheme.fixed.values():
        assert low <= zero <= high
        assert scale > 0
        assert zero == 0 or not scheme.symmetric
        assert math.frexp(scale)[0] == 0.5 or not scheme.power_of_two


def test_fixed_parameters_hold_the_range_of_their_operators() -> None:
    shares = dict.fromkeys(("HardSigmoid", "Sigmoid", "Softmax"), (0, 1))
    ranges = {**shares, "Tanh": (-1, 1), "LogSoftmax": (-15.9, 0)}
    scheme = SCHEMES["tflite"]
    assert isinstance(scheme, Scheme)
    assert scheme.fixed.keys() == ranges.keys()
    least, greatest = limits(scheme.activations)
    for name, (low, high) in ranges.items():
        scale, zero = scheme.fixed[name]
        assert scale * (least - zero) <= low
        assert scale * (greatest - zero) >= high - scale  # TensorFlow Lite's 255 / 256


@pytest.mark.parametrize("dtype", [ir.DataType.INT4, ir.DataType.INT8, ir.DataType.UINT8])
def test_limits_are_those_of_the_dtype(dtype: ir.DataType) -> None:
    low, high = limits(dtype)
    assert high - low + 1 == 2**dtype.bitwidth
    assert (low < 0) == dtype.name.startswith("INT")
    assert limits(dtype, narrow=True) == (low + 1, high)


@given(st.floats(min_value=2.0**-120, max_value=2.0**120))
def test_next_power_of_two_is_the_least_not_below(scale: float) -> None:
    found = next_power_of_two(scale)
    assert math.frexp(found)[0] == 0.5
    assert found / 2 < scale <= found


@pytest.mark.parametrize("scheme", STATIC, ids=lambda item: item.name)
def test_numpy_holds_the_integers(scheme: Scheme) -> None:
    for dtype in (scheme.activations, scheme.weights):
        ends = limits(dtype)
        assert tuple(int(number) for number in np.array(ends).astype(dtype.numpy())) == ends


def test_tflite_gives_a_fully_connected_node_one_scale() -> None:
    scheme = SCHEMES["tflite"]
    assert isinstance(scheme, Scheme)
    found = {
        name: scheme.of(name).per_channel for name in ("Conv", "ConvTranspose", "Gemm", "MatMul")
    }
    assert found == {"Conv": True, "ConvTranspose": True, "Gemm": False, "MatMul": False}
    assert scheme.of("Conv") is scheme
