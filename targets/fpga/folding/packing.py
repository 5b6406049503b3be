"""One item of each group, so that together they fit: a multiple-choice knapsack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Sets of items that are kept after each group. More of them find a little more; the ones that
#: press the least on what is scarcest are kept.
_KEPT = 256


def pack(groups: Sequence[np.ndarray], limit: np.ndarray, price: np.ndarray) -> np.ndarray | None:
    """Return the index of one item of each group: the cheapest found of those that fit.

    Groups are taken one after another; of the sets so far those are dropped that cannot be made
    whole within the limit, or that another one is no more than in every resource.

    Args:
        groups: what each item takes: int64 [items, resources].
        limit: of each resource: int64 [resources].
        price: of a unit of each resource: float64 [resources].

    Returns:
        int64 [groups], or None if no set that was kept fits.
    """
    least = np.array([group.min(axis=0) for group in groups])
    after = np.cumsum(least[::-1], axis=0)[::-1] - least
    sums, paths = np.zeros((1, len(limit)), np.int64), np.zeros((1, 0), np.int64)
    for group, rest in zip(groups, after, strict=True):
        whole = (sums[:, None, :] + group[None, :, :]).reshape(-1, len(limit))
        whole, places = np.unique(whole, axis=0, return_index=True)
        fitting = (whole + rest <= limit).all(axis=1)
        whole, places = whole[fitting], places[fitting]
        if not len(whole):
            return None
        pressure = ((whole + rest) / np.maximum(limit, 1)).max(axis=1)
        first = np.lexsort((whole @ price, pressure))[:_KEPT]
        first = first[undominated(whole[first])]
        sums, places = whole[first], places[first]
        paths = np.column_stack([paths[places // len(group)], places % len(group)])
    best: np.ndarray = paths[np.argmin(sums @ price)]
    return best


def undominated(figures: np.ndarray) -> np.ndarray:
    """Return which rows no other row is at most in every number: bool [rows].

    Of rows that are the same the first one is kept.
    """
    no_more = np.all(figures[:, None, :] <= figures[None, :, :], axis=2)
    earlier = np.tri(len(figures), k=-1, dtype=bool).T
    beaten: np.ndarray = np.any(no_more & (~no_more.T | earlier), axis=0)
    return ~beaten
