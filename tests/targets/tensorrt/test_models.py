"""The real networks and well-known architectures as engines for an RTX 4090, in three precisions.

An engine cannot run here: what its builder was given is run by ONNX Runtime, and held against the
float network as it came.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import architectures
import numpy as np
import onnx
import pytest

from tapeout import compiler
from tapeout.attempt import Attempt
from tapeout.budget import Budget
from tapeout.compiler import Options
from tapeout.lowering.quantization.sqnr import of_outputs
from tapeout.lowering.reference import Reference
from tapeout.targets.base import Precision
from tapeout.targets.tensorrt import builder
from tapeout.targets.tensorrt.run import header

import support

pytestmark = pytest.mark.slow

DEVICE: Final = "rtx-4090"

#: Small: kernels and layers are those of the large ones. ResNet-50 has a third of its width.
ARCHITECTURES: Final[dict[str, Callable[[], onnx.ModelProto]]] = {
    "resnet_50": lambda: architectures.resnet_50(32, 80),
    "mobilenet_v2": lambda: architectures.networks.mobilenet_v2(32),
    "u_net": lambda: architectures.u_net(32, 8),
    "encoder": lambda: architectures.encoder(16, 32, 2, 2),
    "yolo": architectures.yolo,
}

#: Precision -> how close the builder's network is to the float one at least, SQNR in dB.
CLOSE: Final[dict[Precision, float]] = {"fp32": 100, "fp16": 40, "int8": 10}

#: Where it is less: 52 layers of random weights make much of little. Measured: 27 and 8.
LESS: Final[dict[tuple[str, Precision], float]] = {
    ("mobilenet_v2", "fp16"): 24,
    ("mobilenet_v2", "int8"): 6,
}


def samples(name: str, path: Path, folder: Path) -> str:
    """Write inputs of a model; return them as the command line takes them."""
    [entry] = onnx.load(path).graph.input
    if name in support.NAMES:
        arrays = support.real_inputs(name, 8)
    else:
        shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        arrays = np.random.default_rng(0).standard_normal((4, *shape[1:])).astype(np.float32)
    np.savez(folder / "samples.npz", **{entry.name: arrays})
    return f"{folder / 'samples.npz'}:{entry.name}"


@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize("name", [*support.NAMES, *ARCHITECTURES])
def test_an_engine_of_known_memory_is_built_from_a_network_that_computes_the_same(
    name: str, precision: Precision, tmp_path: Path
) -> None:
    path = support.MODELS / f"{name}.onnx"
    if name in ARCHITECTURES:
        path = tmp_path / "model.onnx"
        onnx.save(ARCHITECTURES[name](), path)
    options = Options(precision=precision, calibration=samples(name, path, tmp_path))
    job = compiler.prepare(path, DEVICE, Budget(), options)
    [candidate] = compiler.plan(job)
    (tmp_path / "bundle").mkdir()
    compiled = Attempt(job, candidate, tmp_path / "bundle", Reference(job.model)).compiled()

    manifest = compiled.bundle.manifest
    usage = manifest.usage
    content = compiled.bundle.engine.read_bytes()
    assert manifest.status == "compiled"
    assert usage["memory"]["known"] == "exact"
    assert usage["memory"]["value"] == sum(part["value"] for part in usage["parts"].values())
    assert usage["storage"] == {
        "value": len(content),
        "unit": "B",
        "known": "exact",
        "note": compiled.bundle.engine.name,
    }
    version = manifest.runtime.version
    assert header.unfit(header.parse(content), len(content), version, ["8.9"]) == []

    assert job.samples is not None
    network = candidate.target.network(candidate.model, job.profile, candidate.plan)
    assert network is not None
    float_, given = Reference(job.model), Reference(network)
    [entry] = job.inputs
    feeds = [{entry.name: item[None]} for item in job.samples.feeds[entry.name][:2]]
    close = of_outputs((float_.run(item), given.run(item)) for item in feeds)
    assert close > LESS.get((name, precision), CLOSE[precision])

    builder.engine.cache_clear()
    again = candidate.target.build(
        candidate.model, job.profile, candidate.plan, tmp_path, lambda _: None
    )
    assert (tmp_path / again.engine).read_bytes() == content
