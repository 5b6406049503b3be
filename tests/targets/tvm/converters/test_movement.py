from __future__ import annotations

import numpy as np
import pytest

import kernels
import support

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_shapes_orders_and_pieces() -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 3, 4, 5))
    many.add("Reshape", [x, many.constant(numbers(4, -1, 3))])
    many.add("Flatten", [x], axis=3)
    many.add("Unsqueeze", [x, many.constant(numbers(0, -1))])
    many.add("Squeeze", [many.input(draw(1, 3, 1)), many.constant(numbers(0))])
    many.add("Transpose", [x], perm=[2, 0, 3, 1])
    many.add("Transpose", [x])
    many.add("Split", [x, many.constant(numbers(1, 3))], outputs=2, axis=2)
    many.add("Split", [x], outputs=3, axis=-1, num_outputs=3)
    many.add("Concat", [x, x, many.constant(draw(2, 1, 4, 5))], axis=-3)
    many.add("Tile", [x, many.constant(numbers(2, 1, 1, 3))])
    many.add("Expand", [many.input(draw(3, 1)), many.constant(numbers(2, 1, 4))])
    many.add("Identity", [x])
    many.add("Dropout", [x], outputs=2)
    many.assert_same()


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.bool_, np.float64, np.uint16])
def test_slices(dtype: type) -> None:
    many = kernels.Collection()
    x = many.input((draw(7, 6, 5) * 10).astype(dtype))
    far = np.iinfo(np.int64).max
    for starts, ends, axes, steps in (
        ([1, -2], [far, far], [0, 2], [2, 1]),
        ([-1, 4], [-far, 0], [0, 1], [-1, -3]),
        ([0, 5, 1], [3, -9, 2], [-3, -2, -1], [1, -2, 1]),
        ([2], [4], [1], [1]),
    ):
        many.add(
            "Slice", [x, *(many.constant(numbers(*row)) for row in (starts, ends, axes, steps))]
        )
    many.add("Slice", [x, many.constant(numbers(1, 2)), many.constant(numbers(-1, 100))])
    many.assert_same()


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pads(mode: str) -> None:
    many = kernels.Collection()
    x = many.input(draw(4, 5, 6))
    pads = many.constant(numbers(1, 0, 2, 3, 2, 0))
    some = [many.constant(numbers(2, 1, 0, 3)), "", many.constant(numbers(-1, 0))]
    many.add("Pad", [x, pads], mode=mode)
    many.add("Pad", [x, *some], mode=mode)
    if mode == "constant":
        many.add("Pad", [x, pads, many.constant(np.array(-2.5, np.float32))])
        many.add("Pad", [x, pads, many.input(np.array(7, np.float32))])
        many.add("Pad", [x, many.constant(numbers(-1, 2, 0, 1, -2, -3))])
        integers = many.input(RNG.integers(-9, 9, (4, 5, 6)))
        many.add("Pad", [integers, pads, many.constant(np.array(-(2**40)))])
        many.add("Pad", [many.input(draw(4, 5, 6) > 0), pads, many.constant(np.array(True))])
    many.assert_same()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("constant", [True, False])
def test_gathering_counts_from_both_ends(dtype: type, constant: bool) -> None:
    many = kernels.Collection()
    place = many.constant if constant else many.input
    x = many.input(draw(5, 4, 6))
    for axis in (0, 1, -1):
        many.add("Gather", [x, place(RNG.integers(-4, 4, (2, 3)).astype(dtype))], axis=axis)
        many.add("Gather", [x, place(np.array(-2, dtype))], axis=axis)
        indices = RNG.integers(-4, 4, (3, 2, 5)).astype(dtype)
        many.add("GatherElements", [x, place(indices)], axis=axis)
    if dtype == np.int64:
        many.add("GatherND", [x, place(RNG.integers(-4, 4, (3, 2)))])
        many.add("GatherND", [x, place(RNG.integers(-4, 4, (5, 2, 1)))], batch_dims=1)
        many.add("GatherND", [x, place(RNG.integers(-4, 4, (2, 2, 3)))])
    many.assert_same()


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scattering(reduction: str) -> None:
    many = kernels.Collection()
    x = many.input(draw(5, 4))
    rows = np.stack([RNG.permutation(5)[:3] - 5 * (k % 2) for k in range(4)], axis=1)
    many.add(
        "ScatterElements",
        [x, many.input(rows), many.input(draw(3, 4))],
        axis=0,
        reduction=reduction,
    )
    columns = np.stack([RNG.permutation(4)[:2] for _ in range(5)])
    many.add(
        "ScatterElements",
        [x, many.constant(columns), many.input(draw(5, 2))],
        axis=-1,
        reduction=reduction,
    )
    places = numbers(4, 0, -3).reshape(3, 1)
    many.add("ScatterND", [x, many.input(places), many.input(draw(3, 4))], reduction=reduction)
    points = np.array([[0, 1], [-1, -1], [2, 3]])
    many.add("ScatterND", [x, many.constant(points), many.input(draw(3))], reduction=reduction)
    many.assert_same()


def test_added_more_than_once_at_a_place() -> None:
    many = kernels.Collection()
    x = many.input(draw(4, 3))
    many.add(
        "ScatterElements",
        [x, many.input(np.array([[1, 1, 1], [1, 0, 1]])), many.input(draw(2, 3))],
        axis=0,
        reduction="add",
    )
    many.add(
        "ScatterND", [x, many.input(np.array([[2], [2]])), many.input(draw(2, 3))], reduction="add"
    )
    many.assert_same()


def test_depth_and_space() -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 18, 4, 6))
    many.add("DepthToSpace", [x], blocksize=3)
    many.add("DepthToSpace", [x], blocksize=3, mode="CRD")
    many.add("SpaceToDepth", [x], blocksize=2)
    many.assert_same()


def test_made_and_chosen_elements() -> None:
    many = kernels.Collection()
    x = many.input(draw(4, 5))
    for upper in (0, 1):
        many.add("Trilu", [x], upper=upper)
        many.add("Trilu", [x, many.constant(np.array(-2))], upper=upper)
        many.add("Trilu", [x, many.constant(np.array(1))], upper=upper)
    many.add("EyeLike", [x], k=1)
    many.add("EyeLike", [x], dtype=11, k=-2)
    depth, values = many.constant(np.array(4)), many.input(np.array([-1, 5], np.float32))
    indices = many.input(numbers(0, 3, -1, -4, 4, 9).reshape(2, 3))
    for axis in (-1, 0, 1):
        many.add("OneHot", [indices, depth, values], axis=axis)
    many.assert_same()


def test_elements_chosen_by_a_constant_condition() -> None:
    model = support.from_text(
        """g (float[4,5] x, bool[3] c, bool[20] d) => (float[4,2] y, float[7] z) {
            y = Compress <axis = 1> (x, c)
            z = Compress(x, d)
        }""",
        c=np.array([True, False, True]),
        d=np.arange(20) % 3 == 0,
    )
    kernels.assert_same(model)


def test_sequences_turned_around() -> None:
    many = kernels.Collection()
    x = many.input(draw(5, 3, 2))
    many.add("ReverseSequence", [x, many.input(numbers(5, 1, 3))], time_axis=0, batch_axis=1)
    by_batch = many.input(numbers(1, 2, 3, 2, 1))
    many.add("ReverseSequence", [x, by_batch], time_axis=1, batch_axis=0)
    many.assert_same()


def test_pooling_undone() -> None:
    x = RNG.permutation(16).reshape(1, 1, 4, 4).astype(np.float32)
    indices = np.array([5, 7, 13, 15]).reshape(1, 1, 2, 2)
    many = kernels.Collection()
    inputs = [many.input(x[..., 1::2, 1::2]), many.input(indices)]
    many.add("MaxUnpool", inputs, kernel_shape=[2, 2], strides=[2, 2])
    many.assert_same()


@pytest.mark.parametrize("repeats", [(7, 6, 4, 2), (7, 6, 4, 1), (1, 6, 4, 2), (2, 3, 8, 8)])
def test_indices_that_wrap_at_powers_of_two(repeats: tuple[int, ...]) -> None:
    """LLVM's loop vectorizer gets them wrong; see `compile`."""
    many = kernels.Collection()
    many.add("Tile", [many.input(draw(2, 3, 4, 5)), many.constant(numbers(*repeats))])
    many.assert_same()


def test_pieces_without_elements_are_left_out() -> None:
    model = support.from_text(
        """g (float[3,4] x, int64[3] n) => (float[3,4] y) {
            a, b, c = Split <axis = 1> (x, n)
            e = Exp(b)
            y = Concat <axis = 1> (c, e, a)
        }""",
        n=numbers(1, 0, 3),
    )
    kernels.assert_same(model)


def test_outputs_that_are_inputs_constants_or_views() -> None:
    model = support.from_text(
        """g (float[2,3] x, float[4] c, int64[1] n)
            => (float[2,3] a, float[4] b, float[6] v, float[6] w) {
            a = Identity(x)
            b = Identity(c)
            v = Reshape(x, n)
            e = Exp(x)
            w = Reshape(e, n)
        }""",
        c=draw(4),
        n=numbers(-1),
    )
    kernels.assert_same(model)
