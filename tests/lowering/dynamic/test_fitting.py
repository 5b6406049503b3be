from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

from tapeout.lowering.dynamic.fitting import Fitting, Inner

PROBES = (
    {"b": 8, "s": 16},
    {"b": 7, "s": 16},
    {"b": 8, "s": 15},
    {"b": 10, "s": 19},
)

ANY = {"b": 1, "s": 1}


def seen(function: Callable[[int, int], int]) -> tuple[int, ...]:
    return tuple(function(sizes["b"], sizes["s"]) for sizes in PROBES)


@pytest.mark.parametrize(
    "function",
    [
        lambda b, s: 5,
        lambda b, s: s,
        lambda b, s: 3 * b - 2 * s + 7,
        lambda b, s: b * s,
        lambda b, s: 12 * b * s,
    ],
)
def test_sums_and_products_are_found(function: Callable[[int, int], int]) -> None:
    found = Fitting(PROBES, {}, ANY).fit(seen(function))
    assert found is not None
    assert not isinstance(found, Inner)
    assert all(found.at({"b": b, "s": s}) == function(b, s) for b in (1, 2, 9) for s in (1, 4, 33))


def test_what_is_rounded_is_read_off_a_tensor_inside() -> None:
    value = ir.val("pooled")
    half = seen(lambda b, s: (s + 1) // 2)
    fitting = Fitting(PROBES, {half: (value, 2)}, ANY)
    found = fitting.fit(seen(lambda b, s: 6 * ((s + 1) // 2)))
    assert isinstance(found, Inner)
    assert (found.value, found.axis, found.factor) == (value, 2, 6)


def test_fractions_only_where_sizes_are_multiples() -> None:
    probes = ({"h": 64}, {"h": 96}, {"h": 160})
    assert Fitting(probes, {}, {"h": 1}).fit((4, 6, 10)) is None
    assert Fitting(probes, {}, {"h": 8}).fit((4, 6, 10)) is None
    found = Fitting(probes, {}, {"h": 32}).fit((4, 6, 10))
    assert found is not None
    assert not isinstance(found, Inner)
    assert found.at({"h": 512}) == 32


def test_nothing_is_found_for_anything_else() -> None:
    assert Fitting(PROBES, {}, ANY).fit(seen(lambda b, s: s * s)) is None
