"""Which ranges of shapes fit into a budget of memory, where those that are asked for do not."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
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
        small = [k for k, needed in enumerate(self._alone) if needed.value <= self.limit]
        problems = []
        for index, said in enumerate(self._said(found)):
            if index in small:
                problems.append(dataclasses.replace(said, what=f"fits: {said.what}"))
            else:
                fix, what = self._fix(found, small, index), f"is too large: {said.what}"
                problems.append(dataclasses.replace(said, what=what, fix=fix))
        if len(small) == len(problems) > 1:
            problems.append(Problem("", "each profile fits alone, but not all together"))
        if small:
            problems.append(Problem("--drop-profiles", "leaves out the profiles that do not fit"))
        return problems

    def choice(self) -> tuple[Ranges, list[Problem]] | None:
        """Return the profiles that fit together, the smallest first to be kept, and the others.

        None where shapes are static, or no profile fits.
        """
        found = dynamic_of(self.candidate.model)
        if found is None:
            return None
        kept = [k for k, needed in enumerate(self._alone) if needed.value <= self.limit]
        while kept and self._needs(found, found.ranges.only(kept)).value > self.limit:
            kept.remove(max(kept, key=lambda k: self._alone[k].value))
        said = list(self._said(found))
        out = [
            dataclasses.replace(item, what=f"does not fit: {item.what}")
            for index, item in enumerate(said)
            if index not in kept
        ]
        return (found.ranges.only(kept), out) if kept else None

    @functools.cached_property
    def _alone(self) -> list[Figure]:
        """What an engine for each profile alone needs; none where shapes are static."""
        found = dynamic_of(self.candidate.model)
        self.progress("looking for the shapes that fit")
        count = len(found.ranges.profiles) if found is not None else 0
        return [self._needs(found, found.ranges.only([k])) for k in range(count) if found]

    def _said(self, found: Dynamic) -> Iterator[Problem]:
        """Say what each profile alone needs."""
        for index, profile in enumerate(found.ranges.profiles):
            where = f"profile {index + 1} ({as_arguments(profile)})"
            limit = format_bytes(self.limit)
            yield Problem(where, f"alone it needs {self._alone[index]} of {limit}")

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
