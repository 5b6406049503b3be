"""The ways to fold a network that are worth knowing, and what each lacks on a device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ....errors import Problem
from ....units import format_seconds
from .device import Device
from .packing import undominated
from .space import Point, Space

#: Points of a frontier, at most.
_POINTS = 10

_WORDS = {
    "multipliers": "multipliers",
    "blocks": "block RAMs",
    "luts": "LUTs",
    "flip_flops": "flip-flops",
}


@dataclasses.dataclass(frozen=True)
class Frontier:
    """Foldings none of which another one beats, the slowest and smallest first.

    Attributes:
        latency: what is asked for, in cycles.
    """

    points: tuple[Point, ...]
    device: Device
    latency: int | None = None

    def missing(self, point: Point) -> tuple[str, ...]:
        """Return what a point lacks, in words; nothing: it fits."""
        return tuple(self._missing(point))

    def _missing(self, point: Point) -> Iterator[str]:
        for name, words in _WORDS.items():
            used, limit = getattr(point.cost, name), getattr(self.device.limit, name)
            if used > limit:
                yield f"{used - limit:,} more {words} than the {limit:,} it may take"
        if self.latency is not None and point.latency > self.latency:
            yield f"{self._time(point.latency - self.latency)} too late"

    def _time(self, cycles: int) -> str:
        return format_seconds(cycles / self.device.clock)

    def problems(self) -> list[Problem]:
        """Return each point as a line of an error, with what it lacks."""
        return [
            Problem(self._told(point), "; ".join(self.missing(point)) or "fits")
            for point in self.points
        ]

    def _told(self, point: Point) -> str:
        figures = ", ".join(f"{getattr(point.cost, name):,} {_WORDS[name]}" for name in _WORDS)
        return (
            f"a frame each {point.interval:,} cycles ({self._time(point.interval)}), latency "
            f"{self._time(point.latency)} ({point.latency_known}), {figures}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return the points as JSON, with what each lacks."""
        return [
            {
                "interval": point.interval,
                "latency": {"value": point.latency, "known": point.latency_known},
                **dataclasses.asdict(point.cost),
                "folding": {
                    name: [folding.pe, folding.simd] for name, folding in point.foldings.items()
                },
                "missing": list(self.missing(point)),
            }
            for point in self.points
        ]


def frontier(
    space: Space, device: Device, latency: int | None = None, found: Sequence[Point] = ()
) -> Frontier:
    """Return the frontier of a space: of the least area for each interval, fitting or not.

    Args:
        latency: what is asked for, in cycles.
        found: points that are among it whatever they are worth.
    """
    selections = [space.fitting(interval) for interval in space.intervals()]
    least = [
        space.least(interval) if fitting is None else fitting
        for interval, fitting in zip(space.intervals(), selections, strict=True)
    ]
    points = _thinned(_best([space.point(selection) for selection in least]))
    merged = {tuple(point.foldings.items()): point for point in (*points, *found)}
    ordered = sorted(merged.values(), key=lambda point: (-point.interval, -point.latency))
    return Frontier(tuple(ordered), device, latency)


def _best(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one matches in everything."""
    figures = [(item.interval, item.latency, *dataclasses.astuple(item.cost)) for item in points]
    kept = undominated(np.array(figures))
    return [point for point, good in zip(points, kept, strict=True) if good]


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Return so few of the points that one can read them, evenly, the ends among them."""
    if len(points) <= _POINTS:
        return list(points)
    places = np.unique(np.linspace(0, len(points) - 1, _POINTS).round().astype(int))
    return [points[place] for place in places]
