from __future__ import annotations

import litert
import numpy as np
import pytest

import kernels

RNG = np.random.default_rng(0)
REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def same(many: kernels.Collection, tolerance: float = 1e-5) -> list[str]:
    return litert.assert_same(many.model(), many.inputs, tolerance)


@pytest.mark.parametrize("axes", [(0,), (1, -1), (), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(axes: tuple[int, ...], keepdims: int) -> None:
    many = kernels.Collection()
    x = many.input(np.abs(draw(3, 4, 5)) + 0.1)
    steering = [many.constant(np.array(axes, np.int64))] if axes else []
    for name in REDUCTIONS.split():
        many.add(f"Reduce{name}", [x, *steering], keepdims=keepdims)
    same(many)


def test_sums_of_large_powers_do_not_overflow() -> None:
    many = kernels.Collection()
    many.add("ReduceLogSumExp", [many.input(draw(3, 4) * 200), many.constant(np.array([1]))])
    same(many)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(dtype: type) -> None:
    many = kernels.Collection()
    x = many.input(RNG.integers(-9, 9, (4, 6)).astype(dtype))
    for name in ("Max", "Min", "Sum", "Prod"):
        many.add(f"Reduce{name}", [x, many.constant(np.array([1]))])
    same(many)


def test_booleans() -> None:
    many = kernels.Collection()
    x = many.input(RNG.integers(0, 2, (8, 2)).astype(bool))
    for name in ("Max", "Min"):
        many.add(f"Reduce{name}", [x, many.constant(np.array([1]))], keepdims=0)
    same(many)


@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
def test_places_of_extremes(name: str) -> None:
    many = kernels.Collection()
    x = many.input(RNG.integers(0, 4, (5, 6, 7)).astype(np.float32))
    for axis in (0, 1, -1):
        for keepdims in (0, 1):
            for last in (0, 1):
                many.add(name, [x], axis=axis, keepdims=keepdims, select_last_index=last)
    same(many)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_the_best_in_order_and_equal_ones_by_index(largest: int, axis: int) -> None:
    many = kernels.Collection()
    for dtype in (np.float32, np.int64):
        x = many.input(RNG.integers(0, 5, (7, 8, 9)).astype(dtype))
        many.add("TopK", [x, many.constant(np.array([4]))], 2, axis=axis, largest=largest)
    same(many)


def test_shares_of_one() -> None:
    many = kernels.Collection()
    x = many.input(draw(3, 4, 5) * 5)
    for axis in (0, 1, -1):
        for name in ("Softmax", "LogSoftmax"):
            many.add(name, [x], axis=axis)
    same(many)


def test_normalizations() -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 4, 5, 6))
    last, two = many.constant(draw(6)), many.constant(draw(5, 6))
    many.add("LayerNormalization", [x, last, many.constant(draw(6))])
    many.add("LayerNormalization", [x, two], axis=2, epsilon=1e-3)
    many.add("LayerNormalization", [x, last], 3)
    many.add("RMSNormalization", [x, last])
    channels = [many.constant(draw(4)) for _ in range(2)]
    many.add("InstanceNormalization", [x, *channels])
    many.add("GroupNormalization", [x, *channels], num_groups=2)
    many.add("MeanVarianceNormalization", [x], axes=[0, 2, 3])
    same(many)
