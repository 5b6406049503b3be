"""build.py, run with stand-ins for TensorRT and CUDA.

They record what they are called for, and prove no more than that it is what the public API asks
for: no engine is built, and the program is untested until it has run on a device.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import tapeout
from tapeout.budget import Budget
from tapeout.compiler import Options
from tapeout.targets.tensorrt.enterprise.run.build import Order, trtexec

import support

FAKE = Path(__file__).resolve().parents[1] / "fake"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build") / "digits.bundle"
    budget = Budget(memory=64 << 20)
    model = support.MODELS / "digits_cnn.onnx"
    options = Options(precision="fp16", runtime="tensorrt")
    return tapeout.compile(model, "h100", folder, budget, options).directory


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / original.name))


class Done:
    """What the program did: exit code, what it printed, and what it called."""

    def __init__(self, bundle: Path, options: Sequence[str], environment: dict[str, str]) -> None:
        log = bundle.with_name("log")
        libraries = {"PYTHONPATH": str(FAKE), "FAKE_LOG": str(log)}
        machine = {"FAKE_TENSORRT": "10.15.1.29", "FAKE_CAPABILITY": "9.0"}
        done = subprocess.run(
            [sys.executable, "-B", str(bundle / "run" / "build.py"), *options],
            env={"PATH": os.defpath, **libraries, **machine, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.code, self.printed, self.errors = done.returncode, done.stdout, done.stderr
        lines = log.read_text().splitlines() if log.exists() else []
        self.calls = [json.loads(line) for line in lines]


def build(bundle: Path, *options: str, **environment: str) -> Done:
    return Done(bundle, options, environment)


def order_of(bundle: Path) -> dict[str, object]:
    return dict(json.loads((bundle / "run" / "build.json").read_text()))


def test_what_is_called_and_what_is_written(bundle: Path) -> None:
    before = digests_of(bundle)
    done = build(bundle)
    assert done.code == 0, done.errors
    size = (bundle / "model.onnx").stat().st_size
    assert done.calls == [
        ["create_network", 2],
        ["parse", size],
        ["set_memory_pool_limit", "WORKSPACE", 32 << 20],
        ["clear_flag", "TF32"],
        ["clear_flag", "SPARSE_WEIGHTS"],
        ["build_serialized_network", size],
        ["deserialize_cuda_engine", 26],
    ]
    assert "untested until it has run here" in done.printed
    assert "activations: 4,096 B (measured)" in done.printed
    engine = bundle.with_name("digits.bundle.engine")
    known = json.loads(engine.with_name(engine.name + ".json").read_text())
    assert known["engine"] == hashlib.sha256(engine.read_bytes()).hexdigest()
    assert known["model"] == order_of(bundle)["sha256"]
    assert known["memory"]["activations"] == 4096
    assert digests_of(bundle) == before


def digests_of(bundle: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a bundle: building leaves them as they are."""
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_profiles_and_flags(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()  # a bundle that is being made has none yet
    ranges = [{"x": [[1, 3], [4, 3], [8, 3]]}, {"x": [[9, 3], [9, 3], [16, 3]]}]
    changed = order_of(bundle) | {"profiles": ranges, "tf32": True, "sparse": True}
    (bundle / "run" / "build.json").write_text(json.dumps(changed))
    done = build(bundle)
    assert done.code == 0, done.errors
    assert done.calls[3:9] == [
        ["set_flag", "TF32"],
        ["set_flag", "SPARSE_WEIGHTS"],
        ["set_shape", "x", [1, 3], [4, 3], [8, 3]],
        ["add_optimization_profile"],
        ["set_shape", "x", [9, 3], [9, 3], [16, 3]],
        ["add_optimization_profile"],
    ]
    assert build(bundle, "--trtexec").printed.split() == [
        "trtexec",
        "--onnx=model.onnx",
        "--stronglyTyped",
        "--sparsity=enable",
        "--memPoolSize=workspace:32768K",
        "--profile=0",
        "--minShapes=x:1x3",
        "--optShapes=x:4x3",
        "--maxShapes=x:8x3",
        "--profile=1",
        "--minShapes=x:9x3",
        "--optShapes=x:9x3",
        "--maxShapes=x:16x3",
        "--saveEngine=../digits.bundle.engine",
        "--skipInference",
    ]


def test_another_version_and_another_gpu_are_both_told(bundle: Path) -> None:
    done = build(bundle, FAKE_TENSORRT="10.3.0", FAKE_CAPABILITY="8.9")
    assert done.code == 3
    assert "TensorRT 10.3.0 is installed, the bundle is for 10.15.1" in done.errors
    assert "a card has compute capability 8.9, the bundle is for 9.0" in done.errors
    assert "tapeout compile" in done.errors
    assert done.calls == []


def test_refusal_of_the_parser_names_the_node(bundle: Path) -> None:
    done = build(bundle, FAKE_REFUSES="the node")
    assert done.code == 3
    assert "node 'the node' (Det): no importer" in done.errors
    assert not bundle.with_name("digits.bundle.engine").exists()


def test_missing_libraries_are_told_with_their_commands(bundle: Path) -> None:
    done = build(bundle, PYTHONPATH="")
    assert done.code == 5
    assert "pip install tensorrt==10.15.1" in done.errors
    assert "pip install cuda-python" in done.errors


@pytest.mark.parametrize("name", ["model.onnx", "run/build.json"])
def test_changed_file_is_not_built(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes() + b"\n")
    done = build(bundle)
    assert done.code == 6
    assert f"{name} has the sha256" in done.errors
    assert done.calls == []


def test_path_out_of_the_bundle_is_not_read(bundle: Path) -> None:
    changed = order_of(bundle) | {"model": "../model.onnx"}
    (bundle / "run" / "build.json").write_text(json.dumps(changed))
    done = build(bundle)
    assert done.code == 6
    assert "'../model.onnx' is not the name of a file in the bundle" in done.errors


def test_engine_over_the_budget_is_not_written(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["budget"]["memory"] = 4096
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = build(bundle)
    assert done.code == 4
    assert "the budget is 4,096" in done.errors
    assert not bundle.with_name("digits.bundle.engine").exists()


def test_order_is_read_as_it_is_written(tmp_path: Path) -> None:
    order = Order("10.3.0", "m.onnx", "0", ("8.7",), True, True, 1, 2, ({"x": ((1,), (2,), (3,))},))
    (tmp_path / "build.json").write_text(json.dumps(order.to_json()))
    assert Order.read(tmp_path / "build.json") == order
    assert "--noTF32" not in trtexec(order, "e")


def test_names_of_inputs_run_nothing_in_a_shell() -> None:
    ranges = ({"x; touch y $(z)": ((1,), (2,), (3,))},)
    order = Order("10.3.0", "m.onnx", "0", ("8.7",), False, False, 1, 2, ranges)
    line = trtexec(order, "e")
    assert "'--minShapes=x; touch y $(z):1'" in line
    assert shlex.split(line)[6] == "--optShapes=x; touch y $(z):2"


def test_separators_in_names_are_quoted_as_trtexec_wants_it() -> None:
    ranges = ({"x:0": ((1,), (2, 3), (3,)), "y": ((1,), (4,), (5,))},)
    order = Order("10.3.0", "m.onnx", "0", ("8.7",), False, False, 1, 2, ranges)
    assert "--optShapes='x:0':2x3,y:4" in shlex.split(trtexec(order, "e"))
