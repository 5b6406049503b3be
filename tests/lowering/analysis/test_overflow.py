from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.analysis.calibrate import calibrate
from tapeout.lowering.analysis.overflow import keep_list, observed

import quantized
import support

BF16 = ir.DataType.BFLOAT16


@dataclasses.dataclass(frozen=True)
class Seen:
    minimum: float
    maximum: float


@dataclasses.dataclass(frozen=True)
class Ranges:
    values: Mapping[str, Seen]


def ranges(**peaks: float) -> Ranges:
    return Ranges({name: Seen(-peak, peak / 2) for name, peak in peaks.items()})


def kept(text: str, seen: Ranges | None = None, **constants: np.ndarray) -> dict[str, str]:
    return keep_list(support.from_text(text, **constants), seen)


CHAIN = "g (float[4] x) => (float[4] z) { a = Abs(x) b = Exp(a) y = Neg(b) z = Sqrt(y) }"


def test_what_reads_and_writes_numbers_that_are_too_large_is_kept() -> None:
    # 4 x 16000 is within half precision's range, 4 x 16400 is not.
    assert kept(CHAIN, ranges(x=1, a=16000, b=16400, y=1, z=1)) == {
        "b": "'b' reaches 1.64e+04; x 4 is beyond 65504",
        "y": "'b' reaches 1.64e+04; x 4 is beyond 65504",
    }
    assert kept(CHAIN, ranges(x=1e6)).keys() == {"a"}
    assert kept(CHAIN, ranges(z=1e6)).keys() == {"z"}
    assert not kept(CHAIN, ranges(x=1, a=2, b=3, y=4, z=0))


def test_the_margin_is_an_option() -> None:
    model, seen = support.from_text(CHAIN), ranges(b=16400)
    assert not keep_list(model, seen, margin=3)
    assert keep_list(model, seen, margin=5)


def test_what_was_never_a_normal_number_is_kept() -> None:
    found = kept(CHAIN, ranges(b=5e-5))
    assert found["b"] == "'b' reaches only 5e-05, which is below 6.1e-05"
    assert not kept(CHAIN, ranges(b=7e-5))


def test_bfloat16_has_the_range_of_float32() -> None:
    model = support.from_text(CHAIN)
    assert not keep_list(model, ranges(x=1e-20, a=1e20, b=1e37), BF16)
    assert keep_list(model, ranges(b=1e38), BF16).keys() == {"b", "y"}


def test_without_calibration_constants_and_operators_decide() -> None:
    found = kept(
        """g (float[2,4] x, float[4] large, float[4] tiny, float[4] mixed, float[4] fine,
              int64[1] axes)
            => (float[2,4] a, float[2,4] b, float[2,4] c, float[2,4] d, float[2,1] e, int64[2,4] f)
        {
            a = Mul(x, large)
            b = Mul(x, tiny)
            c = Mul(x, mixed)
            d = Mul(x, fine)
            e = ReduceL2(x, axes)
            f = Cast<to=7>(x)
        }""",
        large=np.array([1, 2, 3, 7e4], np.float32),
        tiny=np.array([1, 2, 3, 4], np.float32) * np.float32(1e-7),
        mixed=np.array([1, 2, 3, 1e-7], np.float32),
        fine=np.array([1, 2, 3, 65504], np.float32),
        axes=np.array([1]),
    )
    assert found == {
        "a": "the constant 'large': 7e+04 is beyond 65504",
        "b": found["b"],
        "e": "it adds up many numbers, or their squares, which overflow or stop growing",
    }
    assert found["b"].startswith("the constant 'tiny': ")
    assert found["b"].endswith("4 of 4 are below 6.1e-05")


def test_what_follows_an_offset_beyond_the_range_is_kept() -> None:
    found = kept(
        "g (float[4] x, float[4] w) => (float[4] z) { a = Add(x, w) b = Neg(a) z = Abs(b) }",
        w=np.full(4, 1e5, np.float32),
    )
    assert list(found) == ["a", "b"]
    assert found["b"] == (
        "what it reads is beyond the range: the constant 'w': 1e+05 is beyond 65504"
    )


def test_bounds_beyond_the_range_are_no_reason() -> None:
    text = """g (float[4] x, bool[4] c, float low, float high, float[4] w) => (float[4] z) {
        a = Clip(x, low, high) b = Max(a, w) z = Where(c, b, w) }"""
    constants = {"low": np.array(-1e9), "high": np.array(3e38), "w": np.full(4, -1e9)}
    assert not kept(text, **{name: item.astype(np.float32) for name, item in constants.items()})


@pytest.mark.parametrize(
    ("text", "seen", "inner"),
    [
        (
            "g (float[1,8,64,64] x) => (float[1,8,1,1] y) { y = GlobalAveragePool(x) }",
            ranges(x=90, y=5),
            "sums reach 2.048e+04",
        ),
        (
            "g (float[1,8,64,64] x) => (float[1,8,2,2] y)"
            " { y = AveragePool<kernel_shape=[32,32],strides=[32,32]>(x) }",
            ranges(x=90, y=20),
            "sums reach 2.048e+04",
        ),
        (
            "g (float[2,20000] x) => (float[2,20000] y) { y = Softmax<axis=1>(x) }",
            ranges(x=1, y=1),
            "sums of exponentials reach 2e+04",
        ),
        (
            'g (float[4] x) => (float[4] y) { y = Gelu<approximate="tanh">(x) }',
            ranges(x=30, y=30),
            "third powers reach 2.7e+04",
        ),
        (
            "g (float[4] x) => (float[4] y) { y = HardSwish(x) }",
            ranges(x=3000, y=3000),
            "products reach 1.8e+04",
        ),
    ],
)
def test_what_overflows_inside_an_operator_is_kept(text: str, seen: Ranges, inner: str) -> None:
    assert kept(text, seen) == {"y": f"{inner} inside; x 4 is beyond 65504"}
    assert not keep_list(support.from_text(text), seen, BF16)
    assert not keep_list(support.from_text(text), seen, margin=1)


def test_layer_normalization_squares_in_single_unless_it_is_told_not_to() -> None:
    text = """g (float[2,64] x, float[64] s) => (float[2,64] y)
        {{ y = LayerNormalization{}(x, s) }}"""
    scale, seen = np.ones(64, np.float32), ranges(x=200, y=8)
    assert not kept(text.format(""), seen, s=scale)
    assert kept(text.format("<stash_type=10>"), seen, s=scale).keys() == {"y"}


def test_values_that_are_observed_are_all_of_float32() -> None:
    model = support.from_text(
        "g (float[4] x, int64[4] i) => (float[4] y) { a = Cast<to=1>(i) s = Shape(x) y = Add(a, x)}"
    )
    assert observed(model) == ("x", "a", "y")


@pytest.mark.parametrize("name", support.NAMES)
def test_real_networks_have_nothing_to_keep(name: str) -> None:
    model = quantized.real_model(name)
    seen = calibrate(model, quantized.real_batches(name, model, 8), observed(model))
    for dtype in (ir.DataType.FLOAT16, BF16):
        assert keep_list(model, seen, dtype) == {}
