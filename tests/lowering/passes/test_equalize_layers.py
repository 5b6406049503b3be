from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.analysis.calibrate import Calibration, calibrate
from tapeout.lowering.matching import array_of
from tapeout.lowering.passes.equalize_layers import EqualizeLayers
from tapeout.lowering.pipeline import pass_text
from tapeout.lowering.quantization.placement import place
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.lowering.reference import Reference

import quantized
import support

INT8 = SCHEMES["int8"]
assert isinstance(INT8, Scheme)
Feeds = Mapping[str, np.ndarray]


def draw(rng: np.random.Generator, *shape: int, uneven: int = 0) -> np.ndarray:
    """Return normal numbers; along axis `uneven`, some channels are far larger than others."""
    sizes = np.exp2(rng.integers(-5, 6, shape[uneven])).reshape(
        [-1 if axis == uneven % len(shape) else 1 for axis in range(len(shape))]
    )
    return np.asarray((rng.standard_normal(shape) * sizes).astype(np.float32))


def samples(model: ir.Model, count: int = 3) -> list[Feeds]:
    return [support.random_feeds(model, seed) for seed in range(count)]


def seen(model: ir.Model, batches: Sequence[Feeds]) -> Calibration:
    return calibrate(model, batches, place(model, INT8).values)


def equalized(model: ir.Model, batches: Sequence[Feeds], *, per_channel: bool = True) -> ir.Model:
    return EqualizeLayers(seen(model, batches), per_channel)(model.clone()).model


def weights(model: ir.Model) -> dict[str, np.ndarray]:
    """Return the constant weights and biases, by node and index of the input."""
    return {
        f"{node.name} {index}": array
        for node in model.graph
        for index, value in enumerate(node.inputs[1:3], 1)
        if (array := array_of(value)) is not None and array.dtype.kind == "f"
    }


def changed(before: ir.Model, after: ir.Model) -> list[str]:
    old, new = weights(before), weights(after)
    assert list(old) == list(new)
    return [name for name in old if not np.array_equal(old[name], new[name])]


def assert_same_bits(before: ir.Model, after: ir.Model, batches: Sequence[Feeds]) -> None:
    assert [node.op_type for node in before.graph] == [node.op_type for node in after.graph]
    reference, other = Reference(before), Reference(after)
    for batch in batches:
        wanted, actual = reference.run(batch), other.run(batch)
        assert list(wanted) == list(actual)
        for name, array in wanted.items():
            np.testing.assert_array_equal(actual[name], array)


#: Nodes that turn v, a map of 4 channels, into another; each w is an uneven constant.
_LAYERS = {
    "conv": ("{y} = Conv<pads=[1,1,1,1]>({v}, {w}, {b})", (4, 4, 3, 3)),
    "grouped": ("{y} = Conv<group=2>({v}, {w}, {b})", (4, 2, 1, 1)),
    "depthwise": ("{y} = Conv<group=4,pads=[1,1,1,1]>({v}, {w}, {b})", (4, 1, 3, 3)),
    "transposed": ("{y} = ConvTranspose<pads=[1,1,1,1]>({v}, {w}, {b})", (4, 4, 3, 3)),
    "grouped transposed": ("{y} = ConvTranspose<group=2>({v}, {w})", (4, 2, 1, 1)),
    "relu": ("{y} = Relu({v})", None),
    "relu6": ("{y} = Clip({v}, low, high)", None),
    "leaky": ("{y} = LeakyRelu<alpha=0.25>({v})", None),
    "prelu": ("{y} = PRelu({v}, {b})", None),
    "add": ("{y} = Add({v}, {other})", None),
    "sub": ("{y} = Sub({v}, {other})", None),
    "max pool": ("{y} = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>({v})", None),
    "average": ("{y} = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>({v})", None),
    "sigmoid": ("{y} = Sigmoid({v})", None),
}  # fmt: skip
_ENDS = {
    "flat gemm": "f = Reshape({v}, flat) z = Gemm<transB=1>(f, dense, three)",
    "wide gemm": "f = Reshape({v}, flat) z = Gemm(f, turned, three)",
    "matmul": "t = Transpose<perm=[0,2,3,1]>({v}) z = MatMul(t, small)",
    "pooled": "g = GlobalAveragePool({v}) f = Reshape(g, four) z = MatMul(f, small)",
    "softmax": "s = Softmax<axis=1>({v}) z = Identity(s)",
}
_SHAPES = {"matmul": "1,5,5,3", "softmax": "1,4,5,5"}


def random_network(seed: int) -> ir.Model:
    rng = np.random.default_rng(seed)
    constants = {
        "dense": draw(rng, 3, 100),
        "turned": draw(rng, 100, 3),
        "small": draw(rng, 4, 3),
        "three": draw(rng, 3),
        "first": draw(rng, 4, 2, 1, 1),
    }
    lines, maps = ["v0 = Conv(x, first)"], ["v0"]
    for kind in rng.choice(list(_LAYERS), 9):
        text, shape = _LAYERS[kind]
        y, w, b = f"v{len(lines)}", f"w{len(lines)}", f"b{len(lines)}"
        if "{w}" in text:
            constants[w] = draw(rng, *shape, uneven=int(rng.integers(2)))
        if "{b}" in text:
            constants[b] = draw(rng, *([4, 1, 1] if kind == "prelu" else [4]))
        other = maps[int(rng.integers(len(maps)))]
        lines.append(text.format(y=y, v=maps[-1], w=w, b=b, other=other))
        maps.append(y)
    end = str(rng.choice(list(_ENDS)))
    lines.append(_ENDS[end].format(v=maps[-1]))
    outputs = f"float[{_SHAPES.get(end, '1,3')}] z"
    if seed % 3 == 0:  # a value inside is seen, too
        outputs += f", float[1,4,5,5] {maps[len(maps) // 2]}"
    inputs = ", ".join(f"float{list(array.shape)} {name}" for name, array in constants.items())
    return support.from_text(
        f"""g (float[1,2,5,5] x, {inputs}) => ({outputs})
            <float low = {{0}}, float high = {{6}}, int64[2] flat = {{1,-1}},
             int64[2] four = {{1,4}}> {{ {" ".join(lines)} }}""",
        **constants,
    )


@pytest.mark.parametrize("per_channel", [True, False])
def test_random_networks_keep_every_bit(per_channel: bool) -> None:
    touched = 0
    for seed in range(40):
        model = random_network(seed)
        batches = samples(model)
        after = equalized(model, batches, per_channel=per_channel)
        assert_same_bits(model, after, batches)
        for name, old in weights(model).items():
            new = weights(after)[name]
            mantissas = np.frexp(old)[0], np.frexp(new)[0]
            np.testing.assert_array_equal(*mantissas, err_msg=f"{seed}: not by powers of two")
        touched += bool(changed(model, after))
    assert touched > 20  # else nothing was tested


@pytest.mark.parametrize("name", ["digits_cnn", "resnet8_cifar10", "vww_mobilenet"])
def test_real_networks_keep_every_bit(name: str) -> None:
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 4)
    after = equalized(model, batches)
    assert changed(model, after)
    assert_same_bits(model, after, batches)


def test_one_large_channel_becomes_like_the_others() -> None:
    first, second = np.ones((4, 2, 1, 1), np.float32), np.ones((3, 4, 1, 1), np.float32)
    first[2] *= 64
    second[:, 2] /= 64
    model = support.from_text(
        """g (float[1,2,4,4] x, float[4,2,1,1] a, float[4] b, float[3,4,1,1] c)
            => (float[1,3,4,4] z) {
            p = Conv(x, a, b) q = Relu(p) z = Conv(q, c)
        }""",
        a=first,
        b=np.array([1, 1, 64, 1], np.float32),
        c=second,
    )
    batches = samples(model)
    for per_channel in (True, False):
        after = weights(equalized(model, batches, per_channel=per_channel))
        np.testing.assert_array_equal(after["p 1"], np.ones((4, 2, 1, 1)))
        np.testing.assert_array_equal(after["p 2"], np.ones(4))
        np.testing.assert_array_equal(after["z 1"], np.ones((3, 4, 1, 1)))


def test_a_depthwise_reader_costs_nothing() -> None:
    # Its weights have a scale for each channel, so the activations become alike altogether.
    model = support.from_text(
        """g (float[1,1,4,4] x, float[2,1,1,1] a, float[2,1,1,1] c) => (float[1,2,4,4] z) {
            p = Conv(x, a) z = Conv<group=2>(p, c)
        }""",
        a=np.array([1, 256], np.float32).reshape(2, 1, 1, 1),
        c=np.ones((2, 1, 1, 1), np.float32),
    )
    batches = samples(model)
    after = weights(equalized(model, batches))
    ratio = after["p 1"].reshape(2)[1] / after["p 1"].reshape(2)[0]
    assert ratio == 1
    # With one scale for all weights, the reader's are weighed, too.
    after = weights(equalized(model, batches, per_channel=False))
    ratio = after["p 1"].reshape(2)[1] / after["p 1"].reshape(2)[0]
    assert 1 < ratio < 256


@pytest.mark.parametrize("kind", ["Gemm", "Conv"])
def test_matrices_may_have_one_scale_where_convolutions_have_many(kind: str) -> None:
    # The bias makes one channel large. To divide its row costs nothing if that has a scale.
    rest, node = ((), "Gemm<transB=1>") if kind == "Gemm" else ((1, 1), "Conv")
    x = (5, 2) if kind == "Gemm" else (1, 2, 4, 4)
    first, second = (4, 2, *rest), (3, 4, *rest)
    model = support.from_text(
        f"""g (float{list(x)} x, float{list(first)} a, float[4] b, float{list(second)} c)
            => (z) {{ p = {node}(x, a, b) z = {node}(p, c) }}""",
        a=np.ones(first, np.float32),
        b=np.array([0, 0, 0, 1024], np.float32),
        c=np.ones(second, np.float32),
    )
    known = seen(model, samples(model))
    many, mixed, one = (
        weights(EqualizeLayers(known, *flags)(model.clone()).model)["p 1"]
        for flags in ((True, True), (True, False), (False, False))
    )
    assert not np.array_equal(many, one)
    np.testing.assert_array_equal(mixed, one if kind == "Gemm" else many)


def bounded(first: np.ndarray, outputs: str = "float[1,3,4,4] z") -> ir.Model:
    return support.from_text(
        f"""g (float[1,1,4,4] x, float[4,1,1,1] a, float[3,4,1,1] c) => ({outputs})
            <float low = {{0}}, float high = {{6}}> {{
            p = Conv(x, a) q = Clip(p, low, high) z = Conv(q, c)
        }}""",
        a=first.reshape(4, 1, 1, 1),
        c=np.ones((3, 4, 1, 1), np.float32),
    )


def test_channels_that_reach_a_ceiling_keep_their_scale() -> None:
    model = bounded(np.array([0.01, 0.1, 1, 100], np.float32))
    batches = [{"x": np.array([0.5, 1, 2, -1] * 4, np.float32).reshape(1, 1, 4, 4)}]
    after = equalized(model, batches)
    assert_same_bits(model, after, batches)
    factors = (weights(after)["p 1"] / weights(model)["p 1"]).reshape(4)
    assert factors[3] == 1
    assert factors[0] > factors[1] > factors[2] == 2  # 4 of 6
    [found] = quantized.values_of(after, batches, ["p"])
    largest = found["p"].max(axis=(0, 2, 3))
    assert (largest[:3] < 6).all()


def test_no_channel_is_lifted_to_a_ceiling() -> None:
    model = bounded(np.array([0.001, 0.5, 0.9, 2.9], np.float32))
    batches = [{"x": np.array([0.5, 1, 2, -1] * 4, np.float32).reshape(1, 1, 4, 4)}]
    after = equalized(model, batches)
    assert changed(model, after)
    assert_same_bits(model, after, batches)
    [found] = quantized.values_of(after, batches, ["p"])
    assert found["p"].max() < 6


def test_statistics_decide_below_a_ceiling() -> None:
    model = bounded(np.array([0.001, 0.5, 0.9, 2.9], np.float32))
    batches = samples(model)
    for per_channel in (True, False):
        calibration = calibrate(model, batches, ["x"])
        assert not EqualizeLayers(calibration, per_channel)(model).modified


def test_without_statistics_the_weights_are_weighed() -> None:
    model = support.from_text(
        """g (float[1,2,4,4] x, float[4,2,1,1] a, float[3,4,1,1] c) => (float[1,3,4,4] z) {
            p = Conv(x, a) q = Relu(p) z = Conv(q, c)
        }""",
        a=np.repeat(np.array([1, 1, 1, 256], np.float32), 2).reshape(4, 2, 1, 1),
        c=np.ones((3, 4, 1, 1), np.float32),
    )
    calibration = calibrate(model, samples(model), ["x"])
    assert not EqualizeLayers(calibration)(model.clone()).modified
    after = EqualizeLayers(calibration, per_channel=False)(model.clone()).model
    assert changed(model, after) == ["p 1", "z 1"]
    # sqrt(C / P) = 1 / 16: rows and columns meet in the middle.
    assert weights(after)["p 1"].reshape(4, 2)[3].tolist() == [16, 16]
    assert weights(after)["z 1"].reshape(3, 4)[0].tolist() == [1, 1, 1, 16]


def test_dead_channels_are_left_alone() -> None:
    first = np.array([0, 1, 1, 64], np.float32).reshape(4, 1, 1, 1)
    second = np.ones((3, 4, 1, 1), np.float32)
    second[:, 1] = 0
    model = support.from_text(
        """g (float[1,1,4,4] x, float[4,1,1,1] a, float[4] b, float[3,4,1,1] c)
            => (float[1,3,4,4] z) {
            p = Conv(x, a, b) q = Relu(p) z = Conv(q, c)
        }""",
        a=first,
        b=np.array([-1, 5, 0, 0], np.float32),  # the first never gets over zero
        c=second,
    )
    batches = samples(model)
    for per_channel in (True, False):
        after = equalized(model, batches, per_channel=per_channel)
        assert_same_bits(model, after, batches)
        assert weights(after)["p 2"].tolist()[:2] == [-1, 5]
        assert np.isfinite(weights(after)["z 1"]).all()


def test_shared_constants_are_copied_within_reason() -> None:
    rng = np.random.default_rng(0)
    model = support.from_text(
        """g (float[1,4,4,4] x, float[4,4,1,1] a, float[4] b, float[3,4,1,1] c)
            => (float[1,3,4,4] z, float[1,4,4,4] other) {
            p = Conv(x, a, b) q = Relu(p) z = Conv(q, c)
            other = Conv(x, a, b)
        }""",
        a=draw(rng, 4, 4, 1, 1),
        b=draw(rng, 4),
        c=draw(rng, 3, 4, 1, 1, uneven=1),
    )
    batches = samples(model)
    after = equalized(model, batches)
    assert_same_bits(model, after, batches)
    assert changed(model, after) == ["p 1", "p 2", "z 1"]
    assert not EqualizeLayers(seen(model, batches), growth=79)(model.clone()).modified
    assert EqualizeLayers(seen(model, batches), growth=80)(model.clone()).modified


def test_a_group_that_overflows_is_left_whole() -> None:
    rng = np.random.default_rng(0)
    model = support.from_text(
        """g (float[1,2,4,4] x, float[4,2,1,1] a, float[3,4,1,1] c) => (float[1,3,4,4] z) {
            p = Conv(x, a) q = Relu(p) z = Conv(q, c)
        }""",
        a=np.float32(1e-38) * np.abs(draw(rng, 4, 2, 1, 1)),
        c=np.full((3, 4, 1, 1), 3e38, np.float32),
    )
    assert not EqualizeLayers(seen(model, samples(model)))(model).modified


@pytest.mark.parametrize(
    "bias",
    [np.float32(item) for item in ([1, 2, 3], [[1, 2, 3]], [5], [[5]], 5)],
    ids=lambda bias: str(bias.shape),
)
def test_biases_of_every_shape(bias: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    model = support.from_text(
        f"""g (float[2,4] x, float[3,4] a, float{list(bias.shape) or ""} b, float[3,2] c)
            => (float[2,2] z) {{
            p = Gemm<transB=1,alpha=0.5>(x, a, b) q = Relu(p) z = MatMul(q, c)
        }}""",
        a=draw(rng, 3, 4),
        b=bias,
        c=draw(rng, 3, 2),
    )
    batches = samples(model)
    after = equalized(model, batches)
    assert changed(model, after) == ["p 1", "p 2", "z 1"]
    assert_same_bits(model, after, batches)


@pytest.mark.parametrize("shape", [(3, 3), (3, 1)])
def test_a_bias_for_each_row_is_left(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    model = support.from_text(
        f"""g (float[3,4] x, float[3,4] a, float{list(shape)} b, float[3,2] c) => (float[3,2] z) {{
            p = Gemm<transB=1>(x, a, b) q = Relu(p) z = MatMul(q, c)
        }}""",
        a=draw(rng, 3, 4),
        b=draw(rng, *shape),
        c=draw(rng, 3, 2),
    )
    batches = samples(model)
    calibration = calibrate(model, batches, ["x", "q"])
    assert not EqualizeLayers(calibration)(model).modified


def test_the_same_bytes_twice() -> None:
    model = random_network(1)
    batches = samples(model)
    first, second = (equalized(model, batches) for _ in range(2))
    assert ir.to_proto(first).SerializeToString() == ir.to_proto(second).SerializeToString()


def test_text_shows_the_data_by_its_digest() -> None:
    model = random_network(1)
    found = seen(model, samples(model))
    text = pass_text(EqualizeLayers(found, per_channel=False))
    assert text == f"equalize-layers{{calibration={found.digest[:12]},per-channel=false}}"
