"""What the arguments of a command ask for together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .arguments import IoName, PrecisionName
from .errors import UsageError
from .lowering.dynamic.ranges import Given, Shape, ShapeRange, single

if TYPE_CHECKING:
    from .job import Options

Value = TypeVar("Value")


def options(
    precision: PrecisionName,
    runtime: str | None,
    calibration: str | None,
    evaluation: str | None,
    shapes: Sequence[tuple[str, Shape | ShapeRange]] | None,
    verify_passes: bool,
    io: IoName,
    plan: Sequence[tuple[str, str]] | None,
    drop_profiles: bool,
    tune: int | None = None,
    tuning: Path | None = None,
) -> Options:
    """Return what the options of a command say together; raises UsageError for what cannot be."""
    from .job import Options
    from .targets.tuning import Tuning

    return Options(
        precision,
        runtime,
        _shapes(shapes),
        calibration,
        evaluation,
        verify_passes,
        io,
        _once("--plan", plan),
        drop_profiles,
        Tuning(tune or 0, tuning) if tune or tuning else None,
    )


def _shapes(pairs: Sequence[tuple[str, Shape | ShapeRange]] | None) -> dict[str, Given]:
    """Return what ``--shape`` says of each input: its shape, or its range in each profile.

    Raises:
        UsageError: an input is given more than once, and no range at all.
    """
    ranged = {name for name, item in pairs or [] if isinstance(item, ShapeRange)}
    found: dict[str, Given] = dict(_once("--shape", [p for p in pairs or [] if p[0] not in ranged]))
    for name in ranged:
        said = [item for other, item in pairs or [] if other == name]
        found[name] = [s if isinstance(s, ShapeRange) else ShapeRange(s, s, s) for s in said]
    return {name: found[name] for name, _ in pairs or []}


def single_shapes(pairs: Sequence[tuple[str, Shape | ShapeRange]] | None) -> dict[str, Shape]:
    """Return the shapes of inputs; raises UsageError if any is a range, or given twice."""
    ranges = [f"{name}={item}" for name, item in pairs or [] if isinstance(item, ShapeRange)]
    if ranges:
        raise UsageError(f"quantize takes single shapes, not {', '.join(ranges)}")
    return {name: single(item) for name, item in _once("--shape", pairs).items()}


def _once(option: str, pairs: Sequence[tuple[str, Value]] | None) -> dict[str, Value]:
    """Return what an option that is given several times says; raises UsageError if twice of one."""
    given = list(pairs or [])
    repeated = sorted({name for name, _ in given if [item[0] for item in given].count(name) > 1})
    if repeated:
        raise UsageError(f"{option} is given more than once for {', '.join(repeated)}")
    return dict(given)
