"""A model for a range of shapes, held to the model at single shapes, and told in the manifest."""

from __future__ import annotations

import dataclasses
from typing import Final

import onnx_ir as ir

from . import numerics
from .bundle import RangeRecord, ShapesRecord
from .errors import Problem, VerificationError
from .job import described
from .lowering.dynamic.generalize import Dynamic, attach, dynamic_of
from .lowering.dynamic.ranges import Ranges, Shapes, as_arguments
from .lowering.reference import Reference
from .planner import Candidate
from .profiles.schema import Profile
from .targets.base import Progress
from .units import format_bytes


def require_every_shape(model: ir.Model, tolerance: float, progress: Progress) -> None:
    """Hold what stands for a lowered model at all shapes to the model imported at single ones.

    That is at the least, the usual and the largest shapes of every profile, in ONNX Runtime on
    drawn inputs. A model of static shapes has nothing to hold.

    Args:
        tolerance: of `numerics.compare`.

    Raises:
        VerificationError: names every shape at which an output differs.
    """
    found = dynamic_of(model)
    if found is None:
        return
    reference, problems = Reference(found.model), list[Problem]()
    for shapes in found.ranges.corners:
        where = as_arguments(shapes)
        progress(f"comparing with the model at {where}")
        try:
            _require_same(found, reference, shapes, tolerance)
        except VerificationError as error:
            problems += [Problem(f"{where}: {item.where}", item.what) for item in error.problems]
    if problems:
        raise VerificationError(
            "the model for all shapes is not the model at single ones", problems
        )


def _require_same(found: Dynamic, reference: Reference, shapes: Shapes, tolerance: float) -> None:
    source = found.source(shapes)
    inputs = tuple(map(described, source.graph.inputs))
    vectors = numerics.make_vectors(Reference(source), inputs, samples=1)
    outputs = tuple(map(described, source.graph.outputs))
    numerics.require_equal(reference.run(vectors.inputs), vectors.expected, tolerance, outputs)


def shapes_record(model: ir.Model) -> ShapesRecord | None:
    """Describe what varies in the shapes of a lowered model; None if they are static."""
    found = dynamic_of(model)
    if found is None:
        return None
    return ShapesRecord(
        inputs={str(value.name): _dims(value) for value in found.model.graph.inputs},
        outputs={str(value.name): _dims(value) for value in found.model.graph.outputs},
        profiles=tuple(
            {
                name: RangeRecord(min=item.min, opt=item.opt, max=item.max)
                for name, item in profile.items()
            }
            for profile in found.ranges.profiles
        ),
        multiples=found.steps,
    )


def _dims(value: ir.Value) -> tuple[int | str | None, ...]:
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape or ())


#: How many engines are built at most to find what size fits; memory grows almost linearly.
_GUESSES: Final = 8


@dataclasses.dataclass(frozen=True)
class Room:
    """Says which optimization profiles of a plan fit into a budget of memory, and what would.

    Every figure is that of an engine: the target estimates each choice of profiles.

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
        small = [k for k, needed in enumerate(alone) if needed <= self.limit]
        problems = []
        for index, (profile, needed) in enumerate(zip(profiles, alone, strict=True)):
            where = f"profile {index + 1} ({as_arguments(profile)})"
            what = f"alone it needs {format_bytes(needed)} of {format_bytes(self.limit)}"
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
            return self._needs(found, ranges.capped(place, name, size))

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

    def _needs(self, found: Dynamic, ranges: Ranges) -> int:
        """Return the bytes of an engine for these ranges."""
        candidate = self.candidate
        model = candidate.model.clone()
        attach(model, dataclasses.replace(found, ranges=ranges))
        usage = candidate.target.estimate(model, self.device, candidate.plan)
        return int(usage.memory.value)


def _between(fits: tuple[int, int], fails: tuple[int, int], limit: int, step: int) -> int:
    """Return the size, between two of known needs, that would need `limit` on a straight line."""
    (small, low), (large, high) = fits, fails
    steps = (large - small) // step
    guess = int((limit - low) / max(1, high - low) * steps)
    return small + min(max(guess, 1), steps - 1) * step
