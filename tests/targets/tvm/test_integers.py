"""Whole quantized networks: what the engine computes is what ONNX Runtime makes of the model."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.canonical import canonical, integers
from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets.tvm import TARGET

import kernels
import quantized
import support

#: All that is left of ONNX's own operators, at the input and at the output.
REST = {"DequantizeLinear", "QuantizeLinear", "Reshape"}


def simulated(name: str, scheme: str) -> tuple[ir.Model, quantized.Feeds]:
    """Return a real network with QuantizeLinear and DequantizeLinear, without a last Softmax.

    And a sample of its input.

    Float code differs in the last bits; before it, everything is to be the same.
    """
    found = SCHEMES[scheme]
    assert isinstance(found, Scheme)
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 4)
    model = Quantize(quantized.min_max(model, found, batches))(model).model
    for node in model.graph:
        if node.op_type == "Softmax" and node.inputs[0] is not None:
            model.graph.outputs[:] = [node.inputs[0]]
            model.graph.outputs[0].name = "logits"
    return model, batches[0]


@pytest.mark.parametrize("scheme", ["int8", "tflite"])
@pytest.mark.parametrize(
    "name",
    ["digits_cnn", "ad_autoencoder", "resnet8_cifar10"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("kws_dscnn", "vww_mobilenet")],
)
def test_bits(name: str, scheme: str) -> None:
    model, feeds = simulated(name, scheme)
    profile = catalog.load(catalog.HOST)
    plan = TARGET.plans(profile, "fp32")[0]
    lowered = TARGET.pipeline(profile, plan).run(model)
    assert {node.op_type for node in lowered.graph if not node.domain} <= REST
    expected = Reference(lowered).run(feeds)
    for threads in (1, 2):
        core = dataclasses.replace(kernels.core(), threads=threads)
        found = kernels.run(lowered, feeds, core)
        assert list(found) == list(expected)
        for key, wanted in expected.items():
            np.testing.assert_array_equal(found[key], wanted)


@pytest.mark.parametrize("activation", ["Swish", "Mish"])
def test_functions_that_take_long_are_tables(activation: str) -> None:
    rng = np.random.default_rng(0)
    model = support.from_text(
        "g (float[1,8,9,9] x, float[24,8,3,3] w, float[16,24,1,1] v) => (float[1,16,7,7] y)"
        f" {{ a = Conv(x, w) b = {activation}(a) c = Conv(b, v) y = {activation}(c) }}",
        w=rng.standard_normal((24, 8, 3, 3)).astype(np.float32) / 5,
        v=rng.standard_normal((16, 24, 1, 1)).astype(np.float32) / 5,
    )
    model = canonical("nchw").run(model)
    scheme = SCHEMES["int8-tables"]
    assert isinstance(scheme, Scheme)
    feeds = support.random_feeds(model)
    exact = Reference(model).run(feeds)
    rounded = Quantize(quantized.min_max(model, scheme, [feeds]))(model).model
    lowered = (canonical("nhwc") + integers()).run(rounded)
    assert [node.op_type for node in lowered.graph if node.op_type.startswith("Q")] == [
        "QuantizeLinear", "QConvNhwc", "QTable", "QConvNhwcFloat",
    ]  # fmt: skip
    kernels.assert_same(lowered, feeds)
    for name, found in kernels.run(lowered, feeds).items():
        assert np.linalg.norm(found - exact[name]) < 0.02 * np.linalg.norm(exact[name])
