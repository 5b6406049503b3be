"""Run the test vectors of this bundle on the device: are the outputs those that are expected?

    python3 compare.py [--repeat N]

It prints how far each output is from the expected one, as a share of its largest value, and what
run.py measures: the latency of N inferences and the memory on the GPU. The exit code is 0 when all
are within the manifest's tolerance, 6 when one is not, and else that of run.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent

#: The prefix of expected outputs among the test vectors; inputs stand under their own names.
EXPECTED = "expected/"

DIFFERENT = 6


def real(array: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    """Return the real numbers of an output, which the manifest describes."""
    numbers = array.astype(np.float64)
    meaning = tensor.get("quantization")
    if not meaning:
        return numbers
    return np.asarray((numbers - meaning["zero_point"][0]) * meaning["scale"][0])


def difference(found: np.ndarray, expected: np.ndarray, tensor: Mapping[str, Any]) -> float:
    """Return the largest difference over the largest expected value; infinite: not comparable."""
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return float("inf")
    left, right = real(found, tensor), real(expected, tensor)
    finite = np.isfinite(right)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if not same[~finite].all() or not np.isfinite(left[finite]).all():
        return float("inf")
    largest = float(np.abs(right[finite]).max(initial=0.0)) or 1.0
    return float(np.abs(left[finite] - right[finite]).max(initial=0.0)) / largest


def compare(bundle: Path, outputs: Mapping[str, np.ndarray], vectors: Mapping[str, Any]) -> bool:
    """Print how far the outputs are from the expected ones; return whether all are near enough."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    tolerance = float(manifest["tolerance"])
    good = True
    for tensor in manifest["outputs"]:
        name = tensor["name"]
        error = difference(outputs[name], vectors[EXPECTED + name], tensor)
        good = good and error <= tolerance
        print(f"output {name!r}: differs by {error:.3g} of its largest value, {tolerance:g} may be")
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare a bundle's outputs with what they are.")
    parser.add_argument("--bundle", type=Path, default=HERE.parent, help="the bundle's folder")
    parser.add_argument("--repeat", default="100", help="timed inferences")
    options = parser.parse_args(arguments)
    sys.dont_write_bytecode = True  # the bundle stays as its manifest says
    program = importlib.import_module("run")  # run.py, beside this file
    vectors = program.read_npz(options.bundle / "test_vectors.npz")
    inputs = {name: array for name, array in vectors.items() if not name.startswith(EXPECTED)}
    with tempfile.TemporaryDirectory() as scratch:
        given, got = Path(scratch) / "inputs.npz", Path(scratch) / "outputs.npz"
        program.write_npz(given, inputs)
        asked = ["--bundle", str(options.bundle), "--input", str(given), "--output", str(got)]
        code = int(program.main([*asked, "--repeat", options.repeat]))
        if code != 0:
            return code
        outputs = program.read_npz(got)
    return 0 if compare(options.bundle, outputs, vectors) else DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
