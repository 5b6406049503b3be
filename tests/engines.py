"""Bundles with a small compiled network, or any shared library, for the tests that run them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tapeout.lowering.importers.onnx import load
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile, Toolchain
from tapeout.targets.base import Plan
from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.glue import write_glue

#: Two inputs, one named as a keyword of numpy.savez; two outputs, one of them a scalar.
NETWORK = """
<ir_version: 10, opset_import: ["" : 20]>
two_by_two (float[2,3,8,8] image, float[2,4] file) => (float[2,4] scores, float total)
<float[4,3,3,3] kernel, float[4] shift>
{
  features = Conv <pads = [1, 1, 1, 1]> (image, kernel, shift)
  active = Relu (features)
  pooled = GlobalAveragePool (active)
  flat = Flatten (pooled)
  scores = Add (flat, file)
  total = ReduceSum <keepdims = 0> (active)
}
"""

SIGNATURE: dict[str, list[dict[str, Any]]] = {
    "inputs": [
        {"name": "image", "shape": [2, 3, 8, 8], "dtype": "float32"},
        {"name": "file", "shape": [2, 4], "dtype": "float32"},
    ],
    "outputs": [
        {"name": "scores", "shape": [2, 4], "dtype": "float32"},
        {"name": "total", "shape": [], "dtype": "float32"},
    ],
}


@dataclasses.dataclass(frozen=True)
class Made:
    """A bundle's directory, and the network its engine was compiled from."""

    directory: Path
    profile: Profile
    model: onnx.ModelProto

    def feeds(self, pieces: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {
            tensor["name"]: rng.standard_normal(
                (tensor["shape"][0] * pieces, *tensor["shape"][1:])
            ).astype(tensor["dtype"])
            for tensor in SIGNATURE["inputs"]
        }

    def expected(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return ONNX Runtime's outputs for one compiled batch."""
        import onnxruntime

        session = onnxruntime.InferenceSession(self.model.SerializeToString())
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))


def network() -> onnx.ModelProto:
    model = onnx.parser.parse_model(NETWORK)
    rng = np.random.default_rng(7)
    for name, shape in (("kernel", (4, 3, 3, 3)), ("shift", (4,))):
        weights = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    onnx.checker.check_model(model)
    return model


def link(toolchain: Toolchain, output: str, sources: Sequence[str]) -> None:
    """Make a shared library for the toolchain's architecture, of objects or C files."""
    target = f"{toolchain.triple}.{toolchain.glibc}" if toolchain.glibc else toolchain.triple
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-shared", "-fPIC"]
    subprocess.run([*command, "-o", output, *sources], check=True)


def compile_network(profile: Profile, directory: Path) -> onnx.ModelProto:
    """Build the engine of the network, for two threads, with the glue."""
    proto, plan = network(), Plan("tvm", "fp32", (("threads", 2),))
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(proto, Path(folder, "network.onnx"))
        model = load(Path(folder, "network.onnx"), {})
    lowered = TARGET.pipeline(profile, plan).run(model)
    TARGET.build(lowered, profile, plan, directory, lambda _: None)
    return proto


def write_manifest(directory: Path, **changes: Any) -> None:
    """Write what running needs of a manifest."""
    manifest = {
        "engine": "engine.so",
        "plan": {"runtime": "tvm", "precision": "fp32", "options": {"threads": 2}},
        **SIGNATURE,
        **changes,
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))


def compiled_bundle(directory: Path, device: str) -> Made:
    """Make a bundle whose engine is the network."""
    profile = catalog.load(device)
    model = compile_network(profile, directory)
    write_manifest(directory)
    return Made(directory, profile, model)


def library_bundle(directory: Path, device: str, source: str) -> Made:
    """Make a bundle whose engine is a shared library of C source."""
    profile = catalog.load(device)
    (directory / "engine.c").write_text(source)
    link(profile.toolchain, str(directory / "engine.so"), [str(directory / "engine.c")])
    write_manifest(directory)
    write_glue(directory, profile)
    return Made(directory, profile, network())
