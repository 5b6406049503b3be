"""Integer kernels: bit for bit what ONNX Runtime makes of the operators' definitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.canonical import canonical, integers
from tapeout.lowering.reference import Reference

import kernels
import quantized
from quantized import Integers

RNG = np.random.default_rng(0)


def weights(*shape: int, axis: int | None = None, dtype: type = np.int8) -> Integers:
    """Return constant integers, symmetric, with one scale or one for each position of an axis."""
    held = RNG.integers(-127, 128, shape).astype(dtype)
    if axis is None:
        return Integers(held, 0.03, 0, dtype)
    count = shape[axis]
    return Integers(held, RNG.uniform(0.01, 0.06, count), np.zeros(count), dtype, axis)


def bias(scale: float, count: int) -> Integers:
    return Integers(RNG.integers(-5000, 5000, count).astype(np.int32), scale, 0, np.int32)


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, and the integer operators that it becomes."""

    kinds: tuple[str, ...]
    nodes: str
    outputs: Mapping[str, Integers | str]
    tensors: Mapping[str, Integers]

    def model(self) -> ir.Model:
        return quantized.network(self.nodes, self.outputs, **self.tensors)


def case(kinds: str, nodes: str, y: Integers | str, **tensors: Integers) -> Case:
    return Case(tuple(kinds.split()), nodes, {"y": y}, tensors)


def data(*shape: int, scale: float = 0.05, zero: int = 7, dtype: type = np.int8) -> Integers:
    return Integers(shape, scale, zero, dtype)


CASES = {
    "a convolution with a bias, of two samples": case(
        "QConvNhwc", "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)", data(2, 10, 7, 5, scale=0.9),
        x=data(2, 6, 7, 5), w=weights(10, 6, 3, 3, axis=0), b=bias(0.0015, 10),
    ),
    "uneven pads, strides and dilations, a Relu, without sign": case(
        "QConvNhwc",
        "c = Conv <pads = [0, 1, 2, 1], strides = [2, 1], dilations = [1, 2]> (x, w) y = Relu(c)",
        data(1, 16, 5, 5, scale=0.9, dtype=np.uint8),
        x=data(1, 3, 10, 7, zero=255, dtype=np.uint8), w=weights(16, 3, 3, 3),
    ),
    "depthwise": case(
        "QConvNhwc", "y = Conv <pads = [1, 1, 1, 1], group = 24> (x, w)", data(1, 24, 5, 5),
        x=data(1, 24, 5, 5, zero=-128), w=weights(24, 1, 3, 3, axis=0),
    ),
    "two outputs for each channel, in float": case(
        "QConvNhwcFloat", "y = Conv <group = 6> (x, w)", "float[1,12,3,3]",
        x=data(1, 6, 5, 5), w=weights(12, 1, 3, 3, axis=0),
    ),
    "groups": case(
        "QConvNhwc", "y = Conv <pads = [1, 1, 1, 1], group = 3> (x, w)", data(1, 24, 5, 5),
        x=data(1, 12, 5, 5), w=weights(24, 4, 3, 3),
    ),
    "one dimension": case(
        "QConvNwc", "y = Conv <pads = [1, 1]> (x, w)", data(1, 17, 7),
        x=data(1, 12, 7), w=weights(17, 12, 3),
    ),
    "three dimensions": case(
        "QConv", "y = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w, b)", data(1, 4, 5, 6, 7),
        x=data(1, 2, 5, 6, 7), w=weights(4, 2, 3, 3, 3, axis=0), b=bias(0.0015, 4),
    ),
    "a dense layer": case(
        "QMatMul", "y = Gemm <transB = 1> (x, w, b)", data(3, 10, scale=0.9),
        x=data(3, 50), w=weights(10, 50, axis=0), b=bias(0.0015, 10),
    ),
    "a product of a stack and a matrix": case(
        "QMatMul", "m = MatMul(x, w) y = Add(m, b)", data(2, 3, 10, scale=0.9),
        x=data(2, 3, 50), w=weights(50, 10, axis=1), b=bias(0.0015, 10),
    ),
    "a product of a vector, in float": case(
        "QMatMulFloat", "y = MatMul(x, w)", "float[17]", x=data(50), w=weights(50, 17)
    ),
    "a sum of two scales, broadcast": case(
        "QAdd", "y = Add(x, a)", data(2, 3, 17), x=data(2, 3, 17, scale=0.04),
        a=data(3, 17, zero=0, dtype=np.uint8),
    ),
    "a difference": case(
        "QAdd", "y = Sub(x, a)", data(2, 3, 16), x=data(2, 3, 16, scale=0.04), a=data(3, 1)
    ),
    "a product of two tensors": case(
        "QMul", "y = Mul(x, a)", data(2, 3, 16), x=data(2, 3, 16), a=data(2, 3, 1, scale=0.01)
    ),
    "another scale": case(
        "QRescale", "y = Identity(x)", data(5, 16, scale=0.09, dtype=np.uint8), x=data(5, 16)
    ),
    "a table": case(
        "QTable", "e = Sigmoid(x) y = Neg(e)", data(3, 40, scale=0.004, zero=100), x=data(3, 40)
    ),
    "a table without sign": case(
        "QTable", "y = Tanh(x)", data(5, 7, scale=0.01, zero=100, dtype=np.uint8),
        x=data(5, 7, dtype=np.uint8, zero=128),
    ),
    "a table of a number": case(
        "QTable", "y = Tanh(x)", data(scale=0.01, zero=100, dtype=np.uint8),
        x=data(dtype=np.uint8, zero=128),
    ),
    "means": case(
        "QAveragePoolNhwc", "y = AveragePool <kernel_shape = [3, 2], strides = [2, 1]> (x)",
        data(1, 5, 3, 6, scale=0.04), x=data(1, 5, 8, 7),
    ),
    "means with pads": case(
        "QAveragePoolNhwc",
        "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x)",
        data(1, 5, 8, 7, scale=0.04), x=data(1, 5, 8, 7, zero=-100),
    ),
    "one mean of everything": case(
        "QAveragePoolNhwc", "y = GlobalAveragePool(x)", data(1, 32, 1, 1), x=data(1, 32, 8, 7)
    ),
    "maxima": case(
        "", "y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)", data(1, 5, 8, 7),
        x=data(1, 5, 8, 7),
    ),
    "a concatenation of two scales": case(
        "QRescale", "y = Concat <axis = 1> (x, a)", data(1, 10, 8, 7), x=data(1, 5, 8, 7),
        a=data(1, 5, 8, 7, scale=0.04),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bits(name: str) -> None:
    case = CASES[name]
    model = case.model()
    feeds = quantized.integer_feeds(model)
    simulated = Reference(model).run(feeds)
    lowered = integers().run(canonical("nhwc").run(model))
    assert tuple(node.op_type for node in lowered.graph if node.domain) == case.kinds or (
        case.kinds == ()
        and {node.op_type for node in lowered.graph if node.domain} <= {"MaxPoolNhwc"}
    )
    expected = Reference(lowered).run(feeds)
    found = kernels.run(lowered, feeds)
    for key, wanted in expected.items():
        np.testing.assert_array_equal(found[key], wanted)
        _assert_close(wanted, simulated[key])


def test_constants_of_four_bits() -> None:
    """As weights of an integer kernel, and of a product in float."""
    narrow = Integers(RNG.integers(-7, 8, (6, 8)).astype(ml_dtypes.int4), 0.1, 0, ml_dtypes.int4)
    tensors = {"x": data(3, 8), "w": narrow}
    for nodes, kinds in (
        ("y = Gemm <transB = 1> (x, w)", ["QMatMulFloat"]),
        (
            "e = Exp(x) y = Gemm <transB = 1> (e, w)",
            ["DequantizeLinear", "Exp", "DequantizeLinear", "Gemm"],
        ),
    ):
        model = integers().run(quantized.network(nodes, {"y": "float[3,6]"}, **tensors))
        assert sorted(node.op_type for node in model.graph) == sorted(kinds)
        kernels.assert_same(model, quantized.integer_feeds(model))


def _assert_close(found: np.ndarray, simulated: np.ndarray) -> None:
    """At most one step away, in one element of twenty; floats by float32's rounding."""
    if found.dtype == np.float32:
        np.testing.assert_allclose(found, simulated, rtol=1e-5, atol=1e-5 * np.abs(found).max())
        return
    steps = np.abs(found.astype(int) - simulated)
    assert steps.max() <= 1
    assert np.mean(steps) <= 0.05
    assert simulated.size == 1 or simulated.std() > 1  # there is something to compare
