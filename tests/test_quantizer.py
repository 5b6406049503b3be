"""`tapeout quantize`, and `compile` in fewer bits, as their users meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner, Result

from tapeout import Quantized, QuantizeOptions
from tapeout import quantize as quantize_model
from tapeout.cli import app
from tapeout.lowering.quantization.scheme import SCHEMES

import support

MODEL = support.MODELS / "digits_cnn.onnx"
DIGITS = support.MODELS / "digits.npz"
CALIBRATION = ("--calibration", f"{DIGITS}:calibration")
EVALUATION = ("--eval", f"{DIGITS}:test")


def tapeout(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def quantize(output: Path, *arguments: str | Path) -> dict[str, Any]:
    done = tapeout("quantize", MODEL, "-o", output, "--json", *arguments)
    assert done.exit_code == 0, done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_refused(done: Result, code: int, output: Path, *said: str) -> None:
    assert done.exit_code == code, done.stderr
    for words in said:
        assert words in done.stderr
    assert not output.exists()
    assert not list(output.parent.glob(".*"))


def run(path: Path, images: np.ndarray) -> np.ndarray:
    """Run a file in ONNX Runtime as anybody would, all optimizations on."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])


@pytest.mark.parametrize(("scheme", "lost"), [("int8", 0.002), ("tflite", 0.002), ("fp16", 0)])
def test_digits_keep_their_accuracy(tmp_path: Path, scheme: str, lost: float) -> None:
    arguments = ("--scheme", scheme, *CALIBRATION, *EVALUATION)
    found = quantize(tmp_path / "q.onnx", *arguments)
    assert found["source_accuracy"]["samples"] == 597
    assert found["source_accuracy"]["top1"] - found["accuracy"]["top1"] <= lost
    assert found["sqnr"]["value"] > 35
    assert found["size"]["value"] < 0.6 * found["source_size"]["value"]
    onnx.checker.check_model(tmp_path / "q.onnx", full_check=True)
    with np.load(DIGITS) as data:
        images, labels = data["test"].astype(np.float32), data["labels"]
    scores = run(tmp_path / "q.onnx", images)
    assert (scores.argmax(axis=1) == labels).mean() == pytest.approx(
        found["accuracy"]["top1"], abs=0.002
    )


def test_the_report_says_what_was_done_to_each_node(tmp_path: Path) -> None:
    done = tapeout("quantize", MODEL, "-o", tmp_path / "q.onnx", "--report", *CALIBRATION)
    assert done.exit_code == 0, done.stderr
    for words in ("node_Conv_90", "Gemm", " dB", "WEIGHT SCALES", "SQNR at the outputs"):
        assert words in done.stdout
    found = quantize(tmp_path / "r.onnx", "--report", *CALIBRATION)
    convolutions = [row for row in found["nodes"] if row["operator"] == "Conv"]
    assert all(row["sqnr"] > 30 and row["scale"] > 0 and row["weights"] for row in convolutions)


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        command = [sys.executable, "-m", "tapeout", "quantize", MODEL]
        command += ["-o", tmp_path / f"{name}.onnx", *CALIBRATION]
        subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "q.onnx"
    output.write_bytes(b"mine")
    done = tapeout("quantize", MODEL, "-o", output, *CALIBRATION)
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert output.read_bytes() == b"mine"
    quantize(output, "--force", *CALIBRATION)
    assert output.read_bytes() != b"mine"


def test_a_wrong_scheme_lists_all(tmp_path: Path) -> None:
    output = tmp_path / "q.onnx"
    done = tapeout("quantize", MODEL, "-o", output, "--scheme", "int9")
    assert_refused(done, 2, output, "int9", *SCHEMES)


@pytest.mark.parametrize(
    ("name", "words"),
    [("q.onnx", "--calibration"), ("q.tflite", ".onnx"), ("missing/q.onnx", "no folder")],
)
def test_what_cannot_start(tmp_path: Path, name: str, words: str) -> None:
    done = tapeout("quantize", MODEL, "-o", tmp_path / name)
    assert_refused(done, 2, tmp_path / name, words)


GOOD = np.zeros((4, 1, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"picture": GOOD}, "'picture'"),
        ({"image": GOOD[:, 0]}, "(4, 8, 8)"),
        ({"image": GOOD[:0]}, "0 samples"),
        ({"image": np.where(GOOD == 0, np.nan, GOOD)}, "NaN"),
        ({"image": GOOD.astype(np.complex64)}, "complex64"),
    ],
)
def test_bad_calibration_data_is_named(
    tmp_path: Path, arrays: Mapping[str, np.ndarray], words: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    output = tmp_path / "out" / "q.onnx"
    output.parent.mkdir()
    done = tapeout("quantize", MODEL, "-o", output, "--calibration", tmp_path / "bad.npz")
    assert_refused(done, 2, output, "image", words)


@pytest.mark.parametrize("count", [1, 4])
def test_constant_samples_still_give_a_model_that_runs(tmp_path: Path, count: int) -> None:
    np.savez(tmp_path / "zeros.npz", image=GOOD[:count])
    quantize(tmp_path / "q.onnx", "--calibration", tmp_path / "zeros.npz")
    assert np.isfinite(run(tmp_path / "q.onnx", GOOD)).all()


@pytest.fixture(scope="module")
def close_calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mixtures of two digits, labelled as the float model does: its two best scores are close."""
    with np.load(DIGITS) as data:
        images = data["test"].astype(np.float32)
    mixed = (images + images[::-1]) / 2
    scores = run(MODEL, mixed)
    best = np.sort(scores, axis=1)
    closest = np.argsort(best[:, -1] - best[:, -2])[:60]
    path = tmp_path_factory.mktemp("close") / "calls.npz"
    np.savez(path, image=mixed[closest], labels=scores[closest].argmax(axis=1))
    return path


def test_the_accuracy_is_a_contract(tmp_path: Path, close_calls: Path) -> None:
    arguments = ("--scheme", "power-of-two", *CALIBRATION, "--eval", close_calls)
    free = quantize(tmp_path / "free.onnx", *arguments)
    drop = 1 - free["accuracy"]["top1"]
    assert drop > 0.01  # or there is nothing to hold
    assert not free["kept"]
    held = quantize(tmp_path / "held.onnx", *arguments, "--accuracy-drop", str(drop / 2))
    assert 1 - held["accuracy"]["top1"] <= drop / 2
    assert held["kept"]
    floats = {row["node"] for row in held["nodes"] if row["format"] == "float"}
    assert floats == set(held["kept"])


def test_pruned_weights_hold_the_accuracy_and_stay_pruned_in_integers(tmp_path: Path) -> None:
    arguments = ("--scheme", "sparse-2:4,tensorrt", *CALIBRATION, *EVALUATION)
    free = quantize(tmp_path / "free.onnx", *arguments)
    source = free["source_accuracy"]["top1"]
    drop = source - free["accuracy"]["top1"]
    assert 0.005 < drop < 0.03  # measured: 11 of 597
    assert sorted(_pruned(tmp_path / "free.onnx")) == [False] * 3 + [True] * 3
    held = quantize(tmp_path / "held.onnx", *arguments, "--accuracy-drop", str(drop / 3))
    assert source - held["accuracy"]["top1"] <= drop / 3
    kept = held["dense"].keys() - free["dense"].keys()
    assert kept
    assert all("for the accuracy" in held["dense"][name] for name in kept)
    assert sum(_pruned(tmp_path / "held.onnx")) == 3 - len(kept)


def _pruned(path: Path) -> list[bool]:
    """Return, for each matrix or kernel of a file, whether half of its numbers are zero."""
    constants = map(onnx.numpy_helper.to_array, onnx.load(path).graph.initializer)
    return [bool((array == 0).mean() >= 0.5) for array in constants if array.ndim > 1]


@pytest.mark.parametrize("scheme", ["int8,fp16", "tensorrt,sparse-2:4", "sparse-2:4,int8,fp16"])
def test_schemes_that_do_not_go_together(tmp_path: Path, scheme: str) -> None:
    output = tmp_path / "q.onnx"
    done = tapeout("quantize", MODEL, "-o", output, "--scheme", scheme)
    assert_refused(done, 2, output, "go together", scheme)


def test_a_contract_that_cannot_be_met(tmp_path: Path, close_calls: Path) -> None:
    output = tmp_path / "q.onnx"
    arguments = ("--scheme", "power-of-two", *CALIBRATION, "--eval", close_calls)
    done = tapeout("quantize", MODEL, "-o", output, *arguments, "--accuracy-drop", "0")
    assert_refused(done, 4, output, "is the best reached", "0.0000 is allowed")


def test_a_contract_needs_labels(tmp_path: Path) -> None:
    output = tmp_path / "q.onnx"
    done = tapeout("quantize", MODEL, "-o", output, *CALIBRATION, "--accuracy-drop", "0.01")
    assert_refused(done, 2, output, "--eval")


@pytest.fixture(scope="module", params=["int8", "fp16"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output: Path = tmp_path_factory.mktemp("digits") / f"{request.param}.bundle"
    arguments = ("--precision", request.param, "--runtime", "tvm", *CALIBRATION, *EVALUATION)
    device = ("--device", "host", "--accuracy-drop", "0.002")
    done = tapeout("compile", MODEL, "-o", output, *arguments, *device)
    assert done.exit_code == 0, done.stderr
    return output


def test_a_bundle_in_fewer_bits_holds_its_accuracy(compiled: Path) -> None:
    manifest = json.loads((compiled / "manifest.json").read_text())
    precision = compiled.stem
    assert manifest["plan"]["precision"] == precision
    scheme = {"int8": "int8-tables", "fp16": "fp16"}[precision]
    assert manifest["conversion"]["scheme"] == scheme
    assert {"int8": "quantize{", "fp16": "convert-precision"}[precision] in manifest["passes"]
    assert manifest["usage"]["accuracy_drop"]["known"] == "measured"
    assert manifest["usage"]["accuracy_drop"]["value"] <= 0.002
    done = tapeout("verify", compiled, "--data", f"{DIGITS}:test")
    assert done.exit_code == 0, done.stderr


def test_integers_without_samples_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "x.bundle"
    done = tapeout("compile", MODEL, "-o", output, "--device", "host", "--precision", "int8")
    assert_refused(done, 2, output, "needs samples", "--calibration")


def test_samples_let_the_planner_try_fewer_bits(tmp_path: Path) -> None:
    output = tmp_path / "x.bundle"
    arguments = ("compile", MODEL, "-o", output, "--device", "raspberry-pi-5", "--memory", "1KiB")
    without = tapeout(*arguments)
    assert_refused(without, 4, output, "fewer bits were not tried", "--calibration")
    given = tapeout("check", *arguments[1:2], *arguments[4:], *CALIBRATION)
    assert given.exit_code == 4
    for words in ("tvm, fp32", "tvm, int8", "tvm, fp16"):
        assert words in given.stderr


def test_the_accuracy_is_an_estimate_where_the_engine_cannot_run(tmp_path: Path) -> None:
    done = tapeout(
        "compile", MODEL, "-o", tmp_path / "x.bundle", "--device", "visionfive-2", "--json",
        "--precision", "int8", "--accuracy-drop", "0.002", *CALIBRATION, *EVALUATION,
    )  # fmt: skip
    assert done.exit_code == 0, done.stdout
    drop = json.loads(done.stdout)["usage"]["accuracy_drop"]
    assert drop["known"] == "estimated"
    assert drop["value"] <= 0.002


def test_from_python(tmp_path: Path) -> None:
    options = QuantizeOptions(calibration=f"{DIGITS}:calibration", method="minmax")
    found = quantize_model(MODEL, tmp_path / "q.onnx", options)
    assert isinstance(found, Quantized)
    assert found.sqnr is not None
    assert found.sqnr > 30
