from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.quantization import lattice
from tapeout.lowering.quantization.gram import moments
from tapeout.lowering.quantization.linear import Linear
from tapeout.lowering.quantization.parameters import Parameters, of_bias, of_range
from tapeout.lowering.quantization.recipe import Weights
from tapeout.lowering.quantization.rounding import round_weights
from tapeout.lowering.quantization.scheme import Scheme, limits
from tapeout.lowering.quantization.sqnr import sqnr
from tapeout.lowering.reference import Reference

import quantized
import support

BY_NAME = {item.name: item for item in quantized.INTEGER_SCHEMES}
INT8, PER_TENSOR, TENSORRT, SHIFTING = (
    BY_NAME[name] for name in ("int8", "int8-per-tensor", "tensorrt", "power-of-two")
)
INT4 = dataclasses.replace(INT8, name="int4", weights=ir.DataType.INT4)
RNG = np.random.default_rng(0)
Feeds = Mapping[str, np.ndarray]

#: Nodes that read x: its shape, that of the weight, and whether there is a bias.
CASES = {
    "Gemm<transB=1>(x, w, b)": ((8, 12), (6, 12), True),
    "Gemm<transB=1>(x, w)": ((8, 12), (6, 12), False),
    "MatMul(x, w)": ((2, 8, 12), (12, 6), False),
    "Conv<pads=[1,1,1,1]>(x, w, b)": ((1, 4, 8, 8), (6, 4, 3, 3), True),
    "Conv<group=2,strides=[2,2]>(x, w, b)": ((1, 8, 9, 9), (6, 4, 3, 3), True),
    "Conv<group=4,pads=[1,1,1,1]>(x, w, b)": ((1, 4, 8, 8), (4, 1, 3, 3), True),
}


def draw(*shape: int) -> np.ndarray:
    return np.asarray(RNG.standard_normal(shape).astype(np.float32))


def alike(*shape: int) -> np.ndarray:
    """Return inputs whose channels and neighbours are alike, and positive, as those of networks."""
    common = RNG.standard_normal((shape[0], 1, *shape[2:])).cumsum(axis=-1)
    return np.asarray(np.maximum(draw(*shape) + common + 1, 0).astype(np.float32))


def model_of(
    text: str, bias: np.ndarray | None = None, samples: int = 12
) -> tuple[ir.Model, list[Feeds]]:
    x, w, has_bias = CASES[text]
    biases = {"b": draw(w[0]) if bias is None else bias} if has_bias else {}
    inputs = ", ".join(
        f"float{list(shape)} {name}"
        for name, shape in [("x", x), ("w", w), *((name, b.shape) for name, b in biases.items())]
    )
    model = support.from_text(f"g ({inputs}) => (y) {{ y = {text} }}", w=draw(*w), **biases)
    return model, [{"x": alike(*x)} for _ in range(samples)]


def input_parameters(batches: Sequence[Feeds], scheme: Scheme) -> dict[str, Parameters]:
    high = max(float(batch["x"].max()) for batch in batches)
    return {"x": of_range(0, high, scheme)}


def rounded(
    model: ir.Model, batches: Sequence[Feeds], scheme: Scheme, method: str = "adaptive"
) -> Weights:
    activations = input_parameters(batches, scheme)
    found = round_weights(
        model, ["y"], activations, scheme, batches, "nearest" if method == "nearest" else "adaptive"
    )
    assert list(found) == ["y"]
    return found["y"]


def with_weights(model: ir.Model, weights: Weights) -> ir.Model:
    """Return the model with the real numbers of integer weights, and with their bias."""
    model = model.clone()
    [node] = model.graph
    for index, array in [(1, weights.parameters.reals(weights.integers)), (2, weights.bias)]:
        if array is not None:
            value = ir.val(f"new{index}", const_value=ir.Tensor(array, name=f"new{index}"))
            model.graph.register_initializer(value)
            node.resize_inputs(max(index + 1, len(node.inputs)))
            node.replace_input_with(index, value)
    return model


def outputs(model: ir.Model, batches: Sequence[Feeds], given: Parameters | None) -> np.ndarray:
    """Return the node's outputs, for inputs that are rounded as `given` says."""
    reference = Reference(model)
    feeds = [{"x": given.rounded(batch["x"]) if given else batch["x"]} for batch in batches]
    return np.stack([reference.run(feed)["y"] for feed in feeds]).astype(np.float64)


@pytest.mark.parametrize(
    "scheme", [INT8, PER_TENSOR, TENSORRT, SHIFTING, INT4], ids=lambda s: s.name
)
@pytest.mark.parametrize("text", CASES)
def test_outputs_are_nearer_than_by_rounding_to_nearest(text: str, scheme: Scheme) -> None:
    model, batches = model_of(text)
    given = input_parameters(batches, scheme)["x"]
    expected = outputs(model, batches, given)

    def loss(method: str) -> float:
        weights = rounded(model, batches, scheme, method)
        return sqnr(expected, outputs(with_weights(model, weights), batches, given))

    assert loss("adaptive") > loss("nearest") + (0.5 if scheme is not SHIFTING else 0.0)


@pytest.mark.parametrize("text", CASES)
def test_new_data_gains_too(text: str) -> None:
    model, batches = model_of(text, samples=60)
    known, new = batches[:40], batches[40:]
    expected = outputs(model, new, None)
    plain, adapted = (
        sqnr(expected, outputs(with_weights(model, rounded(model, known, INT8, method)), new, None))
        for method in ("nearest", "adaptive")
    )
    assert adapted > plain


@pytest.mark.parametrize("scheme", [INT8, PER_TENSOR, SHIFTING, INT4], ids=lambda s: s.name)
@pytest.mark.parametrize("text", CASES)
def test_the_weighted_error_is_never_more(text: str, scheme: Scheme) -> None:
    model, batches = model_of(text)
    given = input_parameters(batches, scheme)
    linear = Linear.of(model.graph[0])
    [(_, seen)] = moments(model, [linear], given, batches)
    gram = seen.gram(about_mean=linear.bias is not None)

    def error(method: str) -> np.ndarray:
        found = rounded(model, batches, scheme, method)
        difference = linear.matrix(linear.weight) - linear.matrix(
            found.parameters.reals(found.integers)
        )
        return lattice.errors(difference, gram)

    after, before = error("adaptive"), error("nearest")
    if not scheme.per_channel:
        after, before = after.sum(), before.sum()
    assert (after <= before * (1 + 1e-5)).all()


@pytest.mark.parametrize("scheme", [INT8, PER_TENSOR, SHIFTING, INT4], ids=lambda s: s.name)
@pytest.mark.parametrize("text", [text for text, case in CASES.items() if case[2]])
def test_biases_make_the_means_right(text: str, scheme: Scheme) -> None:
    model, batches = model_of(text)
    given = of_range(0, 1.5, scheme)  # it cuts inputs, so that their mean is wrong, too
    found = round_weights(model, ["y"], {"x": given}, scheme, batches)["y"]
    expected = outputs(model, batches, None)
    actual = outputs(with_weights(model, found), batches, given)
    axes = (0, 1, *range(3, expected.ndim))
    np.testing.assert_allclose(actual.mean(axis=axes), expected.mean(axis=axes), rtol=0, atol=2e-5)
    plain = round_weights(model, ["y"], {"x": given}, scheme, batches, "nearest")["y"]
    off = outputs(with_weights(model, plain), batches, given).mean(axis=axes)
    assert np.abs(off - expected.mean(axis=axes)).max() > 1e-3


@pytest.mark.parametrize(
    "scheme", [INT8, PER_TENSOR, TENSORRT, SHIFTING, INT4], ids=lambda s: s.name
)
@pytest.mark.parametrize("method", ["adaptive", "nearest"])
def test_integers_are_of_the_scheme(scheme: Scheme, method: str) -> None:
    for text in CASES:
        model, batches = model_of(text)
        linear = Linear.of(model.graph[0])
        found = rounded(model, batches, scheme, method)
        most = limits(scheme.weights, narrow=True)[1]
        assert found.integers.dtype == scheme.weights.numpy()
        assert found.integers.shape == linear.weight.shape
        assert np.abs(found.integers.astype(int)).max() <= most
        assert found.parameters.narrow
        assert found.parameters.dtype == scheme.weights
        assert not found.parameters.zero_point.any()
        scale = found.parameters.scale
        assert scale.dtype == np.float32
        channels = linear.weight.shape[linear.axis]
        assert scale.shape == ((channels,) if scheme.per_channel else ())
        assert found.parameters.axis == (linear.axis if scheme.per_channel else None)
        if scheme.power_of_two:
            assert (np.frexp(scale)[0] == 0.5).all()
        assert (found.bias is None) == (linear.bias is None)
        if found.bias is not None:
            assert found.bias.dtype == np.float32


@pytest.mark.parametrize("method", ["adaptive", "nearest"])
@pytest.mark.parametrize("scheme", [INT8, PER_TENSOR, TENSORRT, SHIFTING], ids=lambda s: s.name)
@pytest.mark.parametrize("text", ["Gemm<transB=1>(x, w, b)", "Conv<pads=[1,1,1,1]>(x, w, b)"])
def test_a_large_bias_widens_the_scale(text: str, scheme: Scheme, method: str) -> None:
    bias = np.array([0, 1, 1e7, -1e9, 0, 0], np.float32)
    model, batches = model_of(text, bias)
    found = rounded(model, batches, scheme, method)
    assert found.bias is not None
    given = input_parameters(batches, scheme)["x"]
    steps = np.abs(found.bias / of_bias(given, found.parameters).scale.astype(np.float64))
    weight = Linear.of(model.graph[0]).weight
    channels = (-1, *[1] * (weight.ndim - 1)) if scheme.per_channel else ()
    off = np.abs(found.parameters.reals(found.integers) - weight)
    assert (off <= 1.5 * found.parameters.scale.reshape(channels)).all()
    if scheme.integer_bias:
        assert steps.max() < 2**31
    else:  # a bias in float asks for nothing
        assert found.parameters.scale.max() < 1
    if scheme is INT8:
        assert (found.parameters.scale[[0, 1, 4, 5]] < 0.1).all()


def test_what_is_no_one_matrix_is_rounded_to_nearest() -> None:
    model = support.from_text(
        """g (float[1,4,5,5] x, float[2,3,4] z, float[4,3,2,2] a, float[6] b, float[2,4,5] c)
            => (y, v) {
            y = ConvTranspose<group=2>(x, a, b)
            v = MatMul(z, c)
        }""",
        a=draw(4, 3, 2, 2),
        b=draw(6),
        c=draw(2, 4, 5),
    )
    batches = [support.random_feeds(model, seed) for seed in range(3)]
    given = {"x": of_range(-3, 3, INT8), "z": of_range(-3, 3, INT8)}
    for method in ("adaptive", "nearest"):
        for scheme in (INT8, PER_TENSOR):
            found = round_weights(model, ["y", "v"], given, scheme, batches, method)  # type: ignore[arg-type]  # a literal
            for node in model.graph:
                linear, weights = Linear.of(node), found[str(node.name)]
                scale = weights.parameters.reals(weights.integers) - linear.weight
                axes = [1] * linear.weight.ndim
                axes[linear.axis] = -1
                steps = weights.parameters.scale
                steps = steps.reshape(axes) if scheme.per_channel else steps
                assert (np.abs(scale) <= steps * 0.5001).all()
            assert found["v"].bias is None
            assert found["y"].bias is not None
            np.testing.assert_array_equal(found["y"].bias, Linear.of(model.graph[0]).bias)


def test_channels_of_zeros_and_inputs_that_never_vary() -> None:
    text = "Conv<pads=[1,1,1,1]>(x, w, b)"
    model, _ = model_of(text)
    weight = model.graph.initializers["w"]
    array = Linear.of(model.graph[0]).weight.copy()
    array[2] = 0
    weight.const_value = ir.Tensor(array, name="w")
    for x in (np.zeros((1, 4, 8, 8), np.float32), alike(1, 4, 8, 8)):
        for scheme in (INT8, PER_TENSOR, SHIFTING):
            found = rounded(model, [{"x": x}], scheme)
            assert not found.integers[2].any()
            assert (found.parameters.scale > 0).all()
            assert np.isfinite(found.parameters.scale).all()
            assert found.bias is not None
            assert np.isfinite(found.bias).all()
            expected = Linear.of(model.graph[0]).bias
            assert expected is not None
            np.testing.assert_allclose(found.bias[2], expected[2], rtol=1e-6)


def test_only_the_named_nodes() -> None:
    model = quantized.real_model("digits_cnn")
    batches = quantized.real_batches("digits_cnn", model, 2)
    linear = [str(node.name) for node in model.graph if node.op_type in ("Conv", "Gemm")]
    found = round_weights(model, linear[1:3], {}, INT8, batches)
    assert list(found) == linear[1:3]
    assert round_weights(model, [], {}, INT8, batches) == {}


@pytest.mark.parametrize("name", ["int8", "int8-per-tensor", "power-of-two"])
def test_real_weights_are_the_same_bytes_twice(name: str) -> None:
    model = quantized.real_model("digits_cnn")
    batches = quantized.real_batches("digits_cnn", model, 8)
    recipe = quantized.min_max(model, BY_NAME[name], batches)
    before = ir.to_proto(model).SerializeToString()
    first, second = (
        round_weights(model, list(recipe.weights), recipe.activations, BY_NAME[name], batches)
        for _ in range(2)
    )
    assert ir.to_proto(model).SerializeToString() == before
    for node, weights in first.items():
        other = second[node]
        assert weights.integers.tobytes() == other.integers.tobytes()
        assert weights.parameters.scale.tobytes() == other.parameters.scale.tobytes()
        assert weights.bias is not None
        assert other.bias is not None
        assert weights.bias.tobytes() == other.bias.tobytes()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_errors() -> None:
    model, batches = model_of("Gemm<transB=1>(x, w, b)")
    with pytest.raises(ValueError, match="no data"):
        round_weights(model, ["y"], {}, INT8, [])
    assert round_weights(model, ["y"], {}, INT8, [], "nearest")["y"].integers.any()
    with pytest.raises(ModelError, match="its inputs are not finite"):
        round_weights(model, ["y"], {}, INT8, [{"x": np.full((8, 12), np.inf, np.float32)}])
    with pytest.raises(ModelError, match="onnxruntime"):
        hidden = support.from_text(
            """g (float[2,3] x, float[4,3] a, float[2,4] b) => (y) {
                h = Gemm<transB=1>(x, a) y = Gemm<transB=1>(h, b)
            }""",
            a=draw(4, 3),
            b=draw(2, 4),
        )
        round_weights(hidden, ["y"], {}, INT8, [{"x": draw(2, 9)}])
    other = support.from_text("g (float[2,3] x) => (y) { y = Relu(x) }")
    with pytest.raises(ValueError, match="no constant weight"):
        round_weights(other, ["y"], {}, INT8, batches)
