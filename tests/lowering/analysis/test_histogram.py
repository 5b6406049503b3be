"""A histogram in one pass: the same however its numbers come."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeout.lowering.analysis.histogram import BINS, Histogram

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)
LISTS = st.lists(FINITE, max_size=40) | st.lists(st.integers(-9, 9).map(float), max_size=40)
LARGEST = float(np.finfo(np.float32).max)


def of(*arrays: object) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.add(np.array(array, np.float32))
    return histogram


def same(first: Histogram, second: Histogram) -> bool:
    names = ("minimum", "maximum", "count", "width", "first")
    return all(getattr(first, name) == getattr(second, name) for name in names) and bool(
        np.array_equal(first.counts, second.counts)
    )


def in_float64(numbers: np.ndarray, histogram: Histogram) -> np.ndarray:
    """Return the counts, by the definition of the bins, as float64 has them exactly."""
    bins = np.floor(numbers.astype(np.float64) / histogram.width).astype(np.int64)
    return np.bincount(bins - histogram.first, minlength=histogram.counts.size)


@given(LISTS)
def test_bins_hold_what_they_say(numbers: list[float]) -> None:
    histogram = of(numbers)
    assert histogram.count == len(numbers) == histogram.counts.sum()
    if not numbers:
        assert histogram.width == 0
        assert (histogram.minimum, histogram.maximum) == (math.inf, -math.inf)
        return
    array = np.array(numbers, np.float32)
    assert (histogram.minimum, histogram.maximum) == (array.min(), array.max())
    assert math.frexp(histogram.width)[0] == 0.5
    assert 1 <= histogram.counts.size <= BINS
    assert histogram.edges[0] <= histogram.minimum < histogram.edges[1]
    assert histogram.edges[-2] <= histogram.maximum < histogram.edges[-1]
    # Beside much larger ones, numbers may be too small for float32 and count as zero.
    if (np.abs(array[array != 0]) >= histogram.width * 2.0**-100).all():
        np.testing.assert_array_equal(histogram.counts, in_float64(array, histogram))


#: Numbers whose ratios float32 can hold, so that none is too small for its bin.
MODERATE = st.floats(2.0**-40, 2.0**40, width=32).flatmap(lambda x: st.sampled_from([x, -x, 0.0]))


@given(st.lists(st.lists(MODERATE, max_size=12), max_size=6), st.randoms(use_true_random=False))
def test_order_and_pieces_do_not_matter(pieces: list[list[float]], random: object) -> None:
    whole = of([number for piece in pieces for number in piece])
    assert same(of(*pieces), whole)
    assert same(of(*reversed(pieces)), whole)
    merged = Histogram()
    for piece in pieces:
        merged.merge(of(piece))
    assert same(merged, whole)


def test_bins_are_fine() -> None:
    numbers = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    histogram = of(numbers)
    assert BINS / 2 < histogram.counts.size <= BINS
    np.testing.assert_array_equal(histogram.counts, in_float64(numbers, histogram))


def test_grows_by_merging_pairs() -> None:
    histogram = of(np.arange(8192) / 8192)
    assert histogram.width == 1 / 8192
    assert (histogram.counts == 1).all()
    histogram.add(np.array([-0.5, 1.4999], np.float32))
    assert histogram.width == 1 / 4096
    assert histogram.first == -2048
    expected = np.zeros(8192, np.int64)
    expected[[0, -1]] = 1
    expected[2048:6144] = 2
    np.testing.assert_array_equal(histogram.counts, expected)


def test_huge_outlier_leaves_the_rest_in_few_bins() -> None:
    histogram = of(np.linspace(-1, 1, 1000), [LARGEST])
    assert histogram.maximum == LARGEST
    assert histogram.counts.sum() == 1001
    assert histogram.counts[:2].tolist() == [500, 500]
    assert histogram.counts[-1] == 1


@pytest.mark.parametrize("number", [0.0, 3.7, -2.5e-20, 1e-44, -LARGEST, LARGEST])
def test_constants_lie_in_one_bin(number: float) -> None:
    histogram = of(np.full(1000, number))
    assert histogram.counts.tolist() == [1000]
    assert 0 < histogram.width < math.inf
    assert histogram.edges[0] <= np.float32(number) < histogram.edges[1]


@pytest.mark.parametrize("number", [1000.0, 1024.0, -1e30])
def test_close_numbers_of_large_magnitude_are_told_apart(number: float) -> None:
    histogram = of([number, np.nextafter(np.float32(number), np.float32(np.inf))])
    assert histogram.counts[0] == histogram.counts[-1] == 1
    assert histogram.counts.size in (2, 3)


def test_covers_numbers_that_it_does_not_count() -> None:
    histogram = of([0.25, 0.5])
    histogram.cover(-1.0, 4.0)
    assert (histogram.minimum, histogram.maximum, histogram.count) == (-1.0, 4.0, 2)
    assert histogram.edges[0] <= -1.0
    assert histogram.counts.sum() == 2
    twice = of([0.25, 0.5])
    twice.merge(histogram)
    assert (twice.minimum, twice.maximum, twice.count) == (-1.0, 4.0, 4)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(number: float) -> None:
    histogram = of([1.0])
    with pytest.raises(ValueError, match="is not finite"):
        histogram.add(np.array([0.0, number], np.float32))
    assert same(histogram, of([1.0]))


def test_takes_any_shape_and_stride() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert same(of(array[:, ::2, 1:]), of(array[:, ::2, 1:].ravel()))
    assert same(of(array.T), of(array))
    assert of(np.float32(3)).count == 1
