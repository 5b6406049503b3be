from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.quantization import gram
from tapeout.lowering.quantization.gram import Moments, moments, parameters_of, parts_of
from tapeout.lowering.quantization.linear import Linear
from tapeout.lowering.quantization.parameters import Parameters, of_range
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme

import support

INT8 = SCHEMES["int8"]
assert isinstance(INT8, Scheme)
RNG = np.random.default_rng(0)

#: Convolutions of x: its shape, and that of the weight.
CASES = {
    "Conv(x, w)": ((1, 3, 5, 4), (2, 3, 2, 3)),
    "Conv<pads=[1,2,0,1],strides=[2,1]>(x, w)": ((2, 3, 5, 6), (2, 3, 2, 3)),
    "Conv<pads=[2,0,2,1],dilations=[2,3]>(x, w)": ((1, 3, 9, 8), (2, 3, 3, 2)),
    "Conv<group=2,pads=[1,1,1,1],strides=[3,2]>(x, w)": ((1, 4, 8, 7), (6, 2, 3, 3)),
    "Conv<group=3,pads=[1,1,1,1]>(x, w)": ((1, 3, 6, 6), (3, 1, 3, 3)),
}


def draw(*shape: int) -> np.ndarray:
    return np.asarray((RNG.standard_normal(shape) + 0.5).astype(np.float32))


def model_of(text: str, x: tuple[int, ...], w: tuple[int, ...]) -> ir.Model:
    graph = f"g (float{list(x)} x, float{list(w)} w) => (y) {{ [node] y = {text} }}"
    return support.from_text(graph, w=draw(*w))


def moments_of(
    model: ir.Model,
    batches: list[dict[str, np.ndarray]],
    activations: Mapping[str, Parameters],
    name: str = "node",
) -> Moments:
    [linear] = [Linear.of(node) for node in model.graph if node.name == name]
    [(same, found)] = moments(model, [linear], activations, batches)
    assert same is linear
    return found


def windows(node: ir.Node, x: np.ndarray) -> np.ndarray:
    """Return (groups, columns, positions), by the definition of a convolution."""
    ints = node.attributes.get_ints
    top, left, bottom, right = ints("pads", (0, 0, 0, 0))
    (down, along), (tall, wide) = ints("strides", (1, 1)), ints("dilations", (1, 1))
    groups = node.attributes.get_int("group", 1)
    weight, result = node.inputs[1], node.outputs[0]
    assert weight is not None
    assert weight.shape is not None
    assert result.shape is not None
    *_, height, width = weight.shape.numpy()
    *_, rows, columns = result.shape.numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    found = [
        padded[
            :,
            :,
            row * down : row * down + tall * (height - 1) + 1 : tall,
            column * along : column * along + wide * (width - 1) + 1 : wide,
        ].reshape(len(x), groups, -1)
        for row in range(rows)
        for column in range(columns)
    ]
    return np.concatenate(found).transpose(1, 2, 0).astype(np.float64)


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("rounded", [True, False])
def test_against_numpy(text: str, rounded: bool) -> None:
    model = model_of(text, *CASES[text])
    batches = [{"x": draw(*CASES[text][0])} for _ in range(5)]
    parameters = of_range(-1.0, 1.0, INT8)  # it cuts some numbers
    found = moments_of(model, batches, {"x": parameters} if rounded else {})
    node = model.graph[0]
    plain = np.concatenate([windows(node, batch["x"]) for batch in batches], axis=2)
    seen = plain
    if rounded:
        cut = [windows(node, parameters.rounded(batch["x"])) for batch in batches]
        seen = np.concatenate(cut, axis=2)
    np.testing.assert_allclose(found.mean, plain.mean(axis=2), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.quantized, seen.mean(axis=2), rtol=0, atol=1e-6)
    count = seen.shape[2]
    expected = np.stack([np.cov(group, bias=True) for group in seen])
    np.testing.assert_allclose(found.gram(about_mean=True), expected, rtol=0, atol=1e-5)
    squares = seen @ seen.transpose(0, 2, 1) / count
    np.testing.assert_allclose(found.gram(about_mean=False), squares, rtol=0, atol=1e-5)
    assert found.covariance.dtype == np.float32
    assert found.parts == 1


def test_inputs_far_from_zero() -> None:
    # Squares of float32 alone would leave no digit of the variance.
    model = model_of("MatMul(x, w)", (100, 3), (3, 2))
    batches = [{"x": (draw(100, 3) * 1e-2 + 100).astype(np.float32)} for _ in range(4)]
    inputs = np.concatenate([batch["x"] for batch in batches]).astype(np.float64)
    found = moments_of(model, batches, {})
    expected = np.cov(inputs.T, bias=True)
    np.testing.assert_allclose(found.gram(about_mean=True)[0], expected, rtol=0, atol=1e-7)


def test_inputs_come_from_inside_the_float_network() -> None:
    model = support.from_text(
        """g (float[4,3] x, float[5,3] a, float[2,5] b) => (y) {
            h = Gemm<transB=1>(x, a) r = Relu(h) [node] y = Gemm<transB=1>(r, b)
        }""",
        a=draw(5, 3),
        b=draw(2, 5),
    )
    batches = [{"x": draw(4, 3)} for _ in range(6)]
    first = model.graph[0].inputs[1]
    assert first is not None
    assert first.const_value is not None
    weight = first.const_value.numpy().astype(np.float64)
    x = np.concatenate([batch["x"] for batch in batches])
    hidden = np.maximum(x @ weight.T, 0)
    # What was rounded before does not count: each input is rounded by itself.
    found = moments_of(model, batches, {"x": of_range(-0.1, 0.1, INT8)})
    np.testing.assert_allclose(found.mean[0], hidden.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.mean, found.quantized, rtol=1e-6)
    found = moments_of(model, batches, {"r": of_range(0, 0.5, INT8)})
    np.testing.assert_allclose(
        found.quantized[0], np.clip(hidden, 0, 0.5).mean(axis=0), rtol=0, atol=0.5 / 255
    )


def test_parameters_of_a_view_are_those_of_what_it_shows() -> None:
    model = support.from_text(
        """g (float[1,2,3,3] x) => (y) <int64[2] flat = {1,18}, int64[3] more = {1,2,9}> {
            p = Relu(x) q = MaxPool<kernel_shape=[1,1]>(p) r = Reshape(q, flat)
            s = Relu(r) y = Identity(s)
        }"""
    )
    values = {str(node.outputs[0].name): node.outputs[0] for node in model.graph}
    wide, narrow = of_range(0, 1, INT8), of_range(0, 2, INT8)
    assert parameters_of(values["r"], {"p": wide}) is wide
    assert parameters_of(values["r"], {"p": wide, "q": narrow}) is narrow
    assert parameters_of(values["y"], {"p": wide}) is None  # a Relu is no view
    assert parameters_of(values["p"], {}) is None
    assert parameters_of(None, {}) is None


def test_all_positions_count_alike() -> None:
    # Of a large map some positions are drawn; the moments hardly change.
    model = model_of("Conv<pads=[1,1,1,1]>(x, w)", (1, 2, 96, 96), (2, 2, 3, 3))
    smooth = np.cumsum(np.cumsum(draw(3, 1, 2, 96, 96) - 0.5, axis=3), axis=4) / 20
    batches = [{"x": x.astype(np.float32)} for x in smooth]
    found = moments_of(model, batches, {})
    every = np.concatenate([windows(model.graph[0], batch["x"]) for batch in batches], axis=2)
    expected = np.cov(every[0], bias=True)
    scale = np.trace(expected) / len(expected)
    assert np.abs(found.gram(about_mean=True)[0] - expected).max() < 0.1 * scale


def test_wide_matrices_are_cut_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram, "MOST_COLUMNS", 6)
    model = model_of("MatMul(x, w)", (40, 12), (12, 2))
    batches = [{"x": draw(40, 12)} for _ in range(3)]
    inputs = np.concatenate([batch["x"] for batch in batches]).astype(np.float64)
    found = moments_of(model, batches, {})
    assert found.parts == 2
    expected = np.cov(inputs.T, bias=True)
    for part, place in enumerate((slice(0, 6), slice(6, 12))):
        near = found.gram(about_mean=True)[part]
        np.testing.assert_allclose(near, expected[place, place], rtol=0, atol=1e-5)
    assert parts_of(12) == 2
    assert parts_of(13) == 13  # a prime
    assert parts_of(6) == 1


def test_several_runs_where_matrices_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    model = support.from_text(
        """g (float[4,3] x, float[5,3] a, float[4,5] b) => (y) {
            [first] h = Gemm<transB=1>(x, a) [second] y = Gemm<transB=1>(h, b)
        }""",
        a=draw(5, 3),
        b=draw(4, 5),
    )
    batches = [{"x": draw(4, 3)} for _ in range(3)]
    linears = [Linear.of(node) for node in model.graph]
    together = list(moments(model, linears, {}, batches))
    # Of one run, the one with the most work comes first.
    assert [linear for linear, _ in together] == linears[::-1]
    monkeypatch.setattr(gram, "_BYTES", 1)
    apart = list(moments(model, linears, {}, batches))
    assert [linear for linear, _ in apart] == linears
    for (_, one), (_, other) in zip(apart, together[::-1], strict=True):
        np.testing.assert_array_equal(one.covariance, other.covariance)
        np.testing.assert_array_equal(one.mean, other.mean)
