from __future__ import annotations

import pytest

from tapeout.errors import UsageError
from tapeout.lowering.dynamic.ranges import Given, Ranges, ShapeRange
from tapeout.lowering.dynamic.settling import ranges_of

IMAGE = {"image": ("batch", 3, "height", "width")}


def one(*intervals: tuple[int, int, int]) -> ShapeRange:
    least, usual, most = zip(*intervals, strict=True)
    return ShapeRange(least, usual, most)


def settled(given: dict[str, Given], declared: dict[str, tuple[int | str | None, ...]]) -> Ranges:
    found = ranges_of(given, declared)
    assert found is not None
    return found


def test_what_varies_has_the_names_of_the_file() -> None:
    found = settled({"image": one((1, 4, 8), (3, 3, 3), (64, 64, 96), (64, 64, 64))}, IMAGE)
    assert found.inputs == {"image": ("batch", 3, "height", 64)}
    assert [(item.name, item.intervals) for item in found.dimensions] == [
        ("batch", ((1, 4, 8),)),
        ("height", ((64, 64, 96),)),
    ]
    assert found.base == {"image": (4, 3, 64, 64)}
    assert found.corners == [
        {"image": (1, 3, 64, 64)},
        {"image": (4, 3, 64, 64)},
        {"image": (8, 3, 96, 64)},
    ]


def test_dimensions_without_a_name_get_one_that_is_free() -> None:
    declared = {"a": (None, 8), "b": ("a_0", 8)}
    given = {"a": one((1, 1, 2), (8, 8, 8)), "b": one((1, 1, 4), (8, 8, 8))}
    assert settled(given, declared).inputs == {"a": ("a_0_", 8), "b": ("a_0", 8)}


def test_the_ith_range_is_of_profile_i_and_one_holds_in_all() -> None:
    declared = {"ids": ("batch", "length"), "table": ("rows", 4)}
    small, large = one((1, 1, 1), (1, 8, 16)), one((1, 8, 16), (1, 8, 16))
    found = settled({"ids": (small, large), "table": (7, 4)}, declared)
    assert [{name: str(item) for name, item in profile.items()} for profile in found.profiles] == [
        {"ids": "1x1..1x16@1x8", "table": "7x4..7x4@7x4"},
        {"ids": "1x1..16x16@8x8", "table": "7x4..7x4@7x4"},
    ]
    assert found.only([1]).profiles == (found.profiles[1],)
    assert str(found.capped(1, "batch", 4).profiles[1]["ids"]) == "1x1..4x16@4x8"


def test_inputs_that_are_not_given_follow_by_name() -> None:
    declared = {"ids": ("batch", "length"), "mask": ("batch", "length"), "scale": (None, 2)}
    found = settled({"ids": one((1, 2, 4), (8, 8, 8))}, declared)
    assert found.inputs == {"ids": ("batch", 8), "mask": ("batch", 8), "scale": (1, 2)}


def test_only_one_axis_of_several_inputs_is_tied() -> None:
    found = settled(
        {"a": one((1, 2, 4), (1, 2, 4)), "b": one((1, 2, 4), (1, 2, 4))},
        {"a": (None, None), "b": (None, None)},
    )
    assert found.tied().inputs == {"a": ("a_0", "a_1"), "b": ("a_0", "a_1")}


def test_everything_static_is_no_range() -> None:
    assert ranges_of({"image": (1, 3, 64, 64)}, IMAGE) is None
    assert ranges_of({"image": one((1, 1, 1), (3, 3, 3), (64,) * 3, (64,) * 3)}, IMAGE) is None


def test_every_contradiction_is_named() -> None:
    declared = {"a": (1, "n"), "b": ("n", 4), "c": ("m", "k")}
    single = one((1, 2, 4), (1, 2, 4))
    three = (one((1, 1, 2), (3, 3, 3)),) * 3
    with pytest.raises(UsageError) as caught:
        ranges_of({"a": (single, single), "c": three}, declared)
    assert "--shape a: has 2 ranges, another input has 3" in str(caught.value)
    with pytest.raises(UsageError) as caught:
        ranges_of({"a": single, "b": one((1, 2, 8), (4, 4, 4)), "c": three}, declared)
    text = str(caught.value)
    assert "dimension 0 is 1 in the model, not 1..4@2" in text
    assert "export the model with a symbolic dimension" in text
    assert "dimension 0 (n) is 1..8@2, but 1..4@2 in 'a'" in text
