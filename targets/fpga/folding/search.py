"""Two questions to all foldings: which has the shortest interval, and which the least area."""

from __future__ import annotations

from typing import Final

import numpy as np

from .space import Point, Space

#: The share of the latency that unrolling a layer further must save for the share of the area that
#: it adds, where nobody asks for a latency: full devices are slow to route, and slower then.
_WORTH: Final = 0.1


def shortest(space: Space) -> Point | None:
    """Return the folding of the shortest interval that fits, and of a short latency then.

    None: no folding fits.
    """
    intervals = space.intervals()
    best = space.fitting(intervals[0])
    if best is None:
        return None
    fits, fails = 0, len(intervals)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        found = space.fitting(intervals[middle])
        if found is None:
            fails = middle
        else:
            fits, best = middle, found
    quick = space.quickened(best, worth=_WORTH)
    latency = int(space.latencies(quick[None])[0])
    return space.point(space.trimmed(quick, intervals[fits], latency))


def smallest(space: Space, latency: int) -> Point | None:
    """Return the folding of the least area whose latency is no longer than this; None: none fits.

    Args:
        latency: cycles.
    """
    found: list[np.ndarray] = []
    for interval in (item for item in space.intervals() if item <= latency):
        start = space.fitting(interval)
        if start is None:
            break
        quick = space.quickened(start, latency)
        if int(space.latencies(quick[None])[0]) <= latency:
            found.append(space.trimmed(quick, interval, latency))
            if quick is start:  # quick enough as it is: shorter intervals only take more
                break
    if not found:
        return None
    return space.point(found[np.argmin(space.areas(np.array(found)))])
