"""Which operators become integer ones, with which constants, and what is left alone."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from tapeout.lowering import dialect
from tapeout.lowering.canonical import canonical, integers
from tapeout.lowering.matching import array_of, scalar_of
from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.passes.to_integer import ToInteger
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.lowering.reference import Reference

import quantized
import random_graphs
import support
from quantized import Integers

SCALES = np.array([0.1, 0.2, 0.4, 0.8])
ARRAY = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)

X = Integers((2, 3), 0.5, 10)
W = Integers(ARRAY, SCALES, np.zeros(4), axis=0)
B = Integers(np.array([1, 2, 3, -4], np.int32), SCALES / 2, np.zeros(4), np.int32, axis=0)
Y = {"y": Integers((2, 4), 0.25, -100)}

DENSE = "y = Gemm <transB = 1> (x, w, b)"


def integer(model: ir.Model) -> ir.Model:
    found = ToInteger()(model).model
    assert dialect.check(found, "canonical") == []
    return found


def is_left_alone(model: ir.Model) -> bool:
    before = support.body(model)
    result = ToInteger()(model)
    return not result.modified and support.body(result.model) == before


def constant(model: ir.Model, index: int) -> np.ndarray:
    """Return a constant input of the only node."""
    [node] = model.graph
    found = array_of(node.inputs[index])
    assert found is not None
    return found


def test_a_dense_layer_is_one_operator() -> None:
    model = integer(quantized.network(DENSE, Y, x=X, w=W, b=B))
    assert support.body(model) == (
        "y_q = tapeout.QMatMul <low: int = -128, high: int = 127>"
        ' (x_q, "y/weight", "y/bias", "y/multiplier", "y/x_zero_point", "y/y_zero_point")'
    )
    np.testing.assert_array_equal(constant(model, 1), ARRAY.T)
    np.testing.assert_array_equal(constant(model, 2), [1, 2, 3, -4])
    np.testing.assert_allclose(constant(model, 3), SCALES * 2, rtol=1e-6)
    assert [str(constant(model, index).dtype) for index in range(1, 5)] == [
        "int8", "int32", "float32", "int8",
    ]  # fmt: skip
    assert (constant(model, 4), constant(model, 5)) == (10, -100)


def test_what_is_added_behind_a_product_is_its_bias() -> None:
    matrix = Integers(np.ascontiguousarray(ARRAY.T), SCALES, np.zeros(4), axis=1)
    nodes = "m = MatMul(x, w) y = Add(b, m)"
    found = integer(quantized.network(nodes, Y, x=X, w=matrix, b=B))
    dense = integer(quantized.network(DENSE, Y, x=X, w=W, b=B))
    assert [node.op_type for node in found.graph] == ["QMatMul"]
    for index in range(1, 6):
        np.testing.assert_array_equal(constant(found, index), constant(dense, index))


def test_a_result_that_stays_real_gives_its_scaled_sums() -> None:
    model = integer(quantized.network(DENSE, {"y": "float[2,4]"}, x=X, w=W, b=B))
    assert [node.op_type for node in model.graph] == ["QMatMulFloat"]
    np.testing.assert_allclose(constant(model, 3), SCALES / 2, rtol=1e-6)


def test_a_bias_in_float_is_rounded_to_units_of_the_sums() -> None:
    model = support.from_text(
        """g (int8[2,3] x, float s, int8[4,3] w, float u, float[4] b) => (float[2,4] y) {
            d = DequantizeLinear(x, s)
            v = DequantizeLinear(w, u)
            y = Gemm <transB = 1> (d, v, b)
        }""",
        s=np.array(0.5, np.float32),
        w=ARRAY,
        u=np.array(0.5, np.float32),
        b=np.array([1, -1, 0.2, 0.1], np.float32),
    )
    np.testing.assert_array_equal(constant(integer(model), 2), [4, -4, 1, 0])


def test_the_limits_of_a_clip_become_those_of_the_integers() -> None:
    model = support.from_text(
        """g (int8[2,3] x, float s, int8[4,3] w, float lo, float hi, float t, int8 o)
        => (int8[2,4] y) {
            d = DequantizeLinear(x, s)
            v = DequantizeLinear(w, s)
            p = Gemm <transB = 1> (d, v)
            c = Clip(p, lo, hi)
            y = QuantizeLinear(c, t, o)
        }""",
        s=np.array(0.5, np.float32),
        w=ARRAY,
        lo=np.array(0, np.float32),
        hi=np.array(6, np.float32),
        t=np.array(0.1, np.float32),
        o=np.array(-20, np.int8),
    )
    assert "QMatMul <low: int = -20, high: int = 40>" in support.body(integer(model))


def test_a_sum_scales_its_inputs_by_whole_factors() -> None:
    a, b = Integers((2, 4), 0.5, 10), Integers((2, 4), 0.125, 0, np.uint8)
    model = integer(quantized.network("y = Sub(a, b)", Y, a=a, b=b))
    [node] = model.graph
    assert node.op_type == "QAdd"
    bias, multiplier, first, second = (scalar_of(value) for value in node.inputs[2:6])
    assert bias is not None
    assert multiplier is not None
    assert first is not None
    assert second is not None
    assert (first * multiplier, second * multiplier, bias) == (2, -0.5, -10 * first)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_functions_of_one_number_become_a_table(dtype: type) -> None:
    x = Integers((2, 3), 0.0625, 5, dtype)
    y = Integers((2, 3), 0.01, 7, dtype)
    model = quantized.network("s = Sigmoid(x) y = HardSwish(s)", {"y": y}, x=x)
    found = integer(model)
    assert support.body(found) == 'y_q = tapeout.QTable (x_q, "y/table")'
    table = constant(found, 1)
    info = np.iinfo(dtype)
    for number in (info.min, info.min + 100, info.max):
        real = 1 / (1 + np.exp(-0.0625 * (number - 5)))
        real *= (real + 3) / 6
        assert table[number % 256] == np.rint(real / 0.01) + 7


#: Why -> the network: operator, outputs, tensors.
LEFT: dict[str, ir.Model] = {
    "weights that are computed": quantized.network(
        "y = MatMul(x, v)", Y, x=X, v=Integers((3, 4), 0.5)
    ),
    "weights whose distances from their zero point are no int8": quantized.network(
        DENSE, Y, x=X, w=Integers(ARRAY, 0.5, 123), b=B
    ),
    "scales along the axis that is summed": quantized.network(
        DENSE, Y, x=X, w=Integers(ARRAY, np.ones(3), np.zeros(3), axis=1), b=B
    ),
    "data with several scales": quantized.network(
        DENSE, Y, x=Integers((2, 3), np.ones(3), np.zeros(3), axis=1), w=W, b=B
    ),
    "data of 16 bits": quantized.network(DENSE, Y, x=Integers((2, 3), 0.5, 0, np.int16), w=W, b=B),
    "sums that int32 might not hold": quantized.network(
        DENSE, Y, x=X, w=W, b=Integers(np.full(4, (1 << 31) - 1, np.int32), 0.05, 0, np.int32)
    ),
    "a sum that is not quantized": quantized.network(
        "y = Add(x, a)", {"y": "float[2,3]"}, x=X, a=X
    ),
    "a function that gives no number for some": quantized.network(
        "y = Log(x)", {"y": Integers((2, 3), 0.25)}, x=X
    ),
    "a function of two": quantized.network(
        "y = Pow(x, a)", {"y": Integers((2, 3), 0.25)}, x=X, a=X
    ),
    "means of windows that differ in size": quantized.network(
        "y = AveragePool <kernel_shape = [3], pads = [1, 1]> (x)",
        {"y": Integers((1, 2, 8), 0.25)},
        x=Integers((1, 2, 8), 0.5),
    ),
}


@pytest.mark.parametrize("why", LEFT)
def test_left_alone(why: str) -> None:
    assert is_left_alone(LEFT[why])


def test_a_network_without_integers_stays_as_it_is() -> None:
    model = canonical("nhwc").run(quantized.real_model("digits_cnn"))
    before = support.body(model)
    assert support.body(integers().run(model)) == before


@settings(max_examples=30, derandomize=True)
@given(model=random_graphs.models())
def test_random_networks_keep_their_numbers_within_two_steps(model: ir.Model) -> None:
    scheme = SCHEMES["tflite"]
    assert isinstance(scheme, Scheme)
    model = canonical("nchw").run(model)
    batches = [support.random_feeds(model, seed) for seed in range(3)]
    simulated = Quantize(quantized.min_max(model, scheme, batches))(model).model
    lowered = integers().run(canonical("nhwc").run(simulated.clone()), dialect.check)
    assert dialect.check(lowered, "canonical") == []
    expected, found = (Reference(item).run(batches[0]) for item in (simulated, lowered))
    for name, wanted in expected.items():
        step = (np.ptp(wanted) + np.abs(wanted).max()) / 255
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=2 * step)


#: The operators of a quantized network that are none of ours, by scheme.
REST = {
    "int8": {"QuantizeLinear", "Reshape", "Softmax"},
    "tflite": {"DequantizeLinear", "QuantizeLinear", "Reshape", "Softmax"},
}


@pytest.mark.parametrize("scheme", REST)
@pytest.mark.parametrize("name", support.NAMES)
def test_real_networks_are_integers_from_end_to_end(name: str, scheme: str) -> None:
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 4)
    found = SCHEMES[scheme]
    assert isinstance(found, Scheme)
    simulated = Quantize(quantized.min_max(model, found, batches))(model).model
    lowered = integers().run(canonical("nhwc").run(simulated.clone()), dialect.check)
    assert dialect.check(lowered, "canonical") == []
    onnx.checker.check_model(ir.to_proto(lowered))
    assert {node.op_type for node in lowered.graph if not node.domain} <= REST[scheme]
    wanted, computed = Reference(simulated), Reference(lowered)
    for feeds in batches:
        for key, expected in wanted.run(feeds).items():
            off = np.abs(computed.run(feeds)[key] - expected).max()
            assert off <= 0.02 * max(1.0, float(np.ptp(expected)))
