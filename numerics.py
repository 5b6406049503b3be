"""Outputs held against the reference: test vectors, differences, accuracy on labelled data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from .data import InputSpec, pieces, real_numbers, stack, write_npz
from .errors import Problem, UsageError, VerificationError
from .lowering.reference import Reference

#: The largest difference allowed, relative to the largest absolute expected value of an output, by
#: the precision of a plan. The expected values are those of the model in that precision, but
#: engines may sum in another order: where a number then rounds to the next integer (or the next
#: half-precision number) the difference reaches the output. Engines in ``int8-dynamic`` round by
#: other scales than the expected values (one for a row), or not at all where float is as fast.
#: ``tf32`` rounds factors to as many bits as half precision (measured on five networks: up to
#: 0.004), ``bf16`` all numbers to three fewer (0.035); a step of ``fp8`` is up to an eighth of a
#: number (0.12, where the rest is rounded otherwise); ``int4`` computes in half precision.
TOLERANCES: Final = {
    "fp32": 1e-4,
    "tf32": 1e-2,
    "fp16": 2e-2,
    "bf16": 0.1,
    "int8": 5e-2,
    "int8-dynamic": 0.3,
    "fp8": 0.2,
    "int4": 2e-2,
}

#: How many pieces of the user's data go into the test vectors, and how many are drawn without.
_SAMPLES = 4

#: The prefix of expected outputs among the test vectors; inputs stand under their own names.
_EXPECTED = "expected/"


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Inputs and the reference's outputs, by name, stacked along the first dimension."""

    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]

    def save(self, path: Path) -> None:
        """Write an ``.npz`` whose inputs `tapeout run` takes; same arrays, same bytes."""
        outputs = {_EXPECTED + name: array for name, array in self.expected.items()}
        write_npz(path, self.inputs | outputs)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Vectors:
        """Sort the arrays of a saved file into inputs and expected outputs."""
        inputs = {name: array for name, array in arrays.items() if not name.startswith(_EXPECTED)}
        expected = {
            name.removeprefix(_EXPECTED): array
            for name, array in arrays.items()
            if name.startswith(_EXPECTED)
        }
        return cls(inputs, expected)


def make_vectors(
    reference: Reference,
    inputs: Sequence[InputSpec],
    data: Mapping[str, np.ndarray] | None = None,
    samples: int = _SAMPLES,
) -> Vectors:
    """Return the first samples of `data`, or drawn ones, with the reference's outputs.

    Drawn inputs come from a fixed seed: standard normal for floating point, the whole range for
    integers that stand for real numbers, 0 and 1 for others and booleans (valid as an index into
    anything).
    """
    cut = pieces(data, inputs)[:samples] if data is not None else _draw(inputs, samples)
    return Vectors(stack(cut), run_reference(reference, cut))


def _draw(inputs: Sequence[InputSpec], samples: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    count = samples if all(item.shape for item in inputs) else 1
    drawn = []
    for _ in range(count):
        piece = {}
        for item in inputs:
            dtype = np.dtype(item.dtype)
            if item.quantization is not None:
                limits = np.iinfo(dtype)
                piece[item.name] = rng.integers(limits.min, limits.max, item.shape, dtype, True)
                continue
            values = rng.standard_normal(item.shape)
            piece[item.name] = (values > 0 if dtype.kind in "biu" else values).astype(dtype)
        drawn.append(piece)
    return drawn


def run_reference(
    reference: Reference, cut: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Run the reference on every piece and stack its outputs."""
    return stack([reference.run(piece) for piece in cut])


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one output lies from the reference.

    Attributes:
        largest: the largest absolute difference over the largest absolute expected value.
        problem: what is wrong with it, None if it is within the tolerance.
    """

    output: str
    largest: float
    problem: Problem | None

    def to_json(self) -> dict[str, Any]:
        return {"output": self.output, "relative": self.largest, "holds": self.problem is None}


def compare(
    actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> list[Difference]:
    """Return the difference of every expected output; a missing one, or NaN, is a problem."""
    return [
        _difference(name, actual.get(name), array, tolerance) for name, array in expected.items()
    ]


def _difference(
    name: str, actual: np.ndarray | None, expected: np.ndarray, tolerance: float
) -> Difference:
    def failed(what: str, largest: float = float("inf")) -> Difference:
        return Difference(name, largest, Problem(f"output {name!r}", what))

    if actual is None:
        return failed("is missing")
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return failed(
            f"is {actual.dtype}{list(actual.shape)}, "
            f"expected {expected.dtype}{list(expected.shape)}"
        )
    if expected.size == 0:
        return Difference(name, 0.0, None)
    left, right = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(right)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if not same[~finite].all():
        return failed("has NaN or infinities at other places than the reference")
    scale = float(np.abs(right[finite]).max(initial=0.0)) or 1.0
    error = np.where(finite, np.abs(left - np.where(finite, right, 0.0)), 0.0)
    largest = float(error.max()) / scale
    if not largest <= tolerance:  # NaN, too, does not hold
        worst = np.unravel_index(int(np.nan_to_num(error, nan=np.inf).argmax()), error.shape)
        return failed(
            f"differs by {largest:.3g} of its largest value (tolerance {tolerance:g}), most at "
            f"{[int(index) for index in worst]}: {actual[worst]!s} instead of {expected[worst]!s}",
            largest,
        )
    return Difference(name, largest, None)


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The share of samples whose largest score is at the label."""

    correct: int
    samples: int

    @property
    def share(self) -> float:
        return self.correct / self.samples

    def __str__(self) -> str:
        return f"{self.share:.4f} ({self.correct} of {self.samples})"

    def to_json(self) -> dict[str, Any]:
        return {"top1": self.share, "correct": self.correct, "samples": self.samples}


def require_equal(
    actual: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float,
    tensors: Sequence[InputSpec] = (),
) -> list[Difference]:
    """Compare as `compare` does; raises VerificationError that names every output that differs.

    Args:
        tensors: the outputs; what has a scale is compared as real numbers.
    """
    differences = compare(real_numbers(actual, tensors), real_numbers(expected, tensors), tolerance)
    if wrong := [item.problem for item in differences if item.problem is not None]:
        raise VerificationError("the outputs are not the reference's", wrong)
    return differences


def top1(outputs: Mapping[str, np.ndarray], labels: np.ndarray) -> Accuracy:
    """Count the samples whose label is the index of the largest value of the first output.

    Raises:
        UsageError: the output has no row of scores for each label.
    """
    name, scores = next(iter(outputs.items()))
    if scores.ndim < 2 or labels.ndim != 1 or scores.shape[0] != labels.shape[0]:
        raise UsageError(
            f"top-1 needs one row of scores for each label: output {name!r} has shape "
            f"{list(scores.shape)}, the labels {list(labels.shape)}"
        )
    chosen = scores.reshape(scores.shape[0], -1).argmax(axis=1)
    return Accuracy(int((chosen == labels).sum()), int(labels.shape[0]))
