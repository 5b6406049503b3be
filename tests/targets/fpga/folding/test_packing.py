"""The knapsack is the best of all sets, where there are few enough to try them all."""

import itertools

import numpy as np
import pytest

from tapeout.targets.fpga.folding.packing import pack, undominated


@pytest.mark.parametrize("seed", range(20))
def test_the_cheapest_set_that_fits_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [rng.integers(0, 40, (rng.integers(1, 5), 3)) for _ in range(4)]
    limit, price = rng.integers(30, 130, 3), rng.random(3)

    found = pack(groups, limit, price)

    sets = itertools.product(*groups)
    sums = [total for total in (np.sum(items, axis=0) for items in sets) if (total <= limit).all()]
    if not sums:
        assert found is None
        return
    assert found is not None
    total = np.sum([group[index] for group, index in zip(groups, found, strict=True)], axis=0)
    assert (total <= limit).all()
    assert total @ price == pytest.approx(min(item @ price for item in sums))


def test_sets_that_fit_and_that_do_not_are_among_the_cases() -> None:
    outcomes = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        groups = [rng.integers(0, 40, (rng.integers(1, 5), 3)) for _ in range(4)]
        outcomes.add(pack(groups, rng.integers(30, 130, 3), rng.random(3)) is None)
    assert outcomes == {True, False}


def test_of_many_groups_one_that_fits_is_found() -> None:
    """Each group trades one resource for the other, and only an even mixture fits."""
    group = np.array([[10, 0], [6, 3], [0, 10]])
    found = pack([group] * 40, np.array([205, 205]), np.array([1.0, 1.0]))
    assert found is not None
    assert (group[found].sum(axis=0) <= 205).all()
    assert pack([group] * 40, np.array([150, 150]), np.array([1.0, 1.0])) is None


def test_rows_that_another_one_matches_are_dropped_but_for_the_first() -> None:
    figures = np.array([[1, 5], [2, 5], [5, 1], [1, 5], [3, 3], [3, 4]])
    assert undominated(figures).tolist() == [True, False, True, False, True, False]
