"""What computes on int8: a graph of QuantizeLinear and DequantizeLinear, by LiteRT and by ONNX
Runtime. They round differently, so numbers may differ by one step of the output's scale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import litert
import numpy as np
import pytest

from tapeout.lowering.reference import Reference
from tapeout.targets.tflite.constraints import check
from tapeout.targets.tflite.fallbacks import in_float
from tapeout.targets.tflite.lower import to_tflite

import kernels
import support

RNG = np.random.default_rng(0)

#: (scale, zero point)
Meaning = tuple[float, int]
IN: Meaning = (0.05, -3)
OUT: Meaning = (0.08, 5)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@dataclasses.dataclass
class Quantized:
    """A network between QuantizeLinear and DequantizeLinear."""

    many: kernels.Collection = dataclasses.field(default_factory=kernels.Collection)

    def real(self, array: np.ndarray, meaning: Meaning = IN) -> str:
        """Add an input; return its numbers, rounded to int8."""
        return self.rounded(self.many.input(array), meaning)

    def rounded(self, value: str, meaning: Meaning) -> str:
        scale, zero = self.parameters(*meaning)
        return self.call(
            "DequantizeLinear", [self.call("QuantizeLinear", [value, scale, zero])[0], scale, zero]
        )[0]

    def parameters(self, scale: float, zero: int) -> tuple[str, str]:
        constant = self.many.constant
        return constant(np.array(scale, np.float32)), constant(np.array(zero, np.int8))

    def weight(self, array: np.ndarray, axis: int) -> tuple[str, np.ndarray]:
        """Add int8 weights with a scale for each index of an axis; return them and the scales."""
        others = tuple(index for index in range(array.ndim) if index != axis)
        scales = (np.abs(array).max(others) / 127).astype(np.float32)
        shape = [-1 if index == axis else 1 for index in range(array.ndim)]
        stored = np.rint(array / scales.reshape(shape)).astype(np.int8)
        zeros = self.many.constant(np.zeros(len(scales), np.int8))
        given = [self.many.constant(stored), self.many.constant(scales), zeros]
        return self.call("DequantizeLinear", given, axis=axis)[0], scales

    def bias(self, array: np.ndarray, scales: np.ndarray) -> str:
        scales = (scales * np.float32(IN[0])).astype(np.float32)
        stored = self.many.constant(np.rint(array / scales).astype(np.int32))
        zeros = self.many.constant(np.zeros(len(scales), np.int32))
        given = [stored, self.many.constant(scales), zeros]
        return self.call("DequantizeLinear", given, axis=0)[0]

    def call(
        self, name: str, inputs: Sequence[str], count: int = 1, **attributes: Any
    ) -> list[str]:
        self.many.add(name, inputs, count, **attributes)
        return list(self.many.nodes[-1].output)

    def assert_same(
        self, meaning: Meaning, *results: str, steps: float = 1, real: Sequence[str] = ()
    ) -> list[str]:
        """Compare the outputs; return the operators between the first and the last.

        Args:
            steps: of the output's scale, by which numbers may differ.
            real: the operators that are computed on real numbers.
        """
        ends = [self.rounded(value, meaning) for value in results]
        model = self.many.model()
        kept = [value for value in model.graph.outputs if value.name in ends]
        model.graph.outputs.clear()
        model.graph.outputs.extend(kept)
        expected = Reference(model).run(self.many.inputs)
        lowered = litert.PIPELINE.run(model.clone())
        assert check(lowered) == []
        assert [why.split(":")[0] for why in in_float(lowered).values()] == list(real)
        content = to_tflite(lowered)
        for xnnpack in (False, True):
            actual = litert.run(content, self.many.inputs, xnnpack=xnnpack)
            for name, wanted in expected.items():
                off = np.abs(actual[name] - wanted).max() / meaning[0]
                assert off <= steps + 0.001, f"{off} steps, xnnpack={xnnpack}"
                assert np.ptp(wanted) > 0
        return [name for name in litert.operators(content) if "QUANTIZE" not in name]


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("bounds", [None, (0.0, None), (0.0, 6.0)])
@pytest.mark.parametrize("pads", [[0] * 4, [1] * 4])
def test_convolutions(
    group: int, bounds: tuple[float, float | None] | None, pads: list[int]
) -> None:
    net = Quantized()
    weight, scales = net.weight(draw(4, 4 // group, 3, 3), 0)
    x = net.real(draw(1, 4, 7, 7))
    value = net.call(
        "Conv", [x, weight, net.bias(draw(4), scales)], group=group, pads=pads, strides=[2, 2]
    )[0]
    if bounds is not None:
        given = [net.many.constant(np.float32(bound)) for bound in bounds if bound is not None]
        value = net.call("Clip", [value, *given])[0]
    found = net.assert_same((0.06, -20), value)
    kept = [name for name in found if name not in ("PAD", "TRANSPOSE", "RESHAPE")]
    assert kept == ["CONV_2D" if group == 1 else "DEPTHWISE_CONV_2D"]


@pytest.mark.parametrize("biased", [False, True])
def test_gemm(biased: bool) -> None:
    net = Quantized()
    weight, scales = net.weight(draw(5, 8), 0)
    bias = [net.bias(draw(5), scales)] if biased else []
    value = net.call("Gemm", [net.real(draw(3, 8)), weight, *bias], transB=1)[0]
    assert net.assert_same(OUT, value) == ["FULLY_CONNECTED"]


def test_products_of_two_variables() -> None:
    net = Quantized()
    value = net.call("MatMul", [net.real(draw(2, 3, 8)), net.real(draw(2, 8, 4), (0.04, 7))])[0]
    assert net.assert_same(OUT, value) == ["BATCH_MATMUL"]


@pytest.mark.parametrize(("name", "said"), [("Add", "ADD"), ("Sub", "SUB"), ("Mul", "MUL")])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 4), (1,)])
def test_arithmetic(name: str, said: str, shape: tuple[int, ...]) -> None:
    net = Quantized()
    value = net.call(name, [net.real(draw(2, 3, 4)), net.real(draw(*shape), (0.03, 11))])[0]
    assert net.assert_same(OUT, value) == [said]


#: Functions of one number -> the operators, what the output means, attributes, steps.
UNARY: dict[str, tuple[list[str], Meaning, dict[str, Any], float]] = {
    "Elu": (["ELU"], OUT, {}, 1),
    "Gelu": (["GELU"], OUT, {}, 1),
    "HardSigmoid": (["MUL", "ADD"], (1 / 256, -128), {"alpha": 1 / 6}, 1),
    "HardSwish": (["HARD_SWISH"], OUT, {}, 1),
    "LeakyRelu": (["LEAKY_RELU"], OUT, {"alpha": 0.2}, 1),
    "LogSoftmax": (["LOG_SOFTMAX"], (16 / 256, 127), {}, 1),
    "ReduceSum": (["SUM"], (0.3, 7), {}, 1),
    "Sigmoid": (["LOGISTIC"], (1 / 256, -128), {}, 1),
    "Softmax": (["SOFTMAX"], (1 / 256, -128), {}, 1),
    "Swish": (["LOGISTIC", "MUL"], OUT, {}, 1),
    "Tanh": (["TANH"], (1 / 128, 0), {}, 1),
    # Kernels give one meaning, which a QUANTIZE behind them changes.
    "HardSigmoid to others": (["MUL", "ADD"], (0.01, 3), {}, 1),
    "Sigmoid to others": (["LOGISTIC"], (0.01, 3), {}, 1),
    "Softmax to others": (["TRANSPOSE", "SOFTMAX", "TRANSPOSE"], (0.005, -100), {"axis": 0}, 1.5),
    "Tanh to others": (["TANH"], (0.011, 3), {}, 1),
    "ReduceMax": (["REDUCE_MAX"], IN, {}, 0),
    "ReduceMin to others": (["REDUCE_MIN"], OUT, {}, 1),
    "Swish by 1.702": (["MUL", "LOGISTIC", "MUL"], OUT, {"alpha": 1.702}, 1),
}


@pytest.mark.parametrize("case", UNARY)
def test_functions(case: str) -> None:
    said, meaning, attributes, steps = UNARY[case]
    net, name = Quantized(), case.split()[0]
    axes = [net.many.constant(np.array([0]))] if name.startswith("Reduce") else []
    value = net.call(name, [net.real(draw(3, 8) * 3), *axes], **attributes)[0]
    assert net.assert_same(meaning, value, steps=steps) == said


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 0, 0]}),
        ("Elu", {"alpha": 0.5}),
        ("Resize", {"mode": "cubic"}),
        ("Sin", {}),
        ("Swish", {"alpha": -1.0}),
    ],
)
def test_what_has_no_kernel_on_integers_computes_on_real_numbers(
    name: str, attributes: dict[str, Any]
) -> None:
    net = Quantized()
    given = ["", net.many.constant(np.array([1, 1, 2, 2], np.float32))] if name == "Resize" else []
    value = net.call(name, [net.real(draw(1, 3, 4, 4)), *given], **attributes)[0]
    net.assert_same(OUT, value, real=["AveragePoolNhwc" if name == "AveragePool" else name])


@pytest.mark.parametrize("shape", [(3, 1, 1), (1,)])
def test_prelu(shape: tuple[int, ...]) -> None:
    net = Quantized()
    slope = net.many.constant(np.rint(draw(*shape) * 60).astype(np.int8))
    slope = net.call("DequantizeLinear", [slope, *net.parameters(0.01, 0)])[0]
    value = net.call("PRelu", [net.real(draw(1, 3, 4, 4)), slope])[0]
    assert "PRELU" in net.assert_same(OUT, value)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("space", [1, 2])
@pytest.mark.parametrize("bounds", [None, (0.0, 6.0)])
def test_transposed_convolutions(
    group: int, space: int, bounds: tuple[float, float] | None
) -> None:
    net = Quantized()
    kernel = [3, 2][:space]
    weight, scales = net.weight(draw(4, 6 // group, *kernel), 1)
    bias = net.bias(draw(6), np.tile(scales, group))
    value = net.call(
        "ConvTranspose", [net.real(draw(1, 4, *[5, 4][:space])), weight, bias],
        group=group, strides=[2] * space, pads=[1, 0][:space] * 2, dilations=[2, 1][:space],
    )[0]  # fmt: skip
    if bounds is not None:
        value = net.call("Clip", [value, *(net.many.constant(np.float32(x)) for x in bounds)])[0]
    found = net.assert_same((0.06, -20), value)
    assert found.count("TRANSPOSE_CONV") == group
    assert "ADD" not in found


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("meaning", [IN, OUT])
def test_resizes(mode: str, meaning: Meaning) -> None:
    net = Quantized()
    scales = net.many.constant(np.array([1, 1, 2, 2], np.float32))
    value = net.call("Resize", [net.real(draw(1, 3, 4, 5)), "", scales], mode=mode)[0]
    found = net.assert_same(meaning, value, steps=1 if mode == "nearest" else 1.5)
    name = "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    assert name in found


def test_weights_and_biases_of_other_meanings_are_computed_with_as_real_numbers() -> None:
    """The kernels would take them for symmetric, and for sums of products."""
    for zero, factor in ((3, 1.0), (0, 1.5)):
        net = Quantized()
        stored = net.many.constant(np.rint(draw(4, 3, 3, 3) * 40).astype(np.int8))
        weight = net.call("DequantizeLinear", [stored, *net.parameters(0.01, zero)])[0]
        bias = net.bias(draw(4), np.full(4, 0.01 * factor, np.float32))
        value = net.call("Conv", [net.real(draw(1, 3, 6, 6)), weight, bias])[0]
        net.assert_same(OUT, value, real=["ConvNhwc"])


def test_poolings() -> None:
    for name, attributes in (
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 0, 0]}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}),
        ("MaxPool", {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [1] * 4}),
        ("GlobalAveragePool", {}),
        ("GlobalMaxPool", {}),
    ):
        net = Quantized()
        value = net.call(name, [net.real(draw(1, 3, 6, 6))], **attributes)[0]
        found = net.assert_same(IN, value)
        assert "DEQUANTIZE" not in found[1:-1]
        net = Quantized()
        value = net.call(name, [net.real(draw(1, 3, 6, 6))], **attributes)[0]
        net.assert_same(OUT, value)


def test_reductions() -> None:
    net = Quantized()
    axes = net.many.constant(np.array([1, 2]))
    value = net.call("ReduceMean", [net.real(draw(2, 4, 5, 6)), axes])[0]
    assert net.assert_same((0.01, 3), value) == ["MEAN"]


def test_what_moves_numbers() -> None:
    net = Quantized()
    x = net.real(draw(2, 4, 6))

    def ints(*numbers: int) -> str:
        return net.many.constant(np.array(numbers, np.int64))

    values = [
        net.call("Transpose", [x], perm=[2, 0, 1])[0],
        net.call("Reshape", [x, ints(4, -1)])[0],
        net.call("Slice", [x, ints(1), ints(3), ints(1)])[0],
        net.call("Tile", [x, ints(1, 2, 1)])[0],
        net.call("Gather", [x, ints(3, 0)], axis=1)[0],
        net.call("Pad", [x, ints(0, 1, 0, 0, 2, 1)])[0],
        *net.call("Split", [x], 2, axis=2, num_outputs=2),
    ]
    found = net.assert_same(IN, *values)
    assert set(found) <= {
        "TRANSPOSE", "RESHAPE", "SLICE", "TILE", "GATHER", "PAD", "PADV2", "SPLIT_V",
    }  # fmt: skip


@pytest.mark.parametrize("meaning", [IN, OUT])
def test_what_moves_numbers_between_channels(meaning: Meaning) -> None:
    net = Quantized()
    x = net.real(draw(1, 4, 4, 6))
    values = [
        net.call("DepthToSpace", [x], blocksize=2)[0],
        net.call("DepthToSpace", [x], blocksize=2, mode="CRD")[0],
        net.call("SpaceToDepth", [x], blocksize=2)[0],
        net.call("GatherND", [x, net.many.constant(np.array([[0, 3, 2], [0, -1, 0]]))])[0],
        net.call("Expand", [x, net.many.constant(np.array([3, 4, 4, 6]))])[0],
    ]
    found = set(net.assert_same(meaning, *values, steps=0 if meaning == IN else 1))
    assert found <= {
        "BROADCAST_TO", "DEPTH_TO_SPACE", "GATHER", "GATHER_ND", "RESHAPE", "SPACE_TO_DEPTH",
        "TRANSPOSE",
    }  # fmt: skip


def test_concat_of_several_scales() -> None:
    net = Quantized()
    pieces = [net.real(draw(2, 3)), net.real(draw(2, 3), (0.02, 9)), net.real(draw(2, 3), OUT)]
    assert "CONCATENATION" in net.assert_same(OUT, net.call("Concat", pieces, axis=1)[0])


@pytest.mark.parametrize("bounds", [(0.0, 6.0), (0.0, None), (-1.0, 1.0), (-0.5, 2.0)])
def test_clips(bounds: tuple[float, float | None]) -> None:
    net = Quantized()
    given = [net.many.constant(np.float32(bound)) for bound in bounds if bound is not None]
    value = net.call("Clip", [net.real(draw(3, 8) * 4), *given])[0]
    net.assert_same(IN, value)


def test_weights_of_integers_beside_real_data_become_real() -> None:
    """Dynamic range: the weights are small in the file, and sums are those of real numbers."""
    net = Quantized()
    weight, _ = net.weight(draw(8, 5), 1)
    value = net.call("MatMul", [net.many.input(draw(3, 8)), weight])[0]
    model = net.many.model()
    model.graph.outputs[:] = [v for v in model.graph.outputs if v.name == value]
    found = litert.assert_same(model, net.many.inputs)
    assert "FULLY_CONNECTED" in found


def test_uint8_is_computed_on_int8() -> None:
    """As other tools quantize: unsigned activations, and weights around 128."""
    model = support.from_text(
        """g (float[1,3,6,6] x, float s, uint8 z, uint8[4,3,3,3] w, float ws, uint8 wz)
        => (float[1,4,4,4] y) {
            a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z)
            v = DequantizeLinear(w, ws, wz) c = Conv(b, v) r = Relu(c)
            d = QuantizeLinear(r, s, z) y = DequantizeLinear(d, s, z)
        }""",
        s=np.float32(0.02),
        z=np.uint8(120),
        w=RNG.integers(100, 156, (4, 3, 3, 3)).astype(np.uint8),
        ws=np.float32(0.01),
        wz=np.uint8(128),
    )
    feeds = {"x": draw(1, 3, 6, 6)}
    lowered = litert.PIPELINE.run(model.clone())
    assert in_float(lowered) == {}
    [wanted] = Reference(model).run(feeds).values()
    [found] = litert.run(to_tflite(lowered), feeds).values()
    assert np.abs(found - wanted).max() <= 0.0201


def test_integers_that_mean_different_numbers_to_different_nodes() -> None:
    """A tensor has one meaning in TFLite: what reads the integers as others does so by itself."""
    model = support.from_text(
        """g (float[3,3] x, int8[3,3] i, float a, float b, int8 z)
        => (float[3,3] y, float[3,3] v, float[3,3] w) {
            q = QuantizeLinear(x, a, z) r = Transpose(q) y = DequantizeLinear(r, b, z)
            v = DequantizeLinear(i, a, z) s = Transpose(i) w = DequantizeLinear(s, b, z)
        }""",
        a=np.float32(0.5),
        b=np.float32(0.125),
        z=np.int8(3),
    )
    litert.assert_same(model)
