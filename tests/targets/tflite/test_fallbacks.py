"""An operator without an int8 kernel is named, with the fallback, wherever int8 is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tapeout.cli import app

import onnx_files
import support

GRAPH = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w = {0.5, 0.25, -0.5, 1.0}, float[4] ones = {1.0, 1.0, 1.0, 1.0}> {
    a = Conv(x, w) b = Sin(a) c = LayerNormalization(b, ones) y = Conv(c, w) }"""

AFTER = "computed in float32 between dequantization and quantization"
EXPECTED = {
    "wave": f"Sin: no int8 kernel in TFLite; {AFTER}",
    "norm": f"LayerNormalization: no int8 kernel in TFLite; {AFTER}",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).standard_normal((4, 2, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=samples)
    nodes = onnx_files.parse(GRAPH)
    nodes.graph.node[1].name, nodes.graph.node[2].name = "wave", "norm"
    return onnx_files.save(tmp_path, nodes)


def tapeout(command: str, model: Path, *arguments: str) -> Result:
    device = ["--device", "raspberry-pi-5", "--runtime", "tflite", "--precision", "int8"]
    return CliRunner().invoke(app, [command, str(model), *device, *arguments])


def compiled(model: Path, *arguments: str) -> Result:
    return tapeout("compile", model, "-o", str(model.with_name("x.bundle")), *arguments)


def test_compile_names_what_it_computes_in_float(model: Path) -> None:
    done = compiled(model, "--calibration", str(model.with_name("samples.npz")))
    assert done.exit_code == 0, done.output
    said = [line for line in done.stdout.splitlines() if line.startswith("in float")]
    assert said == [f"in float: node {name!r}: {why}" for name, why in EXPECTED.items()]
    manifest = json.loads((model.with_name("x.bundle") / "manifest.json").read_text())
    assert manifest["conversion"] == {"scheme": "tflite", "kept": EXPECTED, "dense": {}}


def test_check_names_it_before(model: Path) -> None:
    arguments = ("--calibration", str(model.with_name("samples.npz")), "--plan", "threads=1")
    done = tapeout("check", model, *arguments)
    assert done.exit_code == 0, done.output
    said = [line for line in done.stdout.splitlines() if line.startswith("in float")]
    assert said == [f"in float: node {name!r}: {why}" for name, why in EXPECTED.items()]
    (plan,) = json.loads(tapeout("check", model, *arguments, "--json").stdout)["plans"]
    assert plan["kept"] == EXPECTED


def test_so_does_quantize(model: Path) -> None:
    output = model.with_name("q.onnx")
    arguments = ["quantize", str(model), "-o", str(output), "--scheme", "tflite", "--calibration"]
    done = CliRunner().invoke(app, [*arguments, str(model.with_name("samples.npz"))])
    assert done.exit_code == 0, done.output
    for name, why in EXPECTED.items():
        assert f"in float: node {name!r}: {why}" in done.stdout


@pytest.mark.slow
def test_a_file_that_is_quantized_already_is_no_exception(model: Path) -> None:
    """The digits network, quantized for another runtime, ends in operators on real numbers."""
    quantized = model.with_name("q.onnx")
    arguments = ["quantize", str(support.MODELS / "digits_cnn.onnx"), "-o", str(quantized)]
    data = f"{support.MODELS / 'digits.npz'}:calibration"
    done = CliRunner().invoke(app, [*arguments, "--scheme", "int8", "--calibration", data])
    assert done.exit_code == 0, done.output
    done = compiled(quantized)
    assert done.exit_code == 0, done.output
    [line] = [line for line in done.stdout.splitlines() if line.startswith("in float")]
    assert line.endswith(f"Gemm: no int8 kernel in TFLite for it as it is; {AFTER}")
