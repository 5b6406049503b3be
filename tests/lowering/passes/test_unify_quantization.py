from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType

from tapeout.lowering import dialect
from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.passes.unify_quantization import UnifyQuantization
from tapeout.lowering.reference import Reference

import support


class Reader(quantization.CalibrationDataReader):
    """Real samples, one at a time."""

    def __init__(self, name: str, feed: str, count: int) -> None:
        self._feeds = iter({feed: x[None]} for x in support.real_inputs(name, count))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def quantize_static(
    folder: Path,
    name: str,
    form: QuantFormat,
    activations: QuantType,
    weights: QuantType,
    per_channel: bool,
) -> Path:
    """Return one of the real models as ONNX Runtime quantizes it."""
    path, result = support.MODELS / f"{name}.onnx", folder / f"{name}.onnx"
    feed = onnx.load(path).graph.input[0].name
    quantization.quantize_static(
        path,
        result,
        Reader(name, feed, 8),
        quant_format=form,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
    )
    return result


def feeds_of(model: ir.Model, name: str) -> dict[str, np.ndarray]:
    return {str(model.graph.inputs[0].name): support.real_inputs(name, 1)}


def outputs(model: ir.Model, name: str) -> np.ndarray:
    return next(iter(Reference(model).run(feeds_of(model, name)).values()))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("form", "activations", "weights", "per_channel"),
    [
        (QuantFormat.QOperator, QuantType.QUInt8, QuantType.QUInt8, False),
        (QuantFormat.QOperator, QuantType.QUInt8, QuantType.QInt8, True),
        (QuantFormat.QOperator, QuantType.QInt8, QuantType.QInt8, True),
        (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QUInt8, False),
        (QuantFormat.QDQ, QuantType.QInt8, QuantType.QInt8, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["digits_cnn", "resnet8_cifar10"])
def test_static_quantization(
    tmp_path: Path,
    name: str,
    form: QuantFormat,
    activations: QuantType,
    weights: QuantType,
    per_channel: bool,
    layout: str,
) -> None:
    path = quantize_static(tmp_path, name, form, activations, weights, per_channel)
    file = onnx.load(path)
    expected = run_file(path, support.real_inputs(name, 1))
    model = canonical("nhwc" if layout == "nhwc" else "nchw").run(load(path), dialect.check)
    assert dialect.check(model, "canonical") == []
    kinds = Counter(node.op_type for node in model.graph)
    assert not [kind for kind in kinds if kind.startswith(("QLinear", "QGemm"))]
    weighted = sum(
        node.op_type in ("Conv", "QLinearConv", "Gemm", "MatMul", "QGemm", "QLinearMatMul")
        for node in file.graph.node
    )
    assert integer_weights(model) >= weighted
    actual = outputs(model, name)
    # A tie of one rounding may move a few values by a step, and those that follow.
    np.testing.assert_allclose(actual, expected, atol=0.02 * float(np.ptp(expected)))
    if layout == "nhwc" and name == "resnet8_cifar10":
        assert kinds["Transpose"] == 0


def run_file(path: Path, data: np.ndarray) -> np.ndarray:
    """Run a file as it is, as ONNX Runtime does without fusing anything."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: data})[0])


def integer_weights(model: ir.Model) -> int:
    """Return how many constants of 8-bit integers are dequantized."""
    return sum(
        node.op_type == "DequantizeLinear"
        and node.inputs[0] is not None
        and node.inputs[0].is_initializer()
        and node.inputs[0].dtype in (ir.DataType.INT8, ir.DataType.UINT8)
        for node in model.graph
    )


def test_dynamic_quantization(tmp_path: Path) -> None:
    """MatMulInteger after DynamicQuantizeLinear: the scale of the data is computed."""
    path = tmp_path / "quantized.onnx"
    quantization.quantize_dynamic(support.MODELS / "ad_autoencoder.onnx", path, per_channel=True)
    expected = run_file(path, support.real_inputs("ad_autoencoder", 1))
    model = load(path)
    before = Counter(node.op_type for node in model.graph)
    UnifyQuantization()(model)
    after = Counter(node.op_type for node in model.graph)
    assert before["MatMulInteger"] > 0
    assert after["MatMulInteger"] == 0
    assert after["MatMul"] == before["MatMulInteger"]
    assert after["DynamicQuantizeLinear"] == before["DynamicQuantizeLinear"]
    assert dialect.check(model) == []
    actual = outputs(model, "ad_autoencoder")
    np.testing.assert_allclose(actual, expected, atol=0.02 * float(np.ptp(expected)))


def test_sums_that_are_used_as_integers_stay() -> None:
    model = support.from_text(
        """g (uint8[2,3] x, uint8[3,4] w) => (int32[2,4] y) {
            y = MatMulInteger(x, w)
        }""",
        w=np.arange(12, dtype=np.uint8).reshape(3, 4),
    )
    before = support.body(model)
    assert not UnifyQuantization()(model).modified
    assert support.body(model) == before


def test_the_parts_of_a_convolution() -> None:
    rng = np.random.default_rng(0)
    model = support.from_text(
        """g (uint8[1,2,5,5] x, float[1] xs, uint8[1] xz, int8[3,2,3,3] w, float[3] ws, int8[3] wz,
              float ys, uint8 yz, int32[3] b) => (uint8[1,3,3,3] y) {
            y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)
        }""",
        xs=np.array([0.02], np.float32),
        xz=np.array([7], np.uint8),
        w=rng.integers(-127, 127, (3, 2, 3, 3), np.int8),
        ws=np.array([0.01, 0.02, 0.03], np.float32),
        wz=np.zeros(3, np.int8),
        ys=np.array(0.5, np.float32),
        yz=np.array(128, np.uint8),
        b=np.array([100, -200, 300], np.int32),
    )
    feeds = {"x": rng.integers(0, 255, (1, 2, 5, 5), np.uint8)}
    expected = Reference(model).run(feeds)["y"]
    UnifyQuantization()(model)
    assert dialect.check(model) == []
    assert [node.op_type for node in model.graph] == [
        "DequantizeLinear",
        "DequantizeLinear",
        "DequantizeLinear",
        "Conv",
        "QuantizeLinear",
    ]
    steps = Reference(model).run(feeds)["y"].astype(int) - expected.astype(int)
    assert abs(steps).max() <= 1


def test_constant_integers_lie_as_they_are_used() -> None:
    """A kernel of TensorFlow, height x width x inputs x outputs, that is stored as integers."""
    rng = np.random.default_rng(0)
    model = support.from_text(
        """g (float[1,2,5,5] x, int8[3,3,2,4] w, float[4] s) => (float[1,4,3,3] y)
            <int64[4] d = {4,2,3,3}, int64[3] m = {4,2,9}> {
            r = DequantizeLinear<axis=3>(w, s)
            t = Transpose<perm=[3,2,0,1]>(r)
            f = Reshape(t, m)
            g = Reshape(f, d)
            y = Conv(x, g)
        }""",
        w=rng.integers(-127, 128, (3, 3, 2, 4), np.int8),
        s=rng.uniform(0.01, 0.1, 4).astype(np.float32),
    )
    after = support.assert_same_numbers(model, run, tolerance=0)
    assert [node.op_type for node in after.graph] == ["DequantizeLinear", "Conv"]
    assert after.graph[0].attributes.get_int("axis") == 0
    assert not UnifyQuantization()(after).modified


def run(model: ir.Model) -> ir.Model:
    after = UnifyQuantization()(model).model
    assert dialect.check(after) == []
    return after


def test_a_shape_that_loses_the_axis_stays() -> None:
    model = support.from_text(
        """g (float[6] x, int8[2,3] w) => (float[6] y) <float[3] s = {1,2,3}, int64[1] n = {6}> {
            r = DequantizeLinear(w, s)
            f = Reshape(r, n)
            y = Mul(x, f)
        }""",
        w=np.arange(6, dtype=np.int8).reshape(2, 3),
    )
    assert not UnifyQuantization()(model).modified


def test_constants_do_not_grow_without_bound() -> None:
    """Integers that others read as they lie are turned only if there is room for them twice."""
    model = support.from_text(
        """g (float[4,4] x, int8[4,4] w) => (float[4,4] y) <float s = {0.5}> {
            r = DequantizeLinear(w, s)
            t = Transpose<perm=[1,0]>(r)
            a = Mul(x, r)
            y = Mul(a, t)
        }""",
        w=np.arange(16, dtype=np.int8).reshape(4, 4),
    )
    assert not UnifyQuantization(growth=15)(model).modified
    after = support.assert_same_numbers(
        model, lambda before: UnifyQuantization(growth=16)(before).model, tolerance=0
    )
    assert [node.op_type for node in after.graph].count("Transpose") == 0


def test_integers_that_are_given_back_stay_integers() -> None:
    model = support.from_text(
        """g (float[1,1,4,4] x, float s, uint8 z) => (float[1,1,4,4] y, uint8[1,1,4,4] q) {
            q = QuantizeLinear(x, s, z)
            r = DequantizeLinear(q, s, z)
            p = QuantizeLinear(r, s, z)
            o = DequantizeLinear(p, s, z)
            y = Neg(o)
        }""",
        s=np.array(0.03, np.float32),
        z=np.array(128, np.uint8),
    )
    after = support.assert_same_numbers(model, run, tolerance=0)
    kinds = [node.op_type for node in after.graph]
    assert kinds == ["QuantizeLinear", "DequantizeLinear", "Neg"]


def test_an_output_that_is_given_back_keeps_its_name() -> None:
    model = support.from_text(
        """g (uint8[4] x) => (uint8[4] y) <float s = {0.5}, uint8 z = {3}> {
            r = DequantizeLinear(x, s, z)
            y = QuantizeLinear(r, s, z)
        }"""
    )
    after = support.assert_same_numbers(model, run, tolerance=0)
    assert support.body(after) == "y = Identity (x)"


def test_parameters_that_do_not_go_together_are_left_alone() -> None:
    """The importers refuse them; a pass does not end in an error of numpy."""
    model = support.from_text(
        """g (uint8[2,3] x, float s, uint8 z, int8[3,4] w, float[4] ws, int8[3] wz)
            => (uint8[2,4] y) {
            y = QLinearMatMul(x, s, z, w, ws, wz, s, z)
        }""",
        s=np.array(0.5, np.float32),
        z=np.array(0, np.uint8),
        w=np.zeros((3, 4), np.int8),
        ws=np.ones(4, np.float32),
        wz=np.zeros(3, np.int8),
    )
    assert not UnifyQuantization()(model).modified


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16])
def test_saturation_clamps(dtype: type[np.integer]) -> None:
    model = support.from_text(
        f"""g (float[64] x, float s, {np.dtype(dtype)} z) => ({np.dtype(dtype)}[64] y)
            <float l = {{0}}, float h = {{9}}> {{
            a = Relu(x)
            b = Clip(a, l, h)
            y = QuantizeLinear(b, s, z)
        }}""",
        s=np.array(2 / 65535 if dtype == np.int16 else 2 / 255, np.float32),
        z=np.array(np.iinfo(dtype).min, dtype),
    )
    after = support.assert_same_numbers(model, run, tolerance=0)
    assert [node.op_type for node in after.graph] == ["QuantizeLinear"]
