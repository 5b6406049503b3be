"""onnx2tf, the usual way from ONNX to TFLite, in an environment of its own with pinned versions."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from processes import Cost, cost_of

REQUIREMENTS = Path(__file__).resolve().with_name("onnx2tf.txt")

#: What it fetches from the network for its own self-test, unless a file of this name is there.
_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"


def install(directory: Path) -> None:
    """Make the environment (2.6 GB), unless it is there with these very versions."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    mark = directory / "installed"
    if mark.is_file() and mark.read_text() == digest:
        return
    print(f"installing onnx2tf into {directory}", file=sys.stderr, flush=True)
    venv.create(directory, with_pip=True, clear=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)
    mark.write_text(digest)


def convert(
    environment: Path, model: Path, inputs: Sequence[str], output: Path, scratch: Path
) -> Cost:
    """Convert a model into the float32 TFLite file `output`; downloads are no part of the time.

    Args:
        inputs: the names of those that stay channels-first; it would turn them otherwise.
    """
    samples = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    np.save(scratch / _SAMPLES, samples)
    command = [str(environment / "bin" / "onnx2tf"), "--non_verbose", "-i", str(model)]
    cost = cost_of([*command, "-k", *inputs, "-o", "converted"], scratch)
    (scratch / "converted" / f"{model.stem}_float32.tflite").replace(output)
    return cost
