"""Which ranges of shapes fit into a budget of memory, where those that are asked for do not."""

from __future__ import annotations

import dataclasses
from typing import Final

from .budget import Figure
from .errors import Problem
from .lowering.dynamic.generalize import Dynamic, attach, dynamic_of
from .lowering.dynamic.ranges import Ranges, as_arguments
from .planner import Candidate
from .profiles.schema import Profile
from .targets.base import Progress
from .units import format_bytes

#: How many engines are built at most to find what size fits; memory grows almost linearly.
_GUESSES: Final = 8


@dataclasses.dataclass(frozen=True)
class Room:
    """Says which optimization profiles of a plan fit into a budget of memory, and what would.

    Every figure is what the target gives for that choice of profiles, as it is known there.

    Attributes:
        candidate: a plan for ranges of shapes that needs more than `limit`.
        limit: bytes.
    """

    candidate: Candidate
    device: Profile
    limit: int
    progress: Progress

    def problems(self) -> list[Problem]:
        """Return what to say of each profile; nothing where shapes are static."""
        found = dynamic_of(self.candidate.model)
        if found is None:
            return []
        profiles = found.ranges.profiles
        self.progress("looking for the shapes that fit")
        alone = [self._needs(found, found.ranges.only([k])) for k in range(len(profiles))]
        small = [k for k, needed in enumerate(alone) if needed.value <= self.limit]
        problems = []
        for index, (profile, needed) in enumerate(zip(profiles, alone, strict=True)):
            where = f"profile {index + 1} ({as_arguments(profile)})"
            what = f"alone it needs {needed} of {format_bytes(self.limit)}"
            if index in small:
                problems.append(Problem(where, f"fits: {what}"))
            else:
                fix = self._fix(found, small, index)
                problems.append(Problem(where, f"is too large: {what}", fix))
        return problems

    def _fix(self, found: Dynamic, small: list[int], index: int) -> str:
        """Return up to which size of its first dimension a profile fits, beside those that do."""
        chosen = [*small, index]
        ranges = found.ranges.only(sorted(chosen))
        place = sorted(chosen).index(index)
        varying = [item for item in ranges.dimensions if len(set(item.intervals[place])) > 1]
        if not varying:
            return "leave it out"
        name, (least, _, most) = varying[0].name, varying[0].intervals[place]
        step = found.steps.get(name, 1)

        def needed(size: int) -> int:
            return int(self._needs(found, ranges.capped(place, name, size)).value)

        fits, fails = (least, needed(least)), (most, needed(most))
        if fits[1] > self.limit:
            return f"leave it out: {name}={least} alone is too much"
        for _ in range(_GUESSES):
            if fails[0] - fits[0] <= step:
                break
            guess = _between(fits, fails, self.limit, step)
            if (size := needed(guess)) <= self.limit:
                fits = guess, size
            else:
                fails = guess, size
        return f"with {name} up to {fits[0]} it fits, not with {fails[0]}"

    def _needs(self, found: Dynamic, ranges: Ranges) -> Figure:
        """Return the memory of an engine for these ranges."""
        candidate = self.candidate
        model = candidate.model.clone()
        attach(model, dataclasses.replace(found, ranges=ranges))
        return candidate.target.estimate(model, self.device, candidate.plan).memory


def _between(fits: tuple[int, int], fails: tuple[int, int], limit: int, step: int) -> int:
    """Return the size, between two of known needs, that would need `limit` on a straight line."""
    (small, low), (large, high) = fits, fails
    steps = (large - small) // step
    guess = int((limit - low) / max(1, high - low) * steps)
    return small + min(max(guess, 1), steps - 1) * step
