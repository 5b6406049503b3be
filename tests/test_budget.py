from __future__ import annotations

import dataclasses

import pytest

from tapeout.budget import Budget, Figure, Usage, Verdict

USAGE = Usage(
    memory=Figure(1000, "B", "exact"),
    storage=Figure(5000, "B", "exact"),
    latency=Figure(0.002, "s", "estimated"),
    parts=(("weights", Figure(600, "B", "exact")), ("workspace", Figure(400, "B", "exact"))),
)


def test_a_limit_that_is_just_met_holds() -> None:
    assert Verdict.of(USAGE, Budget(memory=1000, storage=5000, latency=0.002)).fits


def test_a_missed_limit_says_how_much_is_missing() -> None:
    verdict = Verdict.of(USAGE, Budget(memory=900, storage=5000))
    assert not verdict.fits
    (missed,) = verdict.missed
    assert (missed.name, missed.excess) == ("memory", 100)
    assert str(missed) == "memory: 1,000 B (exact) of 900 B, 100 B too much"


def test_a_limit_on_an_unknown_figure_does_not_hold() -> None:
    verdict = Verdict.of(USAGE, Budget(accuracy_drop=0.01))
    assert not verdict.fits
    assert "not known" in str(verdict.missed[0])


def test_no_limit_is_no_line() -> None:
    assert Verdict.of(USAGE, Budget()).lines == ()


def test_the_users_lines_come_before_the_defaults() -> None:
    merged = Budget(memory=1).or_default(Budget(memory=2, storage=3))
    assert merged == Budget(memory=1, storage=3)


def test_no_budget_is_more_than_there_is() -> None:
    assert Budget().within(None) == Budget()
    assert Budget(storage=3).within(2) == Budget(memory=2, storage=3)
    assert Budget(memory=1).within(2) == Budget(memory=3).within(1) == Budget(memory=1)


def test_an_estimate_is_never_printed_without_the_word() -> None:
    assert str(USAGE.latency) == "2 ms (estimated)"


def test_usage_goes_through_json() -> None:
    assert Usage.from_json(USAGE.to_json()) == USAGE
    assert "latency_parts" not in USAGE.to_json()


def test_a_latency_may_have_terms_as_memory_has() -> None:
    copies = ("copies", Figure(0.0005, "s", "estimated"))
    whole = dataclasses.replace(USAGE, latency_parts=(copies,))
    assert Usage.from_json(whole.to_json()) == whole
    assert whole.to_json()["latency_parts"] == {"copies": copies[1].to_json()}
    assert whole.terms("latency") == (copies,)
    assert whole.terms("memory") == USAGE.parts
    assert whole.terms("storage") == ()


def test_a_budget_goes_through_json() -> None:
    budget = Budget(memory=1024, latency=0.5)
    assert Budget.from_json(budget.to_json()) == budget


@pytest.mark.parametrize(
    "change", [{"value": "1"}, {"unit": "kg"}, {"known": "guessed"}, {"value": None}]
)
def test_what_is_no_figure_is_refused(change: dict[str, object]) -> None:
    data = {"value": 1, "unit": "B", "known": "exact", "note": ""} | change
    with pytest.raises(ValueError, match="is not a figure"):
        Figure.from_json(data)
