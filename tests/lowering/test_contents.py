from __future__ import annotations

import numpy as np
import pytest

from tapeout.lowering.contents import Firsts

LARGE = np.arange(600, dtype=np.float32).reshape(20, 30)


def changed(index: tuple[int, int]) -> np.ndarray:
    """Return LARGE with another number in one place."""
    array = LARGE.copy()
    array[index] = -1
    return array


def test_equal_bytes_are_found_whatever_their_strides_and_shape() -> None:
    firsts: Firsts[str] = Firsts()
    stored = np.asfortranarray(LARGE)
    arrays = {"a": stored, "b": LARGE, "c": LARGE.reshape(30, 20), "d": LARGE.copy()}
    assert [firsts.first(array, name) for name, array in arrays.items()] == ["a"] * 4


@pytest.mark.parametrize("where", [(0, 0), (0, 1), (19, 29)])
def test_one_other_element_is_seen(where: tuple[int, int]) -> None:
    """Wherever it is: between those that are looked at first, too."""
    firsts: Firsts[int] = Firsts()
    arrays = [LARGE, changed(where), LARGE.copy(), changed(where)]
    assert [firsts.first(array, index) for index, array in enumerate(arrays)] == [0, 1, 0, 1]


def test_dtype_key_and_the_sign_of_zero_tell_arrays_apart() -> None:
    firsts: Firsts[int] = Firsts()
    zero = np.zeros(2, np.float32)
    arrays = [zero, -zero, zero.view(np.int32), np.full(2, np.nan, np.float32), zero[:0]]
    assert [firsts.first(array, index) for index, array in enumerate(arrays)] == list(range(5))
    assert [firsts.first(array.copy(), 9) for array in arrays] == list(range(5))
    assert firsts.first(zero, 9, key="another") == 9
    assert firsts.first(np.array(0, np.float32), 10) == 10
