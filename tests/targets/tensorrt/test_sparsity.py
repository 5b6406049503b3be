"""Plans with 2:4 sparse weights: where they are offered, what enters the builder, what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import tapeout
from tapeout import compiler, planner
from tapeout.budget import Budget
from tapeout.compiler import Options
from tapeout.errors import ModelError, UsageError
from tapeout.lowering.matching import array_of
from tapeout.profiles import catalog
from tapeout.targets.base import Precision
from tapeout.targets.tensorrt.builder import Request, engine

import support

MODEL = support.MODELS / "digits_cnn.onnx"
SAMPLES = f"{support.MODELS / 'digits.npz'}:calibration"
SPARSE = {"sparsity": "2:4"}


def plans(device: str, precision: Precision, options: dict[str, str] | None = None) -> list[str]:
    profile = catalog.load(device)
    found = planner.plans(profile, precision, "tensorrt-rtx", options=options)
    return [str(plan) for _, plan in found]


def test_weights_are_sparse_only_where_that_is_asked_for() -> None:
    assert plans("rtx-4090", "fp16") == ["tensorrt-rtx, fp16"]
    assert plans("rtx-4090", "fp16", SPARSE) == ["tensorrt-rtx, fp16, sparsity=2:4"]
    assert plans("rtx-4090", "auto", SPARSE) == [
        "tensorrt-rtx, fp16, sparsity=2:4",
        "tensorrt-rtx, int8, sparsity=2:4",
    ]


@pytest.mark.parametrize(("device", "precision"), [("rtx-2060", "fp16"), ("rtx-4090", "fp32")])
def test_no_sparse_plan_where_nothing_skips_zeros(device: str, precision: Precision) -> None:
    with pytest.raises(UsageError, match="sparsity=2:4"):
        plans(device, precision, SPARSE)


def test_samples_are_needed_to_fit_what_is_left(tmp_path: Path) -> None:
    options = Options(precision="fp16", plan=SPARSE)
    with pytest.raises(UsageError, match="needs samples"):
        tapeout.compile(MODEL, "rtx-4090", tmp_path / "b", Budget(), options)


def test_a_network_that_is_quantized_already_is_refused(tmp_path: Path) -> None:
    quantized = tmp_path / "q.onnx"
    how = tapeout.QuantizeOptions(scheme="tensorrt", calibration=SAMPLES)
    tapeout.quantize(MODEL, quantized, how)
    options = Options(precision="int8", calibration=SAMPLES, plan=SPARSE)
    job = compiler.prepare(quantized, "rtx-4090", Budget(), options)
    with pytest.raises(ModelError) as caught:
        compiler.plan(job)
    assert any("quantized already" in problem.what for problem in caught.value.problems)


def test_what_enters_the_builder_is_sparse_in_integers_too(tmp_path: Path) -> None:
    options = Options(precision="int8", calibration=SAMPLES, plan=SPARSE)
    [candidate] = compiler.plan(compiler.prepare(MODEL, "rtx-4090", Budget(), options))
    constants = map(array_of, candidate.model.graph.initializers.values())
    kernels = [item for item in constants if item is not None and item.dtype == np.int8]
    assert sum((item == 0).mean() >= 0.5 for item in kernels if item.ndim > 1) == 3
    assert candidate.usage.latency is not None
    assert "as if dense" in candidate.usage.latency.note


def test_bundle_says_what_is_sparse_and_what_is_not(tmp_path: Path) -> None:
    options = Options(precision="fp16", calibration=SAMPLES, plan=SPARSE)
    tapeout.compile(MODEL, "rtx-4090", tmp_path / "b", Budget(), options)
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["plan"]["options"] == SPARSE
    assert manifest["conversion"]["scheme"] == "sparse-2:4,fp16"
    reasons = manifest["conversion"]["dense"].values()
    assert len(reasons) == 3
    assert all("channels" in reason for reason in reasons)
    assert "sparsify-weights{pruning=" in manifest["passes"]


@pytest.mark.parametrize("capability", ["8.0", "12.0"])
def test_the_builder_writes_the_same_engine_whether_it_may_take_sparse_kernels(
    capability: str,
) -> None:
    """It chooses kernels on the device: if this fails, it no longer does; see `sparsity`."""
    weight = np.zeros((256, 256, 3, 3), np.float16)
    weight[:, ::2] = np.random.default_rng(0).standard_normal((256, 128, 3, 3))
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        g (float16[4, 256, 32, 32] x, float16[256, 256, 3, 3] w) => (float16[4, 256, 32, 32] y) {
            y = Conv<pads=[1, 1, 1, 1]>(x, w)
        }""")
    model.graph.input.pop()
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    content = model.SerializeToString()
    dense, sparse = (engine(Request(content, (capability,), sparse=item)) for item in (False, True))
    assert dense.content == sparse.content


def test_a_deferred_bundle_lets_the_builder_on_the_device_take_sparse_kernels(
    tmp_path: Path,
) -> None:
    options = Options(precision="fp16", calibration=SAMPLES, plan=SPARSE)
    bundle = tapeout.compile(MODEL, "jetson-orin-nano", tmp_path / "b", Budget(), options)
    [line] = [
        item for item in bundle.manifest.report["build"]["commands"] if item.startswith("trtexec")
    ]
    assert "--sparsity=enable" in line
