from __future__ import annotations

import pytest

from tapeout.lowering.dynamic.ranges import Dimension, Ranges, ShapeRange


def test_profiles_are_chosen_and_capped() -> None:
    batch = Dimension("batch", ((1, 1, 4), (1, 8, 16)))
    ranges = Ranges({"ids": ("batch", 7)}, (batch,))
    assert [str(item["ids"]) for item in ranges.profiles] == ["1x7..4x7@1x7", "1x7..16x7@8x7"]
    assert ranges.only([1]).profiles == (ranges.profiles[1],)
    assert str(ranges.capped(1, "batch", 4).profiles[1]["ids"]) == "1x7..4x7@4x7"
    assert (batch.least, batch.usual, batch.most, batch.step) == (1, 1, 16, 1)
    assert [shapes["ids"][0] for shapes in ranges.corners] == [1, 4, 8, 16]


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        (((1, 3), (9, 3), (8, 3)), "not in ascending order"),
        (((0, 3), (1, 3), (8, 3)), "not in ascending order"),
        (((1, 3), (1, 3), (8,)), "different ranks"),
    ],
)
def test_what_is_no_range_is_refused(shapes: tuple[tuple[int, ...], ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ShapeRange(*shapes)
