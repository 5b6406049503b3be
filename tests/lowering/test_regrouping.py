from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.regrouping import regroup


@pytest.mark.parametrize(
    ("before", "after", "layout", "result"),
    [
        ((1, 8, 4, 5), (1, 8, 20), (0, 2, 3, 1), (0, 2, 1)),  # height and width merge
        ((1, 6, 4, 5), (1, 2, 3, 4, 5), (0, 2, 3, 1), (0, 3, 4, 1, 2)),  # channels split
        ((2, 3), (2, 1, 3, 1), (1, 0), (2, 3, 0, 1)),  # axes of size 1 come after their neighbour
        ((1, 8, 1, 1), (1, 8), (0, 2, 3, 1), (0, 1)),
        ((1, 8, 4, 5), (1, 160), (0, 2, 3, 1), None),  # what merges does not stay together
        ((4, 6), (6, 4), (1, 0), None),
        ((2, 0, 3), (0, 6), (0, 1, 2), None),  # empty
    ],
)
def test_cases(
    before: tuple[int, ...],
    after: tuple[int, ...],
    layout: tuple[int, ...],
    result: tuple[int, ...] | None,
) -> None:
    assert regroup(before, after, layout) == result


@settings(max_examples=120)
@given(data=st.data())
def test_reshaping_what_is_stored_moves_nothing(data: st.DataObject) -> None:
    before = data.draw(st.lists(st.sampled_from([1, 2, 2, 3, 4]), min_size=1, max_size=4))
    primes = [p for size in before for p in {1: [], 2: [2], 3: [3], 4: [2, 2]}[size]]
    after: list[int] = []
    for prime in primes:
        if after and data.draw(st.booleans()):
            after[-1] *= prime
        else:
            after += [1] * data.draw(st.integers(0, 1)) + [prime]
    layout = tuple(data.draw(st.permutations(range(len(before)))))
    result = regroup(before, after, layout)
    array = np.arange(math.prod(before)).reshape(before)
    if result is not None:
        assert sorted(result) == list(range(len(after)))
        wanted = array.reshape(after).transpose(result)
        assert np.array_equal(array.transpose(layout).reshape(wanted.shape), wanted)
    elif layout == tuple(range(len(before))):
        raise AssertionError("the identity always has a result")
