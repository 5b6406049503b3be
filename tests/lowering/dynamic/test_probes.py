from __future__ import annotations

import pytest

from tapeout.lowering.dynamic.probes import probes
from tapeout.lowering.dynamic.ranges import Dimension, Ranges


def ranges(*dimensions: Dimension) -> Ranges:
    return Ranges({"x": (*(item.name for item in dimensions), 8)}, dimensions)


@pytest.mark.parametrize(
    "interval", [(1, 1, 2), (1, 1, 16), (1, 8, 16), (5, 6, 7), (300, 400, 500)]
)
def test_probes_are_generic(interval: tuple[int, int, int]) -> None:
    """Never 1 nor the size of a fixed dimension; inside of the range where it has enough."""
    least, _, most = interval
    seen = [sizes["n"] for sizes in probes(ranges(Dimension("n", (interval,))), [1])]
    assert len(set(seen)) == 3
    assert not {1, 8} & set(seen)
    inside = [size for size in seen if least <= size <= most]
    assert len(inside) == min(3, len(set(range(least, most + 1)) - {1, 8}))
    first, second, third = seen
    assert abs(second - first) <= 1 + len({1, 8} & set(range(*sorted((first, second)))))
    assert abs(third - first) >= abs(second - first)


def test_one_changes_at_a_time_and_all_at_last() -> None:
    height, width = Dimension("h", ((64, 96, 128),)), Dimension("w", ((64, 96, 128),))
    base, only_h, only_w, both = probes(ranges(height, width), [32, 32])
    assert [only_h["w"], only_w["h"]] == [base["w"], base["h"]]
    for sizes in (base, only_h, only_w, both):
        assert sizes["h"] != sizes["w"]
        assert all(size in (64, 96, 128) for size in sizes.values())
    assert base["h"] != only_h["h"] != both["h"] != base["h"]
    assert base["w"] != only_w["w"] != both["w"] != base["w"]


def test_a_rounded_fraction_differs_between_the_probes() -> None:
    """All near to 70, a size over 32, rounded up, would be taken for the constant 3."""
    seen = [sizes["n"] for sizes in probes(ranges(Dimension("n", ((33, 70, 200),))), [1])]
    assert len({-(-size // 32) for size in seen}) > 1
