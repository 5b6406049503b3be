from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from tapeout.errors import TapeoutError
from tapeout.lowering import dialect, provenance
from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.quantization.parameters import Parameters
from tapeout.lowering.quantization.placement import place
from tapeout.lowering.quantization.recipe import Weights
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.lowering.quantization.sqnr import sqnr
from tapeout.lowering.reference import Reference

import quantized
import random_graphs
import support

RNG = np.random.default_rng(0)


def scheme(name: str) -> Scheme:
    found = SCHEMES[name]
    assert isinstance(found, Scheme)
    return found


def run(
    model: ir.Model, name: str = "int8", kept: dict[str, str] | None = None
) -> tuple[ir.Model, float]:
    """Quantize by ranges from least to greatest; return the new model and its SQNR in dB."""
    batches = [support.random_feeds(model, seed) for seed in range(3)]
    after = Quantize(quantized.min_max(model, scheme(name), batches, kept))(model.clone()).model
    return after, compared(model, after, batches)


def compared(before: ir.Model, after: ir.Model, batches: list[quantized.Feeds]) -> float:
    assert dialect.check(after) == []
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    old, new = Reference(before), Reference(after)
    assert (old.inputs, old.outputs) == (new.inputs, new.outputs)
    pairs = [(old.run(batch), new.run(batch)) for batch in batches]
    return sqnr(
        np.concatenate([array.reshape(-1) for wanted, _ in pairs for array in wanted.values()]),
        np.concatenate([found[name].reshape(-1) for wanted, found in pairs for name in wanted]),
    )


@pytest.mark.parametrize("kind", quantized.INTEGER_SCHEMES, ids=lambda item: item.name)
@pytest.mark.parametrize("name", support.NAMES)
def test_real_models(name: str, kind: Scheme) -> None:
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 4)
    after = Quantize(quantized.min_max(model, kind, batches))(model.clone()).model
    # What plain ranges from least to greatest reach; one scale a tensor of weights costs most.
    assert compared(model, after, batches) > (10 if kind.per_channel else 0)


def test_what_sums_nothing_reads_numbers_as_they_are() -> None:
    model = support.from_text(
        """g (float[1,4] x, float[4,4] w, float[4,4] v) => (float[1,4] z) {
            y = MatMul(x, w)
            s = MatMul(y, v)
            z = Add(s, y)
        }""",
        w=RNG.standard_normal((4, 4)).astype(np.float32),
        v=RNG.standard_normal((4, 4)).astype(np.float32),
    )
    after, found = run(model, "fp8")
    assert found > 20
    lines = support.body(after).splitlines()
    assert 's = MatMul ("y/dequantized", "s/weight")' in lines
    assert "z = Add (s, y)" in lines


def test_text() -> None:
    model = support.from_text(
        """g (float[1,2,4,4] x, float[3,2,1,1] w, float[3] b, float[2,3] v) => (float[1,2] y)
            <float zero = {0}, int64[2] s = {1,3}> {
            a = Conv<kernel_shape=[1,1]>(x, w, b)
            r = Clip(a, zero)
            p = GlobalAveragePool(r)
            f = Reshape(p, s)
            y = Gemm<transB=1>(f, v)
        }""",
        w=RNG.standard_normal((3, 2, 1, 1)).astype(np.float32),
        b=RNG.standard_normal(3).astype(np.float32),
        v=RNG.standard_normal((2, 3)).astype(np.float32),
    )
    after, found = run(model)
    assert found > 30
    assert support.body(after).splitlines() == [
        '"x/quantized" = QuantizeLinear (x, "a/input_scale", "a/input_zero_point")',
        '"x/dequantized" = DequantizeLinear ("x/quantized", "a/input_scale", "a/input_zero_point")',
        '"a/weight" = DequantizeLinear <axis: int = 0> '
        '("a/weight_quantized", "a/weight_scale", "a/weight_zero_point")',
        '"a/bias" = DequantizeLinear <axis: int = 0> '
        '("a/bias_quantized", "a/bias_scale", "a/bias_zero_point")',
        'a = Conv <kernel_shape: ints = [1, 1]> ("x/dequantized", "a/weight", "a/bias")',
        '"r/quantized" = QuantizeLinear (a, "r/output_scale", "r/output_zero_point")',
        '"r/dequantized" = DequantizeLinear '
        '("r/quantized", "r/output_scale", "r/output_zero_point")',
        'p = GlobalAveragePool ("r/dequantized")',
        '"p/quantized" = QuantizeLinear (p, "p/output_scale", "p/output_zero_point")',
        '"p/dequantized" = DequantizeLinear '
        '("p/quantized", "p/output_scale", "p/output_zero_point")',
        'f = Reshape ("p/dequantized", s)',
        '"f/quantized" = QuantizeLinear (f, "f/output_scale", "f/output_zero_point")',
        '"f/dequantized" = DequantizeLinear '
        '("f/quantized", "f/output_scale", "f/output_zero_point")',
        '"y/weight" = DequantizeLinear <axis: int = 0> '
        '("y/weight_quantized", "y/weight_scale", "y/weight_zero_point")',
        'y = Gemm <transB: int = 1> ("f/dequantized", "y/weight")',
    ]
    assert {provenance.origins(node) for node in after.graph} == {
        ("a",),
        ("r",),
        ("p",),
        ("f",),
        ("y",),
    }


def test_an_output_of_integers_is_given_in_float_under_its_name() -> None:
    model = support.from_text(
        "g (float[1,3] x, float[4,3] w) => (float[1,4] y) { y = Gemm<transB=1>(x, w) }",
        w=RNG.standard_normal((4, 3)).astype(np.float32),
    )
    after, found = run(model, "tflite")
    assert found > 25
    assert support.body(after).splitlines()[-3:] == [
        '"y/float" = Gemm <transB: int = 1> ("x/dequantized", "y/weight")',
        '"y/quantized" = QuantizeLinear ("y/float", "y/output_scale", "y/output_zero_point")',
        'y = DequantizeLinear ("y/quantized", "y/output_scale", "y/output_zero_point")',
    ]


def test_float_readers_of_a_float_value_read_it_raw() -> None:
    model = support.from_text(
        """g (float[1,3] x, float[4,3] w) => (float[1,4] y, float[1,3] z) {
            e = Exp(x)
            y = Gemm<transB=1>(e, w)
            z = Neg(e)
        }""",
        w=RNG.standard_normal((4, 3)).astype(np.float32),
    )
    after, _ = run(model)
    assert "z = Neg (e)" in support.body(after)
    assert 'y = Gemm <transB: int = 1> ("e/dequantized", "y/weight")' in support.body(after)


def test_a_node_kept_in_float_keeps_its_weights() -> None:
    model = support.from_text(
        """g (float[1,3] x, float[4,3] w, float[2,4] v) => (float[1,2] y) {
            a = Gemm<transB=1>(x, w)
            y = Gemm<transB=1>(a, v)
        }""",
        w=RNG.standard_normal((4, 3)).astype(np.float32),
        v=RNG.standard_normal((2, 4)).astype(np.float32),
    )
    after, _ = run(model, kept={"y": "too sensitive"})
    assert support.body(after).splitlines()[-1] == "y = Gemm <transB: int = 1> (a, v)"
    untouched = Quantize(
        quantized.min_max(model, scheme("int8"), [], {"y": "a test", "a": "a test"})
    )(model.clone())
    assert not untouched.modified


#: Networks whose quantization needs more than one weight and one input.
NETWORKS = {
    "concat and constant": (
        """k = Concat<axis=1>(x, c) a = Conv<kernel_shape=[1,1]>(k, w) m = Mul(a, d)
        y = Conv<kernel_shape=[1,1]>(m, v)""",
        {"c": (1, 2, 4, 4), "w": (4, 4, 1, 1), "d": (4, 1, 1), "v": (2, 4, 1, 1)},
        "1,2,4,4",
    ),
    "split": (
        """a = Conv<kernel_shape=[1,1]>(x, w) l, r = Split<axis=1, num_outputs=2>(a)
        s = Add(l, r) y = Conv<kernel_shape=[1,1]>(s, v)""",
        {"w": (4, 2, 1, 1), "v": (2, 2, 1, 1)},
        "1,2,4,4",
    ),
    "transposed, in groups": (
        "y = ConvTranspose<kernel_shape=[2,2], strides=[2,2], group=2>(x, w, b)",
        {"w": (2, 3, 2, 2), "b": (6,)},
        "1,6,8,8",
    ),
    "two activations": (
        "t = Transpose<perm=[0,1,3,2]>(x) m = MatMul(x, t) s = Softmax(m) y = MatMul(s, x)",
        {},
        "1,2,4,4",
    ),
    "constant from the left": ("y = MatMul(w, x)", {"w": (4, 4)}, "1,2,4,4"),
    "weights of more dimensions": ("y = MatMul(x, w)", {"w": (2, 4, 5)}, "1,2,4,5"),
}


@pytest.mark.parametrize("kind", quantized.INTEGER_SCHEMES, ids=lambda item: item.name)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, kind: Scheme) -> None:
    nodes, shapes, output = NETWORKS[name]
    rng = np.random.default_rng(1)
    constants = {key: rng.standard_normal(shape) for key, shape in shapes.items()}
    declared = ["float[1,2,4,4] x"]
    declared += [f"float{list(shape)} {key}" for key, shape in shapes.items()]
    model = support.from_text(
        f"g ({', '.join(declared)}) => (float[{output}] y) {{ {nodes} }}",
        **{key: array.astype(np.float32) for key, array in constants.items()},
    )
    after, found = run(model, kind.name)
    assert found > 20
    in_integers = any(node.op_type == "QuantizeLinear" for node in after.graph)
    assert in_integers == (kind.group == 1 or "group" not in nodes)


def test_a_bias_beyond_int32_is_kept() -> None:
    model = support.from_text(
        "g (float[1,2] x, float[2,2] w, float[2] b) => (float[1,2] y) "
        "{ y = Gemm<transB=1>(x, w, b) }",
        w=np.array([[1, 2], [1e-12, 1e-12]], np.float32),
        b=np.array([0.5, 3], np.float32),
    )
    for kind in ("int8", "power-of-two"):
        after, found = run(model, kind)
        assert found > 25
        bias = Reference(after).run(support.random_feeds(model))["y"][0, 1]
        assert bias == pytest.approx(3, rel=1e-2)


def test_a_recipe_for_another_model() -> None:
    model = support.from_text(
        "g (float[1,3] x, float[3,4] w) => (float[1,4] y) { y = MatMul(x, w) }",
        w=np.ones((3, 4), np.float32),
    )
    batches = [support.random_feeds(model)]
    recipe = quantized.min_max(model, scheme("int8"), batches)
    with pytest.raises(TapeoutError, match=r"(?s)value 'x'.*node 'y'"):
        Quantize(dataclasses.replace(recipe, activations={}, weights={}))(model.clone())
    found = recipe.weights["y"]
    biased = Weights(found.integers, found.parameters, np.zeros(4, np.float32))
    with pytest.raises(TapeoutError, match="MatMul takes none"):
        Quantize(dataclasses.replace(recipe, weights={"y": biased}))(model.clone())
    assert isinstance(found.parameters, Parameters)


def test_onnx_runtime_computes_in_integers(tmp_path: Path) -> None:
    import onnxruntime

    model = quantized.real_model("resnet8_cifar10")
    batches = quantized.real_batches("resnet8_cifar10", model, 4)
    recipe = quantized.min_max(model, scheme("tflite"), batches)
    after = Quantize(recipe)(model.clone()).model
    options = onnxruntime.SessionOptions()
    # Else, on x86, it turns some of the int8 numbers into uint8, and leaves what mixes the two.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = onnxruntime.InferenceSession(
        ir.to_proto(after).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert found["QLinearConv"] == 9
    assert found["QLinearAdd"] == 3
    assert not {"Conv", "Add", "Clip", "Relu", "Gemm"} & found.keys()
    step = float(recipe.activations[str(model.graph.outputs[0].name)].scale)
    plain = Reference(after)
    for batch in batches:
        for name, wanted in plain.run(batch).items():
            [actual] = session.run([name], dict(batch))
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=2.01 * step)


@settings(max_examples=30, derandomize=True)
@given(model=random_graphs.models())
def test_random_models(model: ir.Model) -> None:
    for kind in quantized.INTEGER_SCHEMES:
        run(model, kind.name)
        assert place(model, kind).nodes == ()
