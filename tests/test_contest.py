"""Choosing the fastest of several engines: a first measurement may be wrong by half."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import pytest

from tapeout import contest
from tapeout.attempt import Attempt, Compiled
from tapeout.budget import Figure, Usage, Verdict
from tapeout.bundle import Bundle


@dataclasses.dataclass
class Timer:
    """In the place of an attempt: what it takes in each turn, in seconds."""

    turns: list[float]
    runs: list[int] = dataclasses.field(default_factory=list)

    def seconds(self, runs: int) -> float:
        self.runs.append(runs)
        return self.turns.pop(0)


def measured(seconds: float | None) -> Compiled:
    latency = None if seconds is None else Figure(seconds, "s", "measured", "at first")
    size = Figure(1, "B", "exact")
    return Compiled(cast(Bundle, None), Usage(size, size, latency), Verdict(()))


def contestants(
    *turns: tuple[float | None, Sequence[float]],
) -> tuple[list[Timer], list[tuple[Attempt, Compiled]]]:
    timers = [Timer(list(seconds)) for _, seconds in turns]
    compiled = [measured(first) for first, _ in turns]
    return timers, [(cast(Any, timer), item) for timer, item in zip(timers, compiled, strict=True)]


def test_the_best_turn_decides_between_those_that_are_close() -> None:
    timers, found = contestants(
        (10e-6, [9e-6, 30e-6, 9e-6]), (14e-6, [40e-6, 8e-6, 40e-6]), (1.0, [])
    )
    chosen = contest.fastest(found)
    assert chosen.usage.latency == Figure(
        8e-6, "s", "measured", "median of 7142 runs on this machine, the best of 3 turns"
    )
    assert [timer.runs for timer in timers] == [[10_000] * 3, [7142] * 3, []]


@pytest.mark.parametrize("first", [[2e-3], [2e-3, 1.0]])
def test_what_is_far_ahead_or_alone_is_not_timed_again(first: list[float]) -> None:
    timers, found = contestants(*((seconds, []) for seconds in first))
    assert contest.fastest(found) is found[0][1]
    assert not any(timer.runs for timer in timers)


def test_slow_engines_run_a_few_times() -> None:
    timers, found = contestants((5.0, [5.0] * 3), (4.0, [4.0] * 3))
    chosen = contest.fastest(found)
    assert chosen.usage.latency is not None
    assert chosen.usage.latency.value == 4.0
    assert {count for timer in timers for count in timer.runs} == {10}


def test_without_a_measurement_the_first_is_taken() -> None:
    timers, found = contestants((None, []), (None, []))
    assert contest.fastest(found) is found[0][1]
    assert not any(timer.runs for timer in timers)
