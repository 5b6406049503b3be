from __future__ import annotations

from collections.abc import Callable

import litert
import numpy as np
import pytest

import kernels

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def same(many: kernels.Collection) -> list[str]:
    return litert.assert_same(many.model(), many.inputs)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_gathers(dtype: type) -> None:
    many = kernels.Collection()
    x = many.input(draw(4, 5, 3))
    places = (
        lambda array: many.constant(np.array(array, dtype)),
        lambda array: many.input(np.array(array, dtype)),
    )
    for given in places:
        for axis in (0, 1, -1):
            many.add("Gather", [x, given([2, -1, 0])], axis=axis)
        many.add("Gather", [x, given([[-4, 3], [1, -1]])])
        for axis in (0, 1, -1):
            indices = RNG.integers(-3, 3, (2, 4, 3))
            many.add("GatherElements", [x, given(indices)], axis=axis)
    same(many)


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_gathers_by_several_indices(dtype: type) -> None:
    many = kernels.Collection()
    x = many.input((draw(4, 5, 3) * 9).astype(dtype))
    for given in (many.constant, many.input):
        many.add("GatherND", [x, given(np.array([[-1, 2], [3, -5]]))])
        many.add("GatherND", [x, given(RNG.integers(-5, 5, (4, 1)))], batch_dims=1)
        many.add("GatherND", [x, given(RNG.integers(-3, 3, (4, 2, 2)))], batch_dims=1)
        many.add("GatherND", [x, given(RNG.integers(-3, 3, (4, 5, 1)))], batch_dims=2)
    same(many)


@pytest.mark.parametrize("reduction", ["none", "add", "max", "min", "mul"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_scatters(reduction: str, dtype: type) -> None:
    def numbers(*shape: int) -> np.ndarray:
        return (draw(*shape) * 9).astype(dtype)

    many = kernels.Collection()
    x, updates = many.input(numbers(5, 3)), many.input(numbers(3, 3))
    givers: tuple[Callable[[np.ndarray], str], ...] = (many.constant, many.input)
    for given in givers:
        many.add("ScatterND", [x, given(np.array([[1], [-1], [3]])), updates], reduction=reduction)
        pairs = np.array([[0, 1], [-1, -1], [2, 0]])
        one_each = many.input(numbers(3))
        many.add("ScatterND", [x, given(pairs), one_each], reduction=reduction)
        along = np.array([[0, 1, -1], [2, 0, 1], [-1, 3, 0]])
        many.add("ScatterElements", [x, given(along), updates], axis=0, reduction=reduction)
        across = np.array([[0, 2], [-1, 1]])
        some = many.input(numbers(2, 2))
        many.add("ScatterElements", [x, given(across), some], axis=1, reduction=reduction)
    same(many)


def test_places_that_come_twice() -> None:
    many = kernels.Collection()
    x, updates = many.input(draw(4, 2)), many.input(draw(3, 2))
    indices = many.input(np.array([[1], [1], [0]]))
    for reduction in ("add", "max", "min", "mul"):
        many.add("ScatterND", [x, indices, updates], reduction=reduction)
    same(many)


def test_known_places_are_one_gather() -> None:
    many = kernels.Collection()
    indices = many.constant(np.array([[1], [-1], [3]]))
    many.add("ScatterND", [many.input(draw(5, 3)), indices, many.input(draw(3, 3))])
    assert same(many) == ["CONCATENATION", "GATHER"]
