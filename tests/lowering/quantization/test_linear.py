from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.quantization.linear import Linear, Windows
from tapeout.lowering.reference import Reference

import support

RNG = np.random.default_rng(0)

#: Operators with a constant weight w and, where it is written, a bias b: shapes of x, w and b.
CASES: dict[str, tuple[tuple[int, ...], ...]] = {
    "Gemm<transB=1>(x, w, b)": ((5, 7), (3, 7), (3,)),
    "Gemm(x, w)": ((5, 7), (7, 3)),
    "MatMul(x, w)": ((2, 3, 4, 5), (5, 6)),
    "Conv(x, w, b)": ((1, 4, 5, 6), (3, 4, 2, 3), (3,)),
    "Conv<auto_pad=\"SAME_UPPER\",strides=[2,2]>(x, w)": ((1, 3, 6, 7), (4, 3, 3, 2)),
    "Conv<pads=[1,2,0,1],strides=[2,1]>(x, w)": ((2, 4, 5, 6), (3, 4, 2, 3)),
    "Conv<pads=[2,0,2,1],dilations=[2,3]>(x, w, b)": ((2, 3, 9, 8), (4, 3, 3, 2), (4,)),
    "Conv<group=2,pads=[1,1,1,1],strides=[3,2]>(x, w)": ((3, 4, 8, 7), (6, 2, 3, 3)),
    "Conv<group=4,pads=[1,1,1,1],dilations=[2,1]>(x, w, b)": ((1, 4, 6, 6), (4, 1, 3, 3), (4,)),
    "Conv<group=3,pads=[1,1]>(x, w)": ((2, 6, 9), (3, 2, 3)),
    "Conv<pads=[1,0,1,1,0,1],strides=[2,1,2]>(x, w)": ((1, 2, 4, 3, 5), (3, 2, 2, 1, 3)),
}  # fmt: skip


def model_of(text: str, shapes: tuple[tuple[int, ...], ...]) -> ir.Model:
    named = dict(zip("xwb", shapes, strict=False))
    inputs = ", ".join(f"float{list(shape)} {name}" for name, shape in named.items())
    constants = {
        name: RNG.standard_normal(shape).astype(np.float32)
        for name, shape in named.items()
        if name != "x"
    }
    return support.from_text(f"g ({inputs}) => (y) {{ [node] y = {text} }}", **constants)


def linear_of(model: ir.Model) -> Linear:
    return Linear.of(model.graph[0])


@pytest.mark.parametrize("text", CASES)
def test_a_matrix_times_the_windows_is_the_output(text: str) -> None:
    model = model_of(text, CASES[text])
    linear = linear_of(model)
    assert linear.is_matrix
    feeds = support.random_feeds(model)
    expected = Reference(model).run(feeds)["y"]
    columns = Windows(linear, 10_000).of(feeds["x"], 0)
    assert columns.shape[:2] == (linear.groups, linear.columns)
    assert columns.shape[2] == expected.size // expected.shape[1 if "Conv" in text else -1]
    sums = np.einsum("gko,gkp->gop", linear.matrix(linear.weight), columns)
    if "Conv" in text:
        samples, channels = expected.shape[:2]
        actual = sums.reshape(channels, samples, -1).transpose(1, 0, 2).reshape(expected.shape)
        shape = (1, -1, *[1] * (expected.ndim - 2))
    else:
        actual, shape = sums[0].T.reshape(expected.shape), (-1,)
    if linear.bias is not None:
        actual = actual + linear.bias.reshape(shape)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", CASES)
def test_the_way_back_from_the_matrix(text: str) -> None:
    linear = linear_of(model_of(text, CASES[text]))
    matrix = linear.matrix(linear.weight)
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(linear.like_weight(matrix), linear.weight)


def bias_of(text: str, *shapes: tuple[int, ...]) -> list[float] | None:
    bias = linear_of(model_of(text, shapes)).bias
    return None if bias is None else bias.tolist()


def test_an_absent_bias_is_zero_where_there_could_be_one() -> None:
    assert bias_of("MatMul(x, w)", (2, 3), (3, 2)) is None
    assert bias_of("Conv(x, w)", (1, 2, 3, 3), (4, 2, 1, 1)) == [0] * 4
    assert bias_of("Gemm(x, w)", (2, 3), (3, 2)) == [0] * 2
    assert bias_of("ConvTranspose<group=2>(x, w)", (1, 2, 3, 3), (2, 3, 1, 1)) == [0] * 6
    found = bias_of("Gemm(x, w, b)", (2, 3), (3, 2), (1,))
    assert found is not None
    assert len(found) == 2
    assert found[0] == found[1] != 0


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("ConvTranspose(x, w)", ((1, 2, 3, 3), (2, 3, 1, 1))),
        ("MatMul(x, w)", ((4, 2, 3), (4, 3, 2))),
    ],
)
def test_what_is_no_one_matrix(text: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    assert not linear_of(model_of(text, shapes)).is_matrix


def test_axes_of_output_channels() -> None:
    for text, shapes, axis in [
        ("Conv(x, w)", ((1, 2, 3, 3), (4, 2, 1, 1)), 0),
        ("ConvTranspose(x, w)", ((1, 2, 3, 3), (2, 3, 1, 1)), 1),
        ("Gemm<transB=1>(x, w)", ((2, 3), (2, 3)), 0),
        ("Gemm(x, w)", ((2, 3), (3, 2)), 1),
        ("MatMul(x, w)", ((4, 2, 3), (4, 3, 2)), 2),
    ]:
        assert linear_of(model_of(text, shapes)).axis == axis


def test_refuses_what_is_not_linear() -> None:
    with pytest.raises(ValueError, match="Relu 'node' has no constant weight"):
        linear_of(model_of("Relu(x)", ((2, 3),)))
    variable = support.from_text(
        "g (float[2,3] x, float[3,2] v) => (y) { [node] y = MatMul(x, v) }"
    )
    with pytest.raises(ValueError, match="MatMul 'node' has no constant weight"):
        linear_of(variable)


def test_some_positions_of_many() -> None:
    model = model_of("Conv<pads=[1,1,1,1]>(x, w)", ((2, 3, 40, 30), (4, 3, 3, 3)))
    linear = linear_of(model)
    x = support.random_feeds(model)["x"]
    every = Windows(linear, 10_000).of(x, 0).reshape(27, -1)
    known = {column.tobytes() for column in np.ascontiguousarray(every.T)}
    windows = Windows(linear, 100)
    first, again, second = (windows.of(x, index) for index in (0, 0, 1))
    assert first.shape == second.shape == (1, 27, 100)
    np.testing.assert_array_equal(first, again)
    assert {column.tobytes() for column in np.ascontiguousarray(first[0].T)} <= known
    together = np.concatenate([first[0], second[0]], axis=1)
    different = {column.tobytes() for column in np.ascontiguousarray(together.T)}
    assert len(different) > 190  # hardly one twice, in one input and in the next


def test_positions_are_spread_over_the_whole() -> None:
    model = model_of("Conv(x, w)", ((1, 2, 64, 64), (1, 2, 1, 1)))
    rows, columns = np.indices((64, 64), np.float32)
    x = np.stack([rows, columns])[None]
    taken = Windows(linear_of(model), 64).of(x, 3)[0]
    for axis in range(2):
        counts = np.histogram(taken[axis], 4, (0, 64))[0]
        assert counts.min() >= 10
        assert counts.max() <= 22


def test_rows_of_a_matrix_are_drawn_too() -> None:
    model = model_of("MatMul(x, w)", ((3, 50, 4), (4, 2)))
    x = np.arange(600, dtype=np.float32).reshape(3, 50, 4)
    taken = Windows(linear_of(model), 30).of(x, 0)
    assert taken.shape == (1, 4, 30)
    assert (np.diff(taken[0], axis=0) == 1).all()
    assert len(set(taken[0, 0].tolist())) == 30
