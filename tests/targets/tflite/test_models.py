"""Whole networks through TFLite: in float against ONNX Runtime, in int8 on real data."""

from __future__ import annotations

from pathlib import Path

import architectures
import litert
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.lowering.importers.onnx import load
from tapeout.lowering.quantization.conversion import conversion
from tapeout.lowering.quantization.scheme import SCHEMES
from tapeout.lowering.quantization.sqnr import sqnr
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets.tflite import TARGET
from tapeout.targets.tflite.lower import to_tflite

import support

#: Relative to the largest value of the output.
TOLERANCE = 1e-4


def written(model: ir.Model) -> bytes:
    """Return the file of an imported or converted model."""
    profile = catalog.load("raspberry-pi-5")
    (plan,) = TARGET.plans(profile, "fp32")
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
    names = litert.operators(content)
    assert (names[0], names[-1]) == ("QUANTIZE", "DEQUANTIZE")
    assert {"QUANTIZE", "DEQUANTIZE"}.isdisjoint(names[1:-1])
    official = support.MODELS / "mlperf_tiny_int8" / f"{name}.tflite"
    assert len(content) <= 1.05 * official.stat().st_size
