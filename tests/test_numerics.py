from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapeout.data import read_npz
from tapeout.errors import UsageError, VerificationError
from tapeout.numerics import Vectors, compare, require_equal, top1

ONES = np.ones((2, 2), np.float32)


def test_the_difference_is_relative_to_the_largest_expected_value() -> None:
    (found,) = compare({"y": 10 * ONES + np.float32(0.001)}, {"y": 10 * ONES}, 1e-3)
    assert found.largest == pytest.approx(1e-4, rel=1e-2)
    assert found.problem is None


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        ({}, "is missing"),
        ({"y": ONES[0]}, r"is float32\[2\], expected float32\[2, 2\]"),
        ({"y": ONES.astype(np.float64)}, "is float64"),
        ({"y": ONES * np.float32(1.1)}, "differs by 0.1"),
        ({"y": ONES * np.float32("nan")}, "differs by nan"),
        ({"y": ONES * np.float32("inf")}, "differs by inf"),
    ],
)
def test_what_differs_is_said(actual: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        require_equal(actual, {"y": ONES}, 1e-4)


def test_nan_and_infinity_must_stand_where_the_reference_has_them() -> None:
    expected = np.array([1, np.nan, np.inf, -np.inf], np.float32)
    assert compare({"y": expected.copy()}, {"y": expected}, 1e-4)[0].problem is None
    for index in range(4):
        changed = expected.copy()
        changed[index] = 5
        assert compare({"y": changed}, {"y": expected}, 1e-4)[0].problem is not None


def test_the_worst_place_is_named() -> None:
    actual = ONES.copy()
    actual[1, 0] = 3
    with pytest.raises(VerificationError, match=r"most at \[1, 0\]: 3.0 instead of 1.0"):
        require_equal({"y": actual}, {"y": ONES}, 1e-4)


def test_vectors_are_saved_with_the_same_bytes(tmp_path: Path) -> None:
    vectors = Vectors({"x": ONES}, {"y/z": 2 * ONES})
    vectors.save(tmp_path / "a.npz")
    vectors.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = Vectors.of(read_npz(tmp_path / "a.npz"))
    assert list(loaded.inputs) == ["x"]
    assert np.array_equal(loaded.expected["y/z"], 2 * ONES)


def test_top1() -> None:
    scores = {"y": np.array([[0, 1], [1, 0], [0, 1]], np.float32)}
    accuracy = top1(scores, np.array([1, 0, 0]))
    assert (accuracy.correct, accuracy.samples) == (2, 3)
    with pytest.raises(UsageError, match="one row of scores for each label"):
        top1(scores, np.array([1, 0]))
