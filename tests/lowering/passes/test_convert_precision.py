from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from tapeout.errors import UsageError
from tapeout.lowering import dialect
from tapeout.lowering.analysis.calibrate import calibrate
from tapeout.lowering.analysis.overflow import keep_list, observed
from tapeout.lowering.canonical import canonical
from tapeout.lowering.names import joined
from tapeout.lowering.passes.convert_precision import ConvertPrecision
from tapeout.lowering.quantization.sqnr import sqnr
from tapeout.lowering.reference import Reference

import quantized
import random_graphs
import support

RNG = np.random.default_rng(0)
FORMATS = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}

#: How far, relative to the largest output, a short chain of nodes may be from float32.
NEAR = {"float16": 2e-3, "bfloat16": 2e-2}


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def run(model: ir.Model, dtype: str = "float16", keep: str = "") -> ir.Model:
    after = ConvertPrecision(dtype, keep)(model.clone()).model
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    for before, value in zip(model.graph.outputs, after.graph.outputs, strict=True):
        assert (value.name, value.dtype, value.shape) == (before.name, before.dtype, before.shape)
    for value in after.graph.inputs:
        assert value.dtype == next(v.dtype for v in model.graph.inputs if v.name == value.name)
    return after


def outputs(model: ir.Model, batches: list[quantized.Feeds]) -> np.ndarray:
    reference = Reference(model)
    return np.concatenate([next(iter(reference.run(batch).values())) for batch in batches])


def stored(model: ir.Model) -> int:
    values = model.graph.initializers.values()
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)


#: dB at the output, in half precision and in bfloat16, at least.
REAL = {
    "digits_cnn": (55, 40),
    "resnet8_cifar10": (45, 29),
    "kws_dscnn": (85, 65),
    "ad_autoencoder": (60, 45),
    "vww_mobilenet": (50, 33),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("dtype", FORMATS)
def test_real_models(name: str, dtype: str) -> None:
    decibels = REAL[name][dtype == "bfloat16"]
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 16)
    found = keep_list(model, calibrate(model, batches, observed(model)), FORMATS[dtype])
    after = run(model, dtype, joined(found))
    assert dialect.check(after, "canonical") == []
    assert [node.name for node in model.graph] == [
        node.name for node in after.graph if node.op_type != "Cast"
    ]
    assert sum(node.op_type == "Cast" for node in after.graph) == 2
    assert stored(after) < 0.51 * stored(model)
    expected = outputs(model, batches)
    assert sqnr(expected, outputs(after, batches)) > decibels
    lowered = canonical("nhwc").run(after)
    assert dialect.check(lowered, "canonical") == []
    assert sqnr(expected, outputs(lowered, batches)) > decibels
    assert stored(lowered) < 0.51 * stored(model)


def test_digits_lose_no_accuracy_in_half_precision() -> None:
    data = np.load(support.MODELS / "digits.npz")
    model = quantized.real_model("digits_cnn")
    batches = quantized.real_batches("digits_cnn", model, len(data["test"]))
    before, after = (
        np.mean(outputs(stage, batches).argmax(axis=1) == data["labels"])
        for stage in (model, run(model))
    )
    assert before > 0.98
    assert after >= before


def test_activations_beyond_the_range_stay_float_and_finite() -> None:
    """Layers whose sums reach 1e6 between layers that do not; rounded as a device rounds."""
    model = support.from_text(
        """g (float[1,16] x, float[16,16] a, float[16,16] b, float[16,16] c, float[16,16] d)
            => (float[1,16] y) {
            p = Gemm<transB=1>(x, a)
            q = Gemm<transB=1>(p, b)
            r = Gemm<transB=1>(q, c)
            y = Gemm<transB=1>(r, d)
        }""",
        a=draw(16, 16),
        b=draw(16, 16) * 20000,
        c=draw(16, 16) / 20000,
        d=draw(16, 16),
    )
    batches = [{"x": draw(1, 16)} for _ in range(20)]
    expected = outputs(model, batches)
    assert not np.isfinite(outputs(run(model), batches)).all()
    found = keep_list(model, calibrate(model, batches, observed(model)))
    assert list(found) == ["q", "r"]
    after = run(model, keep=joined(found))
    dtypes = {value.name: value.dtype for node in after.graph for value in node.outputs}
    assert dtypes["p"] == ir.DataType.FLOAT16
    assert dtypes["q"] == ir.DataType.FLOAT
    assert sqnr(expected, outputs(after, batches)) > 50


@pytest.mark.parametrize("dtype", FORMATS)
def test_casts_are_at_the_border_and_constants_converted(dtype: str) -> None:
    model = support.from_text(
        "g (float[2,3] x, float[3] w, float low) => (float[2,3] y, float[2,3] a)"
        " { a = Mul(x, w) y = Clip(a, low) }",
        w=draw(3),
        low=np.array(0, np.float32),
    )
    after = support.assert_same_numbers(model, lambda m: run(m, dtype), tolerance=NEAR[dtype])
    to = int(FORMATS[dtype])
    assert support.body(after) == "\n".join(
        [
            f'"a/{dtype}" = Cast <to: int = {to}> (x)',
            f'"a/float32" = Mul ("a/{dtype}", w)',
            'a = Cast <to: int = 1> ("a/float32")',
            '"y/float32" = Clip ("a/float32", low)',
            'y = Cast <to: int = 1> ("y/float32")',
        ]
    )


def test_kept_nodes_have_casts_around_them_each_value_once() -> None:
    model = support.from_text(
        """g (float[4] x, float[4] w) => (float[4] y) {
            a = Mul(x, w)
            b = Exp(a)
            c = Sin(a)
            d = Add(b, c)
            y = Mul(d, w)
        }""",
        w=draw(4),
    )
    after = support.assert_same_numbers(model, lambda m: run(m, keep="b;c"), tolerance=2e-3)
    inside = [node.op_type for node in after.graph]
    assert inside == ["Cast", "Mul", "Cast", "Exp", "Sin", "Cast", "Cast", "Add", "Mul", "Cast"]
    dtypes = {node.name: node.outputs[0].dtype for node in after.graph}
    assert (dtypes["a"], dtypes["b"]) == (ir.DataType.FLOAT16, ir.DataType.FLOAT)


def test_a_constant_that_a_kept_node_reads_is_doubled() -> None:
    model = support.from_text(
        "g (float[4] x, float[4] w) => (float[4] y) { a = Mul(x, w) b = Exp(a) y = Mul(b, w) }",
        w=draw(4),
    )
    after = support.assert_same_numbers(model, lambda m: run(m, keep="y"), tolerance=2e-3)
    dtypes = sorted(value.dtype.name for value in after.graph.initializers.values())
    assert dtypes == ["FLOAT", "FLOAT16"]


def test_light_nodes_between_float_ones_stay_float() -> None:
    model = support.from_text(
        """g (float[2,3,4] x, int64[2] s, float low) => (float[6,4] y) {
            a = Exp(x)
            b = Transpose<perm=[1,0,2]>(a)
            c = Reshape(b, s)
            d = Clip(c, low)
            y = Exp(d)
        }""",
        s=np.array([6, 4]),
        low=np.array(0, np.float32),
    )
    assert not ConvertPrecision("float16", "a;y")(model.clone()).modified
    after = support.assert_same_numbers(model, lambda m: run(m, keep="a"), tolerance=2e-3)
    assert [node.op_type for node in after.graph if node.outputs[0].dtype != ir.DataType.FLOAT] == [
        "Cast", "Transpose", "Reshape", "Clip", "Exp"
    ]  # fmt: skip


def test_bounds_and_fillings_end_at_the_range() -> None:
    model = support.from_text(
        """g (float[4] x, bool[4] c, float low, float high, float fill) => (float[4] y) {
            a = Clip(x, low, high)
            b = Where(c, a, fill)
            m = Exp(b)
            y = Mul(m, m)
        }""",
        low=np.array(-3e38, np.float32),
        high=np.array(1e5, np.float32),
        fill=np.array(-1e9, np.float32),
    )
    feeds = {"x": np.array([1, 2, -3, 0.5], np.float32), "c": np.array([1, 0, 1, 0], bool)}
    after = support.assert_same_numbers(model, run, feeds, 5e-3)
    constants = {
        name: float(value.const_value.numpy())
        for name, value in after.graph.initializers.items()
        if value.const_value is not None
    }
    assert constants == {"low": -65504.0, "high": 65504.0, "fill": -65504.0}


def test_what_an_operator_takes_in_float32_only_stays_so() -> None:
    model = support.from_text(
        """g (float[1,1,4,4] x, float[4] scales, float[1,1,1,1] w) => (float[1,1,8,8] y) {
            a = Mul(x, w)
            y = Resize<mode="linear">(a, , scales)
        }""",
        scales=np.array([1, 1, 2, 2], np.float32),
        w=draw(1, 1, 1, 1),
    )
    after = support.assert_same_numbers(model, run, tolerance=2e-3)
    assert after.graph.initializers["scales"].dtype == ir.DataType.FLOAT
    assert after.graph.initializers["w"].dtype == ir.DataType.FLOAT16


def test_casts_of_the_model_itself_are_not_doubled() -> None:
    model = support.from_text(
        """g (float16[4] x, int64[4] i) => (float[4] y, float16[4] z) {
            a = Cast<to=1>(x)
            b = Exp(a)
            n = Cast<to=1>(i)
            c = Mul(b, n)
            z = Cast<to=10>(c)
            y = Neg(c)
        }"""
    )
    feeds = {"x": RNG.uniform(-1, 1, 4).astype(np.float16), "i": np.arange(4)}
    after = support.assert_same_numbers(model, run, feeds, 5e-3)
    assert support.body(after) == "\n".join(
        [
            "b = Exp (x)",
            '"c/float16" = Cast <to: int = 10> (i)',
            'z = Mul (b, "c/float16")',
            '"y/float32" = Neg (z)',
            'y = Cast <to: int = 1> ("y/float32")',
        ]
    )


def test_around_integers_are_numbers_of_the_format_and_scales_of_float32() -> None:
    model = support.from_text(
        """g (float[1,2,3] x, float[2,2] v, float[1,2,3] w) => (float[1,2,3] y)
        <float s = {0.5}, int8 z = {0}> {
            q = QuantizeLinear(x, s, z)
            a = DequantizeLinear(q, s, z)
            b = MatMul(v, a)
            c = Exp(b)
            r = QuantizeLinear(c, s, z)
            d = DequantizeLinear(r, s, z)
            t = Transpose<perm = [0, 2, 1]>(d)
            e = QuantizeLinear(t, s, z)
            f = DequantizeLinear(e, s, z)
            k = Transpose<perm = [0, 2, 1]>(f)
            y = Mul(k, w)
        }""",
        v=np.eye(2, dtype=np.float32),
        w=np.ones((1, 2, 3), np.float32),
    )

    def around(model: ir.Model) -> ir.Model:
        after = ConvertPrecision("float16", "y", quantized=True)(model).model
        onnx.checker.check_model(ir.to_proto(after), full_check=True)
        return after

    feeds = {"x": RNG.uniform(-2, 2, (1, 2, 3)).astype(np.float32)}
    after = support.assert_same_numbers(model, around, feeds, 1e-3)
    # The input is rounded as it comes; what a node in float32 reads, and what is moved to it, is
    # float32, too.
    assert support.body(after) == "\n".join(
        [
            "q = QuantizeLinear (x, s, z)",
            "a = DequantizeLinear <output_dtype: int = 10> (q, s, z)",
            "b = MatMul (v, a)",
            "c = Exp (b)",
            "r = QuantizeLinear (c, s, z)",
            "d = DequantizeLinear (r, s, z)",
            "t = Transpose <perm: ints = [0, 2, 1]> (d)",
            "e = QuantizeLinear (t, s, z)",
            "f = DequantizeLinear (e, s, z)",
            "k = Transpose <perm: ints = [0, 2, 1]> (f)",
            "y = Mul (k, w)",
        ]
    )
    assert not ConvertPrecision("float16", "y", quantized=True)(after).modified


@settings(max_examples=30)
@given(random_graphs.models())
def test_random_graphs_keep_their_numbers(model: ir.Model) -> None:
    feeds = support.random_feeds(model)
    found = keep_list(model, calibrate(model, [feeds], observed(model)))
    support.assert_same_numbers(model, lambda m: run(m, keep=joined(found)), feeds, 0.02)


def test_wrong_options_are_said_all_at_once() -> None:
    model = quantized.real_model("ad_autoencoder")
    with pytest.raises(UsageError, match="dtype='fp16' is not float16 or bfloat16"):
        ConvertPrecision("fp16")(model)
    with pytest.raises(UsageError) as caught:
        ConvertPrecision(keep="one;two")(model)
    assert [problem.where for problem in caught.value.problems] == ["node 'one'", "node 'two'"]


def test_same_bytes_twice_and_nothing_left_to_do() -> None:
    first, second = (run(quantized.real_model("vww_mobilenet")) for _ in range(2))
    assert ir.to_proto(first).SerializeToString() == ir.to_proto(second).SerializeToString()
    assert not ConvertPrecision()(first).modified
