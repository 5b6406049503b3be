"""Models as networks of integers: what each operator becomes, to the step, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import integer_networks
import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.passes.integer_borders import IntegerBorders
from tapeout.lowering.reference import Reference
from tapeout.targets.fpga.network import reference
from tapeout.targets.fpga.network.graph import (
    Add,
    ArgMax,
    AveragePool,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Resize,
    Table,
)
from tapeout.targets.fpga.network.importing import imported, untaken
from tapeout.targets.fpga.pipeline import pipeline
from tapeout.targets.fpga.run import host

import quantized
import support

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Case:
    """A float network: the shape of x, nodes that give y, and the layers that it becomes.

    Attributes:
        constants: shapes of random ones, or the arrays.
    """

    x: Shape
    nodes: str
    y: str
    layers: tuple[type[Layer], ...]
    constants: Mapping[str, Shape | np.ndarray] = dataclasses.field(default_factory=dict)

    def model(self) -> ir.Model:
        rng = np.random.default_rng(7)
        arrays = {
            name: rng.standard_normal(item).astype(np.float32) if isinstance(item, tuple) else item
            for name, item in self.constants.items()
        }
        values = {"x": np.empty(self.x, np.float32), **arrays}
        inputs = ", ".join(
            f"{ir.DataType.from_numpy(array.dtype).name.lower()}{list(array.shape)} {name}"
            for name, array in values.items()
        )
        return support.from_text(f"g ({inputs}) => ({self.y} y) {{ {self.nodes} }}", **arrays)


CASES = {
    "strided, dilated, padded more on one side": Case(
        (1, 3, 11, 9),
        "y = Conv <strides = [2, 1], dilations = [1, 2], pads = [0, 1, 2, 2]> (x, w, b)",
        "float[1,6,6,10]",
        (Conv,),
        {"w": (6, 3, 3, 2), "b": (6,)},
    ),
    "grouped": Case(
        (1, 4, 5, 5),
        "y = Conv <group = 2> (x, w)",
        "float[1,6,3,3]",
        (Conv,),
        {"w": (6, 2, 3, 3)},
    ),
    "two kernels for each channel": Case(
        (1, 3, 6, 6),
        "z = Conv <group = 3, pads = [1, 1, 1, 1]> (x, w) y = Relu (z)",
        "float[1,6,6,6]",
        (Conv,),
        {"w": (6, 1, 3, 3)},
    ),
    "signals": Case(
        (1, 4, 20),
        """
        a = Conv <pads = [2, 2], dilations = [2]> (x, w)
        b = MaxPool <kernel_shape = [3], strides = [2], pads = [1, 1]> (a)
        y = AveragePool <kernel_shape = [2], strides = [2]> (b)""",
        "float[1,5,5]",
        (Conv, MaxPool, AveragePool),
        {"w": (5, 4, 3)},
    ),
    "poolings": Case(
        (1, 4, 9, 9),
        """
        c = Conv (x, w)
        a = MaxPool <kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1> (c)
        b = AveragePool <kernel_shape = [2, 2], pads = [1, 0, 0, 1], count_include_pad = 1> (a)
        y = GlobalMaxPool (b)""",
        "float[1,4,1,1]",
        (Conv, MaxPool, AveragePool, MaxPool),
        {"w": (4, 4, 1, 1)},
    ),
    "a residual, joined and grown": Case(
        (1, 4, 4, 4),
        """
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        b = Sub (a, x)
        c = Clip (b, low, high)
        d = Concat <axis = 1> (c, a, x)
        y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",
                    nearest_mode = "floor"> (d, , scales)""",
        "float[1,12,8,12]",
        (Conv, Add, Concat, Resize),
        {
            "w": (4, 4, 3, 3),
            "low": np.array(-0.5, np.float32),
            "high": np.array(6, np.float32),
            "scales": np.array([1, 1, 2, 3], np.float32),
        },
    ),
    "functions": Case(
        (1, 3, 4, 4),
        "a = Conv (x, w) b = HardSwish (a) c = LeakyRelu <alpha = 0.1> (b) y = Sigmoid (c)",
        "float[1,4,4,4]",
        (Conv, Table, Table, Table),
        {"w": (4, 3, 1, 1)},
    ),
    "normalized channels, and functions before any convolution": Case(
        (1, 3, 6, 5),
        """
        a = Sub (x, m) b = Div (a, s) c = Sub (n, b) d = LeakyRelu (c)
        y = Conv <pads = [1, 1, 1, 1]> (d, w)""",
        "float[1,4,6,5]",
        (Conv, Conv, Conv, Table, Conv),
        {
            "w": (4, 3, 3, 3),
            "m": np.array([0.5, -0.2, 0.1], np.float32).reshape(1, 3, 1, 1),
            "s": np.array([0.5, 0.7, 1.3], np.float32).reshape(1, 3, 1, 1),
            "n": np.array([2.0, -1, 0.5], np.float32).reshape(3, 1, 1),
        },
    ),
    "a flattened image": Case(
        (1, 3, 4, 5),
        """
        a = Conv (x, w) b = Flatten (a) c = Gemm <transB = 1> (b, v, u)
        y = Softmax (c)""",
        "float[1,6]",
        (Conv, Conv),
        {"w": (2, 3, 2, 2), "v": (6, 24), "u": (6,)},
    ),
    "a matrix at every step, and the largest": Case(
        (1, 7, 5),
        "a = MatMul (x, w) b = Relu (a) c = MatMul (b, v) y = ArgMax <axis = 2> (c)",
        "int64[1,7,1]",
        (Conv, Conv, ArgMax),
        {"w": (5, 8), "v": (8, 3)},
    ),
    "the largest of shares": Case(
        (1, 5),
        "a = MatMul (x, w) b = Softmax (a) y = ArgMax <axis = 1, keepdims = 0> (b)",
        "int64[1]",
        (Conv,),
        {"w": (5, 8)},
    ),
    "the largest channel of each pixel": Case(
        (1, 3, 4, 4),
        "a = Conv (x, w) y = ArgMax <axis = 1> (a)",
        "int64[1,1,4,4]",
        (Conv, ArgMax),
        {"w": (5, 3, 1, 1)},
    ),
    "a signal that grows, between convolutions": Case(
        (1, 3, 6),
        """
        a = Conv (x, w)
        b = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",
                    nearest_mode = "floor"> (a, , scales)
        y = Conv (b, v)""",
        "float[1,2,12]",
        (Conv, Resize, Conv),
        {"w": (4, 3, 1), "v": (2, 4, 1), "scales": np.array([1, 1, 2], np.float32)},
    ),
}


def samples_for(case: Case) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((24, *case.x[1:])).astype(np.float32)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_layer_is_that_of_the_operators(case: Case) -> None:
    samples = samples_for(case)
    model = integer_networks.lowered(case.model(), samples)
    found = imported(model)
    assert tuple(type(layer) for layer in found.network.layers) == case.layers
    wanted = integer_networks.watched(model, found.network, samples)
    apart = integer_networks.steps_apart(found.network, wanted)
    exact = (Table, MaxPool, Concat, Resize, ArgMax)
    for layer in found.network.layers:
        assert apart[layer.name] <= (0 if isinstance(layer, exact) else 1), layer.name

    # The host's steps on both sides: given what ONNX Runtime has there, the same comes out.
    np.testing.assert_array_equal(
        host.run(found.before, samples).reshape(-1, *found.network.input.shape),
        wanted[found.network.input.name],
    )
    runtime = Reference(model)
    real = np.concatenate([runtime.run({found.input: x})[found.output] for x in samples[:, None]])
    given = host.run(found.after, wanted[found.network.output.name])
    support.assert_equal_or_close(given, real, 1e-6, found.output)

    # All together, next to the float network.
    outputs = host.run(found.after, reference.run(found.network, host.run(found.before, samples)))
    assert outputs.dtype == real.dtype
    if outputs.dtype == np.float32:
        runtime = Reference(case.model())
        floats = np.concatenate([runtime.run({"x": x})["y"] for x in samples[:, None]])
        assert np.abs(outputs - floats).max() < 0.1 * np.abs(floats).max()


def test_integers_may_come_in_and_go_out() -> None:
    case = CASES["a residual, joined and grown"]
    model = integer_networks.converted(case.model(), samples_for(case))
    model = pipeline().run(IntegerBorders()(model).model)
    found = imported(model)
    feed = np.random.default_rng(5).integers(-128, 128, (5, *case.x[1:]), np.int8)
    result = reference.run(found.network, host.run(found.before, feed))
    outputs = host.run(found.after, result)
    real = np.concatenate([Reference(model).run({"x": x})["y"] for x in feed[:, None]])
    assert outputs.dtype == real.dtype == np.int8
    assert [step["op"] for step in (*found.before, *found.after)] == ["transpose", "transpose"]
    assert np.abs(outputs.astype(int) - real).max() <= 2


def test_what_no_engine_does_is_named_all_at_once() -> None:
    weights = {"w": (4, 3, 1, 1), "v": (4, 4, 1, 1), "scales": np.array([1, 1, 1.5, 2], np.float32)}
    case = Case(
        (1, 3, 4, 4),
        """
        a = Conv (x, w)
        c = DepthToSpace <blocksize = 2> (a)
        b = Resize <mode = "nearest"> (a, , scales)
        d = Mul (a, a)
        e = Softmax <axis = 1> (d)
        f = Conv (e, v)
        y = Concat <axis = 3> (f, d)""",
        "float[1,4,4,8]",
        (),
        weights,
    )
    model = case.model()
    model.graph.outputs.extend(model.graph.node(name).outputs[0] for name in "bc")
    with pytest.raises(ModelError) as caught:
        imported(integer_networks.lowered(model, samples_for(case)))
    assert {problem.where: problem.what for problem in caught.value.problems} == {
        "outputs": "there are 3: 'y', 'b', 'c'",
        "node 'c' (DepthToSpace)": "there is no engine for the operator 'DepthToSpace'",
        "node 'b' (Resize)": "axis 2 goes from 4 to 6",
        "node 'd' (QMul)": "multiplies one stream by another",
    }


def test_what_nothing_can_take_is_known_before_any_number() -> None:
    case = Case(
        (1, 3, 4, 4),
        "a = Conv (x, w) b = Relu (a) c = ConvTranspose (b, v) d = Cos (c) y = GlobalMaxPool (d)",
        "float[1,2,1,1]",
        (),
        {"w": (4, 3, 1, 1), "v": (4, 2, 2, 2)},
    )
    found = untaken(pipeline().run(case.model()))
    assert [(problem.where, problem.what) for problem in found] == [
        (f"node {name!r} ({kind})", f"there is no engine for the operator {kind!r}")
        for name, kind in (("c", "ConvTranspose"), ("d", "Cos"))
    ]


REFUSED = {
    "frames of a batch": (
        Case((2, 4), "y = MatMul (x, w)", "float[2,3]", (), {"w": (4, 3)}),
        "input 'x': has shape [2, 4] (frames go one after another: the first dimension must be 1)",
    ),
    "images of another shape": (
        Case(
            (1, 2, 3),
            "a = MatMul (x, w) b = Reshape (a, s) y = MatMul (b, v)",
            "float[1,4,5]",
            (),
            {"w": (3, 4), "v": (2, 5), "s": np.array([1, 4, 2])},
        ),
        "node 'y' (QMatMul): reads 'a/quantized' as [4, 2], which comes as [1, 2, 4]",
    ),
    "an image that is the same for all frames": (
        Case(
            (1, 2, 3, 3),
            "a = Conv (x, w) y = Add (a, c)",
            "float[1,2,3,3]",
            (),
            {"w": (2, 2, 1, 1), "c": (1, 2, 3, 3)},
        ),
        "node 'y' (QAdd): computes with a constant of shape [1, 3, 3, 2]",
    ),
    "an image and a vector": (
        Case(
            (1, 2, 3, 3),
            "a = Conv (x, w) b = GlobalAveragePool (a) y = Add (a, b)",
            "float[1,2,3,3]",
            (),
            {"w": (2, 2, 1, 1)},
        ),
        "node 'y' (QAdd): adds images of [3, 3, 2] and [1, 1, 2]",
    ),
    "what is real in between": (
        Case(
            (1, 4),
            "a = MatMul (x, w) b = Softmax (a) y = MatMul (b, v)",
            "float[1,3]",
            (),
            {"w": (4, 3), "v": (3, 3)},
        ),
        "reads 'b/quantized', which the host computes: reshape, dequantize, softmax, quantize",
    ),
    "windows in the padding alone": (
        Case(
            (1, 2, 3, 3),
            "y = Conv <pads = [0, 2, 0, 0]> (x, w)",
            "float[1,2,2,4]",
            (),
            {"w": (2, 2, 2, 2)},
        ),
        "node 'y' (QConvNhwc): has windows that lie beside the image (pad by less than the window",
    ),
    "a window that lies beside the image": (
        Case(
            (1, 3, 5, 5),
            "y = Conv <pads = [0, 0, 0, 2]> (x, w)",
            "float[1,2,4,6]",
            (),
            {"w": (2, 3, 2, 2)},
        ),
        "node 'y' (QConvNhwc): has windows that lie beside the image",
    ),
    "windows of three dimensions": (
        Case((1, 2, 3, 3, 3), "y = Conv (x, w)", "float[1,2,2,2,2]", (), {"w": (2, 2, 2, 2, 2)}),
        "node 'y' (QConv): there is no engine for the operator 'QConv'",
    ),
}


@pytest.mark.parametrize(("case", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_said(case: Case, message: str) -> None:
    rng = np.random.default_rng(3)
    samples = rng.standard_normal((4 * case.x[0], *case.x[1:])).astype(np.float32)
    with pytest.raises(ModelError) as caught:
        imported(integer_networks.lowered(case.model(), samples))
    assert message in str(caught.value)


def stored(integers: np.ndarray, activations: type = np.int8) -> ir.Model:
    """Return a quantized convolution with these weights, as files hold it."""
    zero = 0 if activations is np.int8 else 128
    return quantized.network(
        "y = Conv (x, w)",
        {"y": quantized.Integers((1, 4, 3, 3), 0.1, 3 + zero, activations)},
        x=quantized.Integers((1, 3, 5, 5), 0.05, -7 + zero, activations),
        w=quantized.Integers(integers, np.full(4, 0.1), np.zeros(4), integers.dtype.type, 0),
    )


@pytest.mark.parametrize(("low", "high", "bits"), [(-8, 8, 4), (-1, 2, 2), (-127, 128, 8)])
def test_weights_of_few_bits_stay_so(low: int, high: int, bits: int) -> None:
    dtype = ml_dtypes.int4 if bits == 4 else np.int8
    weights = np.random.default_rng(0).integers(low, high, (4, 3, 3, 3)).astype(dtype)
    model = pipeline().run(stored(weights))
    network = imported(model).network
    [layer] = network.layers
    assert isinstance(layer, Conv)
    assert layer.bits == bits
    np.testing.assert_array_equal(layer.weights, weights.transpose(0, 2, 3, 1))
    x = np.random.default_rng(1).integers(-128, 128, (5, 3, 5, 5), np.int8)
    apart = integer_networks.steps_apart(network, integer_networks.watched(model, network, x))
    assert apart[layer.name] <= 1


def test_integers_of_other_kinds_are_named() -> None:
    model = pipeline().run(stored(np.ones((4, 3, 3, 3), np.int8), np.uint8))
    with pytest.raises(ModelError, match="is UINT8, and engines compute with int8"):
        imported(model)
