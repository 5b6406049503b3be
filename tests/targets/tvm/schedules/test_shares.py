"""Shares of threads: even where parts allow it, none of work that is less than sharing costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeout.targets.tvm.schedules.shares import (
    evenness,
    is_worth_sharing,
    least_gain,
    shared_blocks,
)

counts = st.integers(1, 300)


@given(parts=counts, threads=st.integers(1, 16))
def test_evenness_is_that_of_runs_of_neighbours(parts: int, threads: int) -> None:
    share = -(-parts // threads)
    runs = [len(range(parts)[thread * share :][:share]) for thread in range(threads)]
    assert sum(runs) == parts
    assert evenness(parts, threads) == pytest.approx(sum(runs) / (max(runs) * threads))


@given(units=counts, least=counts, images=st.integers(1, 4), threads=st.integers(1, 16))
def test_shares_are_no_longer_than_those_of_the_fewest_blocks(
    units: int, least: int, images: int, threads: int
) -> None:
    least = min(least, units)
    found = shared_blocks(units, least, images, threads)
    assert least <= found <= 2 * max(least, threads)

    def longest(blocks: int) -> int:
        """The blocks of all images lie in a row; each thread takes the next so many."""
        each = -(-units // blocks)
        row = [each] * (images * -(-units // each))
        share = -(-len(row) // threads)
        return max(sum(row[start : start + share]) for start in range(0, len(row), share))

    assert longest(found) <= 1.25 * longest(least)
    assert longest(found) >= units * images / threads
    if threads == 1:
        assert found == least


def test_blocks_of_one_image_and_of_many() -> None:
    assert shared_blocks(56, 1, 1, 2) == 2
    assert shared_blocks(56, 3, 1, 2) == 4  # three are no even shares
    assert shared_blocks(7, 1, 1, 4) == 7
    # Nineteen of three rows have a remainder; so have six of five, which are shared better.
    assert shared_blocks(56, 19, 1, 2) == 28
    assert shared_blocks(28, 5, 1, 2) == 7
    assert shared_blocks(7, 1, 4, 4) == 1  # whole images are
    assert shared_blocks(1, 1, 1, 2) == 1


def test_what_is_worth_sharing() -> None:
    assert not is_worth_sharing(1e9, 8, 1)
    assert not is_worth_sharing(1e9, 1, 2)
    assert not is_worth_sharing(least_gain(2), 2, 2)
    assert is_worth_sharing(3 * least_gain(2), 2, 2)
    # More threads cost more, and save a larger part where they have something to do.
    assert least_gain(2) < least_gain(4)
    assert is_worth_sharing(1.5 * least_gain(4), 4, 4)
    assert not is_worth_sharing(1.5 * least_gain(4), 2, 4)
