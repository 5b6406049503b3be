from __future__ import annotations

import numpy as np
import pytest

import kernels
import support

RNG = np.random.default_rng(0)
REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axes", [(0,), (1, -1), (), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_floats(axes: tuple[int, ...], keepdims: int) -> None:
    many = kernels.Collection()
    x = many.input(np.abs(draw(3, 4, 5)) + 0.1)
    steering = [many.constant(np.array(axes, np.int64))] if axes else []
    for name in REDUCTIONS.split():
        many.add(f"Reduce{name}", [x, *steering], keepdims=keepdims)
    many.assert_same()


def test_no_axes_reduce_nothing_where_that_is_said() -> None:
    many = kernels.Collection()
    x = many.input(draw(3, 4))
    none = many.constant(np.zeros(0, np.int64))
    for name in ("Sum", "Max", "Mean"):
        many.add(f"Reduce{name}", [x, none], noop_with_empty_axes=1)
    many.assert_same()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(dtype: type) -> None:
    many = kernels.Collection()
    x = many.input(RNG.integers(-50, 50, (4, 6)).astype(dtype))
    axis = many.constant(np.array([1]))
    for name in ("Max", "Min", "Sum", "Mean", "Prod"):
        many.add(f"Reduce{name}", [x, axis])
    many.assert_same()


def test_the_narrow_ones() -> None:
    many = kernels.Collection()
    axis = many.constant(np.array([1]))
    for dtype in (np.int8, np.uint8):
        x = many.input(RNG.integers(0, 100, (4, 6)).astype(dtype))
        many.add("ReduceMax", [x, axis])
        many.add("ReduceMin", [x, axis])
    booleans = many.input(RNG.integers(0, 2, (8, 2)).astype(bool))
    many.add("ReduceMax", [booleans, axis])
    many.add("ReduceMin", [booleans, axis], keepdims=0)
    many.assert_same()


def test_infinities() -> None:
    x = np.array([[-np.inf] * 3, [np.inf] * 3, [-np.inf, 1, np.inf]], np.float32)
    model = support.from_text(
        "g (float[3,3] x, int64[1] a) => (float[3] h, float[3] l, float[3] s)"
        " { h = ReduceMax <keepdims = 0> (x, a) l = ReduceMin <keepdims = 0> (x, a)"
        " s = ReduceLogSumExp <keepdims = 0> (x, a) }",
        a=np.array([1]),
    )
    found = kernels.run(model, {"x": x})
    np.testing.assert_array_equal(found["h"], x.max(1))
    np.testing.assert_array_equal(found["l"], x.min(1))
    np.testing.assert_array_equal(found["s"], x.max(1))


@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
def test_places_of_extremes(name: str) -> None:
    many = kernels.Collection()
    x = many.input(RNG.integers(0, 4, (5, 6, 7)).astype(np.float32))
    for axis in (0, -1):
        for last in (0, 1):
            many.add(name, [x], axis=axis, select_last_index=last, keepdims=axis + 1)
    many.assert_same()


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_the_best_in_order_and_equal_ones_by_index(largest: int, axis: int) -> None:
    many = kernels.Collection()
    for dtype in (np.float32, np.int64):
        x = many.input(RNG.integers(0, 5, (7, 8, 9)).astype(dtype))
        many.add("TopK", [x, many.constant(np.array([4]))], 2, axis=axis, largest=largest)
    many.assert_same()


def test_running_totals() -> None:
    many = kernels.Collection()
    x = many.input(draw(3, 5))
    integers = many.input(RNG.integers(-9, 9, (3, 5)))
    for axis in (0, -1):
        for exclusive in (0, 1):
            for reverse in (0, 1):
                along = many.constant(np.array(axis))
                many.add("CumSum", [x, along], exclusive=exclusive, reverse=reverse)
                many.add("CumSum", [integers, along], exclusive=exclusive, reverse=reverse)
    many.assert_same()


def test_running_products() -> None:
    """ONNX Runtime has no CumProd."""
    model = support.from_text(
        "g (float[3,4] x, int64 a) => (float[3,4] p, float[3,4] r)"
        " { p = CumProd(x, a) r = CumProd <exclusive = 1, reverse = 1> (x, a) }",
        a=np.array(1),
    )
    x = draw(3, 4)
    found = kernels.run(model, {"x": x})
    np.testing.assert_allclose(found["p"], np.cumprod(x, 1), rtol=1e-6)
    shifted = np.concatenate([np.ones((3, 1)), np.cumprod(x[:, :0:-1], 1)], 1)[:, ::-1]
    np.testing.assert_allclose(found["r"], shifted, rtol=1e-6)


def test_shares_of_one() -> None:
    many = kernels.Collection()
    x = many.input(draw(3, 4, 5) * 5)
    for axis in (0, 1, -1):
        for name in ("Softmax", "LogSoftmax", "Hardmax"):
            many.add(name, [x], axis=axis)
    many.assert_same()
