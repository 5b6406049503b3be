from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from tapeout.lowering import dialect
from tapeout.lowering.canonical import Layout, canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.layout import nhwc
from tapeout.lowering.pipeline import Pipeline
from tapeout.lowering.reference import Reference

import random_graphs
import support


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def text(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def run(model: ir.Model, layout: Layout = "nhwc") -> ir.Model:
    """Run the pipeline, the dialect checked after every pass; a second time it changes nothing."""
    pipeline = canonical(layout)
    after = pipeline.run(model, dialect.check)
    assert dialect.check(after, "canonical") == []
    before = text(after)
    assert text(pipeline.run(after, dialect.check)) == before
    return after


#: What is left of each real model in NHWC.
LEFT = {
    "digits_cnn": {
        "Reshape": 2,
        "ConvNhwc": 5,
        "Clip": 5,
        "Add": 1,
        "GlobalAveragePoolNhwc": 1,
        "Gemm": 1,
    },
    "resnet8_cifar10": {
        "ConvNhwc": 9,
        "Clip": 7,
        "Add": 3,
        "GlobalAveragePoolNhwc": 1,
        "Reshape": 1,
        "Gemm": 1,
        "Softmax": 1,
    },
    "kws_dscnn": {
        "ConvNhwc": 9,
        "Clip": 9,
        "GlobalAveragePoolNhwc": 1,
        "Reshape": 1,
        "Gemm": 1,
        "Softmax": 1,
    },
    "ad_autoencoder": {"Gemm": 10, "Clip": 9},
    "vww_mobilenet": {
        "ConvNhwc": 27,
        "Clip": 27,
        "GlobalAveragePoolNhwc": 1,
        "Reshape": 1,
        "Gemm": 1,
        "Softmax": 1,
    },
}


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("name", support.NAMES)
def test_real_models_on_real_data(name: str, layout: Layout) -> None:
    model = load(support.MODELS / f"{name}.onnx")
    assert dialect.check(model) == []
    [entry] = model.graph.inputs
    samples = support.real_inputs(name, 8)[:, None]
    before = Reference(model)
    wanted = np.concatenate(
        [*(r for x in samples for r in before.run({str(entry.name): x}).values())]
    )
    after = run(model, layout)
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    reference = Reference(after)
    actual = np.concatenate(
        [*(r for x in samples for r in reference.run({str(entry.name): x}).values())]
    )
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    if layout == "nhwc":
        assert operators(after) == LEFT[name]
    else:
        assert not any(nhwc.is_channels_last(node) for node in after.graph)


def test_text_form() -> None:
    assert str(canonical()) == (
        "eliminate-identities,fold-constants,unify-quantization,normalize-attributes,"
        "unify-reshapes,"
        "unify-activations,eliminate-common-subexpressions,restore-gelu,restore-silu,"
        "restore-hard-swish,restore-layer-norm,fuse-pad,fuse-gemm,fold-batch-norm,"
        "fuse-global-pool,to-nhwc,push-transposes,fold-transpose-into-gemm,"
        "eliminate-common-subexpressions,push-transposes,cancel-transposes,unify-quantization,"
        "unify-activations,eliminate-common-subexpressions,eliminate-dead-code,"
        "normalize-attributes"
    )
    assert Pipeline.parse(str(canonical("nchw"))) == canonical("nchw")
    assert "to-nhwc" not in str(canonical("nchw"))


def conv(name: str, x: str, weight: str, attributes: str = "") -> str:
    return f"{name} = Conv<{attributes}>({x}, {weight}) "


def test_squeeze_and_excite_block() -> None:
    """MobileNetV3's block: hard swish, pooling, two 1x1 convolutions, a product; all NHWC."""
    rng = np.random.default_rng(0)
    weights = {
        "w0": (16, 3, 3, 3),
        "w1": (4, 16, 1, 1),
        "w2": (16, 4, 1, 1),
        "w3": (8, 16, 1, 1),
    }
    declared = ", ".join(f"float{list(shape)} {name}" for name, shape in weights.items())
    model = support.from_text(
        f"""g (float[1,3,16,16] x, {declared}) => (float[1,8,8,8] y)
            <float three = {{3}}, float zero = {{0}}, float six = {{6}},
             int64[2] space = {{2,3}}> {{
            a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w0)
            b = Add(a, three)
            c = Clip(b, zero, six)
            d = Mul(a, c)
            h = Div(d, six)
            p = ReduceMean(h, space)
            q = Conv(p, w1)
            r = Relu(q)
            s = Conv(r, w2)
            t = HardSigmoid<alpha=0.16666667>(s)
            m = Mul(h, t)
            y = Conv(m, w3)
        }}""",
        **{name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()},
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after) == {
        "Transpose": 2,
        "ConvNhwc": 4,
        "HardSwish": 1,
        "GlobalAveragePoolNhwc": 1,
        "Clip": 1,
        "HardSigmoid": 1,
        "Mul": 1,
    }


def test_classifier_over_a_feature_map_needs_no_transpose() -> None:
    rng = np.random.default_rng(0)
    model = support.from_text(
        """g (float[1,8,8,3] x, float[4,3,3,3] w, float[64,10] d) => (float[1,10] y)
            <int64[2] s = {1,-1}> {
            t = Transpose<perm=[0,3,1,2]>(x)
            a = Conv<pads=[1,1,1,1], strides=[2,2]>(t, w)
            r = Relu(a)
            f = Reshape(r, s)
            y = MatMul(f, d)
        }""",
        w=rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        d=rng.standard_normal((64, 10)).astype(np.float32),
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["ConvNhwc", "Clip", "Reshape", "Gemm"]


@settings(max_examples=60, derandomize=True)
@given(model=random_graphs.models())
def test_random_models(model: ir.Model) -> None:
    support.assert_same_numbers(model, run)


def test_work_grows_with_the_graph() -> None:
    """Function calls, not seconds: chains of 40 and 160 nodes need about four times as many."""
    few, many = calls(10), calls(40)
    assert many < 5 * few


def calls(blocks: int) -> int:
    """Return how many function calls the pipeline makes on a chain of residual blocks."""
    import cProfile

    lines = []
    for index in range(blocks):
        x = f"y{index - 1}" if index else "x"
        lines.append(
            f"a{index} = Conv<pads=[1,1,1,1]>({x}, w) b{index} = Relu(a{index}) "
            f"c{index} = Conv<pads=[1,1,1,1]>(b{index}, w) y{index} = Add(c{index}, {x})"
        )
    model = support.from_text(
        f"""g (float[1,4,8,8] x, float[4,4,3,3] w) => (float[1,4,8,8] y{blocks - 1})
            {{ {" ".join(lines)} }}""",
        w=np.full((4, 4, 3, 3), 0.01, np.float32),
    )
    profile = cProfile.Profile()
    profile.enable()
    after = canonical().run(model)
    profile.disable()
    assert operators(after)["Transpose"] == 2
    return sum(entry.callcount for entry in profile.getstats())
