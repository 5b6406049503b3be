"""A histogram of a stream of numbers whose range is not known beforehand.

The bins are multiples of a power of two, so that a number's bin is found without rounding and two
neighbours merge into one bin of twice the width. The width is a function of the least and the
greatest number alone: whatever the order and the pieces in which the numbers come, and whatever
merges they cause, the histogram is the same to the last count.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

#: The most bins that a histogram has; it uses more than half of them unless all numbers are close.
BINS: Final = 8192

#: Bins are no narrower than this share of the largest magnitude, so that float32 holds every
#: index; nor than 2 to this power, so that float32 holds the reciprocal of the width.
_FINEST: Final = -24
_LEAST_EXPONENT: Final = -100

#: How many numbers are binned at a time: their indices stay in a core's own cache.
_CHUNK: Final = 1 << 15


class Histogram:
    """Counts of float32 numbers in bins of one width; bin i holds [i x width, (i + 1) x width).

    Attributes:
        minimum, maximum: the exact least and greatest number; infinity and -infinity if empty.
        count: how many numbers were counted.
        width: of a bin, a power of two; 0 if empty.
        first: the index of the first bin. The bins reach from the one of the minimum to the one
            of the maximum.
        counts: int64, of shape (bins,).
    """

    def __init__(self) -> None:
        self.minimum, self.maximum = math.inf, -math.inf
        self.count = 0
        self.width = 0.0
        self.first = 0
        self.counts = np.zeros(0, np.int64)

    @property
    def edges(self) -> np.ndarray:
        """The borders of the bins, float64, of shape (bins + 1,)."""
        return np.arange(self.first, self.first + self.counts.size + 1) * self.width

    def cover(self, low: float, high: float) -> None:
        """Count two numbers into the minimum and maximum, though not into a bin.

        Raises:
            ValueError: a number is NaN or infinite.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"the range {low}..{high} is not finite")
        if low >= self.minimum and high <= self.maximum:
            return
        self.minimum, self.maximum = min(low, self.minimum), max(high, self.maximum)
        width = _width(self.minimum, self.maximum)
        first = math.floor(self.minimum / width)
        counts = np.zeros(math.floor(self.maximum / width) - first + 1, np.int64)
        self._pour(counts, first, width)
        self.counts, self.first, self.width = counts, first, width

    def add(self, numbers: np.ndarray) -> None:
        """Count numbers of any shape.

        Raises:
            ValueError: one of them is NaN or infinite; nothing is counted then.
        """
        # Read several times: every k-th number of an array is copied once.
        numbers = np.ascontiguousarray(numbers, np.float32).reshape(-1)
        if not numbers.size:
            return
        self.cover(float(numbers.min()), float(numbers.max()))
        scale, first = np.float32(1 / self.width), np.float32(self.first)
        scaled = np.empty(min(_CHUNK, numbers.size), np.float32)
        indices = np.empty(scaled.size, np.intp)
        for start in range(0, numbers.size, _CHUNK):
            chunk = numbers[start : start + _CHUNK]
            at, where = scaled[: chunk.size], indices[: chunk.size]
            np.multiply(chunk, scale, out=at)
            np.floor(at, out=at)
            np.subtract(at, first, out=at)
            if self.maximum < 0:  # a product may have become zero, whose bin is not there
                np.minimum(at, np.float32(self.counts.size - 1), out=at)
            where[...] = at
            self.counts += np.bincount(where, minlength=self.counts.size)
        self.count += numbers.size

    def merge(self, other: Histogram) -> None:
        """Count all that another histogram counted."""
        if other.minimum <= other.maximum:
            self.cover(other.minimum, other.maximum)
            other._pour(self.counts, self.first, self.width)
            self.count += other.count

    def _pour(self, counts: np.ndarray, first: int, width: float) -> None:
        """Add the counts to those of a histogram whose bins are as wide or wider and reach as far.

        One narrow bin lies in one wide bin, as both widths are powers of two.
        """
        if not self.counts.size:
            return
        places = np.arange(self.first, self.first + self.counts.size)
        places = (places >> round(math.log2(width / self.width))) - first
        starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
        counts[places[starts]] += np.add.reduceat(self.counts, starts)


def _width(low: float, high: float) -> float:
    """Return the least power of two for which the range fits into the bins."""
    _, exponent = math.frexp(max(-low, high))
    width = math.ldexp(1.0, max(exponent + _FINEST, _LEAST_EXPONENT))
    while _span(low, high, width) > BINS:
        width *= 2
    return width


def _span(low: float, high: float, width: float) -> int:
    return math.floor(high / width) - math.floor(low / width) + 1
