"""The search among alternatives, timed by a clock that says what it is told to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tapeout.targets.tvm.schedules.choices import analysed
from tapeout.targets.tvm.schedules.workload import Choice, Workload
from tapeout.targets.tvm.tuner import MARGIN, WHOLE, Comparison, Finding, confirmed, search
from tapeout.targets.tvm.tuning_log import Choices

from kernels import CORES
from workloads import convolution

CORE = CORES["wide"]
ONE = convolution(56, 64)
OTHER = dataclasses.replace(ONE, outputs=96)
FIRST = {work: analysed(work, CORE) for work in (ONE, OTHER)}


@dataclasses.dataclass
class Clock:
    """Compares by the seconds that a function gives, and notes what it was asked."""

    seconds: Callable[[Workload, Choice], float]
    asked: list[Choices] = dataclasses.field(default_factory=list)

    def __call__(self, choices: Choices) -> Comparison:
        self.asked.append(choices)
        before = {work: self.seconds(work, choice) for work, choice in FIRST.items()}
        after = {work: self.seconds(work, choices.get(work, FIRST[work])) for work in FIRST}
        gains = {work: taken / after[work] for work, taken in before.items()}
        return Comparison(gains, sum(before.values()) / sum(after.values()))


def found_by(clock: Clock, count: int) -> dict[Workload, Finding]:
    return search(FIRST, count, CORE, clock, lambda _: None)


def test_the_fastest_of_the_alternatives_is_found() -> None:
    clock = Clock(lambda _, choice: 1 / choice.rows)
    found = found_by(clock, 8)
    tried = [step[ONE] for step in clock.asked]
    assert found[ONE].choice.rows == max(choice.rows for choice in (FIRST[ONE], *tried))
    assert found[ONE].gain == found[ONE].choice.rows / FIRST[ONE].rows > 1
    assert len(set(tried)) == 8
    assert FIRST[ONE] not in tried


def test_all_workloads_take_a_step_in_one_engine() -> None:
    clock = Clock(lambda *_: 1.0)
    found_by(clock, 3)
    assert [set(step) for step in clock.asked] == [{ONE, OTHER}] * 3


@pytest.mark.parametrize("gain", [0.5, 1.0, 1 + MARGIN / 2])
def test_what_is_not_clearly_faster_is_never_taken(gain: float) -> None:
    found = found_by(Clock(lambda work, choice: 1 if choice == FIRST[work] else 1 / gain), 6)
    assert found == {work: Finding(choice) for work, choice in FIRST.items()}


def test_the_search_goes_on_from_what_is_faster() -> None:
    """A tile with other blocks is only reached through the tile, or through the blocks."""
    clock = Clock(lambda _, choice: 1 / choice.rows / (choice.channels == 64 or 0.5))
    best = found_by(clock, 20)[ONE].choice
    assert best.channels == 64 > FIRST[ONE].channels
    assert best.rows > FIRST[ONE].rows


def test_it_ends_where_there_are_no_more() -> None:
    small = dataclasses.replace(ONE, places=(1,), reach=(1,), strides=(1,), taps=1, outputs=4)
    asked: list[Choices] = []

    def compare(choices: Choices) -> Comparison:
        asked.append(choices)
        return Comparison(dict.fromkeys(choices, 1.0), 1.0)

    search([small], 1000, CORE, compare, lambda _: None)
    assert len(asked) < 100


def test_findings_are_confirmed_together() -> None:
    """What was fast alone, and is not among the others, is left to the analysis."""
    fast = {work: found_by(Clock(lambda _, c: 1 / c.rows), 8)[work] for work in FIRST}
    clock = Clock(
        lambda work, choice: 2 if work == OTHER and choice != FIRST[OTHER] else 1 / choice.rows
    )
    settled, gain = confirmed(fast, {}, CORE, clock)
    assert settled == {ONE: Finding(fast[ONE].choice, fast[ONE].gain), OTHER: Finding(FIRST[OTHER])}
    assert gain > 1
    assert [set(step) for step in clock.asked] == [{ONE, OTHER}, {ONE}]


@pytest.mark.parametrize("whole", [0.9, 1, 1 + WHOLE / 2])
def test_an_engine_that_is_not_faster_as_a_whole_is_not_taken(whole: float) -> None:
    fast = found_by(Clock(lambda _, choice: 1 / choice.rows), 8)

    def compare(choices: Choices) -> Comparison:
        return Comparison(dict.fromkeys(choices, 1.5), whole)

    assert confirmed(fast, {}, CORE, compare) == (
        {work: Finding(choice) for work, choice in FIRST.items()},
        1.0,
    )


def test_what_is_known_already_is_confirmed_with_the_rest() -> None:
    known = {OTHER: dataclasses.replace(FIRST[OTHER], width=7)}
    clock = Clock(lambda _, choice: 1 if choice.width == 7 else 2)
    settled, gain = confirmed({ONE: Finding(FIRST[ONE])}, known, CORE, clock)
    assert clock.asked == [known]
    assert settled == {ONE: Finding(FIRST[ONE])}
    assert gain > 1
