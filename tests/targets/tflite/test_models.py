"""Whole networks through TFLite: in float against ONNX Runtime, in int8 on real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import architectures
import litert
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.matching import shape_of
from tapeout.lowering.quantization.conversion import conversion
from tapeout.lowering.quantization.scheme import SCHEMES
from tapeout.lowering.quantization.sqnr import of_outputs, sqnr
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets.tflite import TARGET
from tapeout.targets.tflite.fallbacks import in_float
from tapeout.targets.tflite.lower import to_tflite

import support

#: Relative to the largest value of the output.
TOLERANCE = 1e-4


def written(model: ir.Model) -> bytes:
    """Return the file of an imported or converted model."""
    profile = catalog.load("raspberry-pi-5")
    plan = TARGET.plans(profile, "fp32")[0]
    lowered = TARGET.pipeline(profile, plan).run(model.clone())
    assert TARGET.check(lowered, profile, plan) == []
    return to_tflite(lowered)


def inner_transposes(content: bytes) -> int:
    """Count TRANSPOSE but for those at the borders, where an input or output is channels-first."""
    names = litert.operators(content)
    first = names.index("CONV_2D") if "CONV_2D" in names else 0
    return names[first:-1].count("TRANSPOSE")


@pytest.mark.parametrize("name", support.NAMES)
def test_a_real_model_in_float(name: str) -> None:
    model = load(support.MODELS / f"{name}.onnx")
    content = written(model)
    reference = Reference(model)
    (entry,) = model.graph.inputs
    for sample in support.real_inputs(name, 4):
        feeds = {str(entry.name): sample[None]}
        for output, wanted in reference.run(feeds).items():
            found = litert.run(content, feeds)[output]
            assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert inner_transposes(content) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_an_architecture_in_float(name: str, tmp_path: Path) -> None:
    onnx.save(architectures.ARCHITECTURES[name](), tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx")
    content = written(model)
    feeds = support.random_feeds(model)
    for output, wanted in Reference(model).run(feeds).items():
        found = litert.run(content, feeds)[output]
        assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    if name != "encoder":
        assert inner_transposes(content) == 0
    assert written(model) == content


#: Networks -> the operators that have no int8 kernel, and how close int8 on LiteRT comes to what
#: ONNX Runtime makes of the same integers, in dB.
INTEGERS: dict[str, tuple[Callable[[], onnx.ModelProto], set[str], float]] = {
    "encoder": (lambda: architectures.encoder(8, 16, 2, 1), {"LayerNormalization"}, 25),
    "mobilenet_v3": (lambda: architectures.mobilenet_v3(32), set(), 22),
    "u_net_learned": (lambda: architectures.u_net(16, 4, learned=True), set(), 30),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", INTEGERS)
def test_an_architecture_in_int8(name: str, tmp_path: Path) -> None:
    make, real, least = INTEGERS[name]
    onnx.save(make(), tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx")
    samples = [support.random_feeds(model, seed) for seed in range(4)]
    found = conversion(model, SCHEMES["tflite"], samples)
    converted = found.converted({})
    content = written(converted)
    assert {why.split(":")[0] for why in found.fixed.values()} == real
    assert in_float(litert.PIPELINE.run(converted.clone())).keys() == found.fixed.keys()
    inner = litert.operators(content)[1:-1]
    assert inner.count("DEQUANTIZE") == len(found.fixed)
    reference = Reference(converted)
    for xnnpack in (False, True):
        pairs = [
            (reference.run(item), litert.run(content, item, xnnpack=xnnpack)) for item in samples
        ]
        assert of_outputs(pairs) > least


#: Real data of each task, and the official model's SQNR against the float one in dB, on all of it.
OFFICIAL = {"resnet8_cifar10": 17.57, "vww_mobilenet": 28.65, "ad_autoencoder": 31.91}


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_int8_is_closer_than_the_official_file_and_no_larger(name: str) -> None:
    model = load(support.MODELS / f"{name}.onnx")
    (entry,), (result,) = model.graph.inputs, model.graph.outputs
    samples = [{str(entry.name): item[None]} for item in support.real_inputs(name, 10**6)]
    chosen = np.random.default_rng(0).permutation(len(samples))[: len(samples) // 3]
    found = conversion(model, SCHEMES["tflite"], [samples[index] for index in chosen])
    content = written(found.converted({}))
    reference = Reference(model)
    expected = np.concatenate([reference.run(item)[str(result.name)] for item in samples])
    runner = litert.interpreter(content).get_signature_runner()
    outputs = np.concatenate([runner(**item)[str(result.name)] for item in samples])
    assert sqnr(expected, outputs) > OFFICIAL[name] + 3
    assert_all_integer(content, name)


def assert_all_integer(content: bytes, name: str) -> None:
    """All is int8 between the borders, and the file no larger than the official one plus 5 %."""
    names = litert.operators(content)
    assert (names[0], names[-1]) == ("QUANTIZE", "DEQUANTIZE")
    assert {"QUANTIZE", "DEQUANTIZE"}.isdisjoint(names[1:-1])
    assert len(content) <= 1.05 * official_file(name).stat().st_size


def official_file(name: str) -> Path:
    return support.MODELS / "mlperf_tiny_int8" / f"{name}.tflite"


@pytest.mark.slow
def test_int8_keyword_spotting_is_closer_than_the_official_file_and_no_larger() -> None:
    """The official int8 file is no copy of the float one, but of a network trained anew.

    So the float network that both are held against has the official file's own weights, and ends in
    softmax as the file does. There is no real data: cepstra are made up, and give most classes.
    Uniform noise over the range of the input, as in other tests, is nothing that the official file
    was calibrated for: it is at 0 dB there.
    """
    official = litert.interpreter(official_file("kws_dscnn").read_bytes())
    model = canonical("nchw").run(load(support.MODELS / "kws_dscnn.onnx"))
    _take_weights(model, official)
    samples = [{"input_1": item[None]} for item in cepstra(300)]
    reference = Reference(model)
    expected = np.concatenate([reference.run(item)["dense"] for item in samples])
    content = written(conversion(model, SCHEMES["tflite"], samples[:100]).converted({}))
    runner = litert.interpreter(content).get_signature_runner()
    outputs = np.concatenate([runner(**item)["dense"] for item in samples])
    peer = np.concatenate([_run_integer(official, item["input_1"]) for item in samples])
    assert len(set(expected.argmax(axis=1))) > 8
    assert sqnr(expected, peer) > 15  # it is the same network
    assert sqnr(expected, outputs) > sqnr(expected, peer) + 3
    assert_all_integer(content, "kws_dscnn")


def cepstra(count: int) -> np.ndarray:
    """Return 49 frames of 10 coefficients, of which the first is the energy."""
    noise = np.random.default_rng(1).standard_normal((count, 49, 10))
    for frame in range(1, 49):
        noise[:, frame] = 0.9 * noise[:, frame - 1] + 0.44 * noise[:, frame]
    spread = np.array([25, 12, 9, 7, 6, 5, 5, 4, 4, 4]) / 2
    return (noise * spread - 20 * np.eye(10)[0]).astype(np.float32)[..., None]


def _take_weights(model: ir.Model, official: Any) -> None:
    """Put the real numbers of an int8 file's weights into the same network in float."""
    linear = [node for node in model.graph if node.op_type in ("Conv", "Gemm")]
    perms = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2), "FULLY_CONNECTED": (0, 1)}
    official.allocate_tensors()
    operators = [item for item in official._get_ops_details() if item["op_name"] in perms]
    for node, operator in zip(linear, operators, strict=True):
        weight = _reals(official, operator["inputs"][1]).transpose(perms[operator["op_name"]])
        for value, array in zip(
            node.inputs[1:], (weight, _reals(official, operator["inputs"][2])), strict=True
        ):
            assert value is not None
            assert array.shape == shape_of(value)
            value.const_value = ir.Tensor(array.astype(np.float32), name=value.name)


def _reals(official: Any, tensor: int) -> np.ndarray:
    found = official._get_tensor_details(tensor, 0)["quantization_parameters"]
    stored = official.get_tensor(tensor).astype(np.float64)
    shape = [1] * stored.ndim
    shape[found["quantized_dimension"]] = -1
    return np.asarray(
        (stored - found["zero_points"].reshape(shape)) * found["scales"].reshape(shape)
    )


def _run_integer(official: Any, data: np.ndarray) -> np.ndarray:
    """Run a file whose input and output are int8."""
    (entry,), (result,) = official.get_input_details(), official.get_output_details()
    scale, zero = entry["quantization"]
    official.set_tensor(
        entry["index"], np.clip(np.rint(data / scale) + zero, -128, 127).astype(np.int8)
    )
    official.invoke()
    scale, zero = result["quantization"]
    return np.asarray((official.get_tensor(result["index"]).astype(np.float32) - zero) * scale)
