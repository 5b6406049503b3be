"""A deferred bundle, as a user meets it: everything but the engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tapeout
from tapeout import runner
from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.cli import app
from tapeout.compiler import Options
from tapeout.errors import BudgetError, ModelError, UsageError, VerificationError
from tapeout.targets.tensorrt.enterprise import device

import support

MODEL = support.MODELS / "digits_cnn.onnx"
DATA = f"{support.MODELS / 'digits.npz'}:test"
FAKE = Path(__file__).resolve().parent / "fake"

#: What a text must not say of a bundle that has no engine.
CLAIM = "compiled"


def command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("enterprise")
    np.savez(folder / "few.npz", image=support.real_inputs("digits_cnn", 16))
    options = Options(precision="int8", calibration=str(folder / "few.npz"))
    return tapeout.compile(MODEL, "jetson-orin-nano", folder / "b", Budget(), options)


def test_two_compiles_give_the_same_bytes_and_no_claim(tmp_path: Path) -> None:
    words = ["compile", str(MODEL), "--device", "h100", "--runtime", "tensorrt"]
    found = []
    for name in ("one", "two"):
        code, output = command(*words, "--precision", "fp16", "-o", str(tmp_path / name))
        assert code == 0, output
        assert "digits_cnn.onnx prepared for h100: tensorrt, fp16 (deferred: " in output
        assert "trtexec --onnx=model.onnx --stronglyTyped" in output
        assert CLAIM not in output
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        found.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert found[0] == found[1]
    manifest = json.loads(found[0][Path("manifest.json")])
    assert (manifest["status"], manifest["engine"]) == ("deferred", "model.onnx")
    order = json.loads(found[0][Path("run/build.json")])
    assert (order["version"], order["capabilities"]) == ("10.15.1", ["9.0"])
    readme = found[0][Path("run/README.md")].decode()
    assert manifest["report"]["build"]["commands"][1] in readme
    assert "untested until they have run" in readme


def test_every_figure_is_an_estimate(bundle: Bundle) -> None:
    usage = bundle.usage
    assert {usage.memory.known, usage.storage.known} == {"estimated"}
    assert usage.memory.value == sum(figure.value for _, figure in usage.parts)
    assert dict(usage.parts)["workspace"].value == 16 << 20


def test_network_is_of_the_version_s_opset_and_symmetric(bundle: Bundle) -> None:
    proto = onnx.load(bundle.engine)
    assert [item.version for item in proto.opset_import] == [20]
    onnx.checker.check_model(proto, full_check=True)
    kinds = [node.op_type for node in proto.graph.node]
    assert "QuantizeLinear" in kinds
    zeros = {node.input[2] for node in proto.graph.node if node.op_type == "QuantizeLinear"}
    arrays = {item.name: onnx.numpy_helper.to_array(item) for item in proto.graph.initializer}
    assert all(not arrays[name].any() and arrays[name].dtype == "int8" for name in zeros)


def test_verify_runs_the_network_in_place_of_the_engine(bundle: Bundle) -> None:
    found = runner.verify(bundle, DATA)
    assert found.differences is not None
    assert all(item.problem is None for item in found.differences)
    assert found.accuracy is not None
    assert found.accuracy.share > 0.97
    assert found.stand_in is not None
    assert "the network that the engine is to be built from" in found.stand_in


def test_verify_finds_another_network(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "b"
    shutil.copytree(bundle.directory, copy)
    content = (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(VerificationError):
        runner.verify(Bundle(copy, bundle.manifest))


def test_what_needs_the_engine_says_what_to_do(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="build and run it on the device"):
        runner.run(bundle, str(bundle.directory / "test_vectors.npz"))
    with pytest.raises(UsageError, match="build and run it on the device"):
        runner.bench(bundle, 1)


@pytest.mark.parametrize("words", [["explain"], ["explain", "--json"], ["verify"]])
def test_no_command_claims_an_engine(bundle: Bundle, words: Sequence[str]) -> None:
    code, output = command(*words, str(bundle.directory))
    assert code == 0, output
    assert CLAIM not in output


def test_budget_below_the_estimate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="too much"):
        tapeout.compile(
            MODEL, "h100", tmp_path / "b", Budget(memory=32 << 20), Options(runtime="tensorrt")
        )
    assert not (tmp_path / "b").exists()


def test_every_node_that_the_version_does_not_take_is_told(tmp_path: Path) -> None:
    model = support.from_text(
        """m (float[1,2,2] x, float[1,2,8] s) => (float[1] y, float[1,2,3] z) {
            y = Det (x)
            z = AveragePool <kernel_shape=[6]> (s)
        }"""
    )
    onnx.save(ir.to_proto(model), tmp_path / "m.onnx")
    with pytest.raises(ModelError) as raised:
        tapeout.compile(tmp_path / "m.onnx", "jetson-orin-nano", tmp_path / "b")
    told = "\n".join(map(str, raised.value.problems))
    assert "'y' (Det): is not in the list of operators for TensorRT 10.3" in told
    assert "'z' (AveragePool): the input has 3 dimensions" in told


@pytest.mark.parametrize(
    ("name", "precision"), [("digits_cnn", "bf16"), ("ad_autoencoder", "int4")]
)
def test_numbers_that_the_version_s_opset_lacks_are_refused(
    name: str, precision: str, tmp_path: Path
) -> None:
    model = str(support.MODELS / f"{name}.onnx")
    words = ["compile", model, "--device", "jetson-orin-nano", "-o", str(tmp_path / "b")]
    code, output = command(*words, "--precision", precision)
    assert code == 3
    assert output.count("TensorRT 10.3 reads ONNX up to opset 20") > 5


def test_operators_are_told_before_a_conversion_is_asked_for(tmp_path: Path) -> None:
    model = support.from_text("m (float[1,2,2] x) => (float[1] y) { y = Det (x) }")
    onnx.save(ir.to_proto(model), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="does not take all operators|cannot be compiled"):
        tapeout.compile(
            tmp_path / "m.onnx", "jetson-orin-nano", tmp_path / "b", None, Options(precision="int8")
        )


def test_sparse_weights_are_told_to_the_builder(bundle: Bundle, tmp_path: Path) -> None:
    words = ["compile", str(MODEL), "--device", "h100", "--runtime", "tensorrt"]
    words += ["--calibration", str(bundle.directory.with_name("few.npz"))]
    words += ["--precision", "fp16", "--plan", "sparsity=2:4", "-o", str(tmp_path / "b")]
    code, output = command(*words)
    assert code == 0, output
    assert "--sparsity=enable" in output


def test_ranges_of_shapes_become_optimization_profiles(tmp_path: Path) -> None:
    shape = "image=1x1x8x8..8x1x8x8@4x1x8x8"
    words = ["compile", str(MODEL), "--device", "jetson-orin-nano", "--precision", "fp32"]
    code, output = command(*words, "--shape", shape, "-o", str(tmp_path / "b"))
    assert code == 0, output
    assert "--minShapes=image:1x1x8x8 --optShapes=image:4x1x8x8" in output
    order = json.loads((tmp_path / "b" / "run" / "build.json").read_text())
    assert order["profiles"] == [{"image": [[1, 1, 8, 8], [4, 1, 8, 8], [8, 1, 8, 8]]}]
    proto = onnx.load(tmp_path / "b" / "model.onnx")
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_machine_with_library_and_gpu_builds_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the stand-ins of run/test_build.py: it proves that the one program is used, no more."""

    def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        fake = {"FAKE_TENSORRT": "10.15.1.29", "FAKE_CAPABILITY": "9.0", "PYTHONPATH": str(FAKE)}
        return subprocess.run(
            [sys.executable, "-B", str(device._PROGRAM), *arguments],
            env={"PATH": os.defpath, "FAKE_LOG": str(tmp_path / "log"), **fake},
            capture_output=True,
            text=True,
            check=False,
        )

    monkeypatch.setattr(device, "_run", run)
    answers = iter([None, device.Problem("GPU", "is busy")])  # it fits; it is not run here
    monkeypatch.setattr(device, "unfit", lambda version, capabilities: next(answers))
    options = Options(precision="fp32", runtime="tensorrt")
    built = tapeout.compile(MODEL, "h100", tmp_path / "b", Budget(), options)
    assert built.manifest.status == "compiled"
    assert built.engine.read_bytes().startswith(b"engine of ")
    assert built.manifest.toolchain["tensorrt"] == "10.15.1.29"
    assert built.usage.memory.known == "measured"
    assert dict(built.usage.parts)["activations"].value == 4096
    assert built.check_digests() == []
