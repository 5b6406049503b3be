from __future__ import annotations

import litert
import numpy as np
import pytest

import kernels

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(many: kernels.Collection, *numbers: int) -> str:
    return many.constant(np.array(numbers, np.int64))


def same(many: kernels.Collection) -> list[str]:
    return litert.assert_same(many.model(), many.inputs, 0.0)


def test_shapes() -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 1, 3, 4))
    many.add("Reshape", [x, ints(many, 4, -1)])
    many.add("Flatten", [x], axis=2)
    many.add("Squeeze", [x, ints(many, 1)])
    many.add("Unsqueeze", [x, ints(many, 0, -1)])
    same(many)


@pytest.mark.parametrize("perm", [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_transposes(perm: tuple[int, ...]) -> None:
    many = kernels.Collection()
    for dtype in (np.float32, np.int32, np.int64, np.int8, bool):
        many.add("Transpose", [many.input((draw(2, 3, 4) * 5).astype(dtype))], perm=perm)
    same(many)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_and_split(axis: int) -> None:
    many = kernels.Collection()
    x, y = many.input(draw(4, 4, 6)), many.input(draw(4, 4, 6))
    many.add("Concat", [x, y, x], axis=axis)
    many.add("Split", [x], 2, axis=axis, num_outputs=2)
    many.add("Split", [x, ints(many, 1, (6 if axis == -1 else 4) - 1)], 2, axis=axis)
    same(many)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((1,), (3,), (1,), (1,)),
        ((0, 1), (2, -1), (0, 2), (1, 2)),
        ((-1,), (-100,), (2,), (-1,)),
        ((-2,), (0,), (1,), (-2,)),
        ((1, 0, 0), (1000, 1000, 3), (0, 1, 2), (1, 1, 1)),
    ],
)
def test_slices(
    starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    many = kernels.Collection()
    x = many.input(draw(3, 5, 6))
    many.add("Slice", [x, *(ints(many, *item) for item in (starts, ends, axes, steps))])
    same(many)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pads(mode: str) -> None:
    many = kernels.Collection()
    x = many.input(draw(3, 4, 5))
    pads = ints(many, 0, 1, 2, 0, 2, 1)
    many.add("Pad", [x, pads], mode=mode)
    if mode == "constant":
        many.add("Pad", [x, pads, many.constant(np.float32(1.5))])
        many.add("Pad", [x, ints(many, 1, 2), "", ints(many, -1)])
    same(many)


def test_repeats() -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 1, 3))
    many.add("Expand", [x, ints(many, 4, 2, 5, 3)])
    many.add("Tile", [x, ints(many, 2, 3, 1)])
    same(many)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks(mode: str) -> None:
    many = kernels.Collection()
    many.add("DepthToSpace", [many.input(draw(2, 12, 2, 3))], blocksize=2, mode=mode)
    many.add("SpaceToDepth", [many.input(draw(2, 3, 4, 6))], blocksize=2)
    same(many)


def test_running_sums() -> None:
    many = kernels.Collection()
    x = many.input(RNG.integers(-9, 9, (3, 5)).astype(np.float32))
    for axis in (0, -1):
        along = many.constant(np.array(axis, np.int64))
        for exclusive in (0, 1):
            for reverse in (0, 1):
                many.add("CumSum", [x, along], exclusive=exclusive, reverse=reverse)
    same(many)


def test_an_output_may_be_an_input_or_a_constant() -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 3))
    many.add("Identity", [x])
    many.add("Identity", [many.constant(draw(4))])
    same(many)


@pytest.mark.parametrize("upper", [0, 1])
def test_triangles(upper: int) -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 4, 5))
    for shift in (-1, 0, 2):
        many.add("Trilu", [x, many.constant(np.array(shift))], upper=upper)
    infinite = many.input(np.full((3, 3), -np.inf, np.float32))
    many.add("Trilu", [infinite], upper=upper)
    same(many)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_of_many(axis: int) -> None:
    many = kernels.Collection()
    depth, values = ints(many, 4), many.constant(np.array([2, 7], np.float32))
    x = many.input(np.array([[0, 3, -1], [4, -4, -5]]))
    many.add("OneHot", [x, depth, values], axis=axis)
    same(many)
