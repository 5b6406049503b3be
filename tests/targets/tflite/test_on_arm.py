"""The bundle's own program on another architecture: the kernels of a Raspberry Pi, emulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_root import AARCH64

from tapeout import compiler
from tapeout.budget import Budget
from tapeout.bundle import VECTORS
from tapeout.compiler import Options
from tapeout.data import read_npz
from tapeout.numerics import Vectors
from tapeout.targets import emulation, process
from tapeout.targets.base import Precision
from tapeout.targets.tflite.execute import ENGINE_CODE

import support

MODEL = support.MODELS / "digits_cnn.onnx"
DIGITS = support.MODELS / "digits.npz"


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("int8", 1e-2)])
def test_a_bundle_runs_on_the_processor_of_a_pi(
    precision: Precision, tolerance: float, tmp_path: Path
) -> None:
    """tflite-runtime 2.14, years older than LiteRT, gives the expected numbers.

    The tolerance is relative to the largest output. In int8 it is one step of the output: the
    kernels of the two runtimes round in other ways where they requantize.
    """
    options = Options(precision, "tflite", calibration=f"{DIGITS}:calibration")
    job = compiler.prepare(MODEL, "raspberry-pi-5", Budget(), options)
    bundle = compiler.build(job, tmp_path / "pi.bundle").bundle
    vectors = Vectors.of(read_npz(bundle.directory / VECTORS))
    found = process.execute(
        bundle.directory,
        ENGINE_CODE,
        vectors.inputs,
        where="emulator",
        python=emulation.interpreter(AARCH64),
        environment={},
    ).outputs["logits"]
    expected = vectors.expected["logits"]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
