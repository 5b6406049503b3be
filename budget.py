"""What the user allows (`Budget`), what an artifact costs (`Usage`), how they compare (`Verdict`).

Every figure carries how it is known: ``exact`` (read out of the artifact or its planner),
``measured`` (ran on the device or on a bit-exact simulator), ``estimated`` (a cost model).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from .units import format_bytes, format_seconds

Known = Literal["exact", "measured", "estimated"]
Unit = Literal["B", "s", "fraction", "count"]

#: The budget lines in the order in which they are shown; fields of Budget and of Usage.
LINES = ("memory", "storage", "latency", "accuracy_drop")


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number, its unit, and how it is known; `note` says from what."""

    value: float
    unit: Unit
    known: Known
    note: str = ""

    def __str__(self) -> str:
        return f"{format_value(self.value, self.unit)} ({self.known})"

    def to_json(self) -> dict[str, Any]:
        value = int(self.value) if self.unit in ("B", "count") else self.value
        return {"value": value, "unit": self.unit, "known": self.known, "note": self.note}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Figure:
        """Rebuild a figure; raises ValueError when a field is not what `to_json` writes."""
        figure = cls(data["value"], data["unit"], data["known"], str(data.get("note", "")))
        known = figure.unit in get_args(Unit) and figure.known in get_args(Known)
        if not known or not isinstance(figure.value, int | float):
            raise ValueError(f"{data!r} is not a figure (value, unit, known, note)")
        return figure


def format_value(value: float, unit: Unit) -> str:
    """Return a value for people, in the unit's usual spelling."""
    match unit:
        case "B":
            return format_bytes(value)
        case "s":
            return format_seconds(value)
        case "fraction":
            return f"{value:.4f}"
        case "count":
            return f"{value:,.0f}"


@dataclasses.dataclass(frozen=True)
class Budget:
    """What the result may cost: bytes, bytes, seconds, a fraction of accuracy. None: no limit."""

    memory: int | None = None
    storage: int | None = None
    latency: float | None = None
    accuracy_drop: float | None = None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, float | None]) -> Budget:
        """Rebuild a budget from what `to_json` gave."""
        memory, storage, latency, drop = (data.get(line) for line in LINES)
        return cls(
            None if memory is None else round(memory),
            None if storage is None else round(storage),
            latency,
            drop,
        )

    def or_default(self, default: Budget) -> Budget:
        """Return this budget with the lines that are not set taken from `default`."""
        return Budget(
            **{
                line: getattr(self, line)
                if getattr(self, line) is not None
                else getattr(default, line)
                for line in LINES
            }
        )

    def within(self, memory: int | None) -> Budget:
        """Return this budget with no more memory than there is; None: that is not known."""
        limits = [limit for limit in (self.memory, memory) if limit is not None]
        return dataclasses.replace(self, memory=min(limits, default=None))


@dataclasses.dataclass(frozen=True)
class Usage:
    """What one built artifact (or one candidate plan) costs.

    Attributes:
        memory: bytes needed while it runs; `parts` adds up to it (weights, workspace, ...).
        storage: bytes of the engine on disk.
        latency: seconds for one inference.
        accuracy_drop: reference accuracy minus the artifact's, when labelled data was given.
        parts: the terms of `memory`, by name.
        profiles: `memory` in each optimization profile, where there are several; one of them is
            used at a time, so that the largest counts.
        latency_parts: the terms of `latency`, by name, where it has several.
    """

    memory: Figure
    storage: Figure
    latency: Figure | None = None
    accuracy_drop: Figure | None = None
    parts: tuple[tuple[str, Figure], ...] = ()
    profiles: tuple[Figure, ...] = ()
    latency_parts: tuple[tuple[str, Figure], ...] = ()

    def terms(self, line: str) -> tuple[tuple[str, Figure], ...]:
        """Return what a line is the sum of, by name; empty if it is one figure."""
        return {"memory": self.parts, "latency": self.latency_parts}.get(line, ())

    def to_json(self) -> dict[str, Any]:
        shown = {line: getattr(self, line) for line in LINES}
        lines = {line: figure.to_json() for line, figure in shown.items() if figure is not None}
        found = {**lines, "parts": _parts_json(self.parts)}
        if self.latency_parts:
            found["latency_parts"] = _parts_json(self.latency_parts)
        if self.profiles:
            found["profiles"] = [figure.to_json() for figure in self.profiles]
        return found

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Usage:
        """Rebuild a usage; raises ValueError or KeyError on anything `to_json` would not write."""
        parts, latency = _parts(data["parts"]), _parts(data.get("latency_parts", {}))
        lines = {line: Figure.from_json(data[line]) for line in LINES if line in data}
        profiles = tuple(map(Figure.from_json, data.get("profiles", ())))
        return cls(**lines, parts=parts, profiles=profiles, latency_parts=latency)


def _parts_json(parts: tuple[tuple[str, Figure], ...]) -> dict[str, Any]:
    return {name: figure.to_json() for name, figure in parts}


def _parts(data: Mapping[str, Any]) -> tuple[tuple[str, Figure], ...]:
    return tuple((name, Figure.from_json(part)) for name, part in data.items())


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a verdict: the limit, what is used of it, and by how much it is missed."""

    name: str
    limit: float
    used: Figure | None

    @property
    def excess(self) -> float:
        """How much is missing, in the figure's unit; 0 when it fits."""
        return max(0.0, self.used.value - self.limit) if self.used is not None else 0.0

    @property
    def holds(self) -> bool:
        """Whether the line is known to hold: a limit on an unknown figure does not."""
        return self.used is not None and self.used.value <= self.limit

    def __str__(self) -> str:
        if self.used is None:
            return f"{self.name}: not known for this plan, the budget is {self.limit:g}"
        limit = format_value(self.limit, self.used.unit)
        if self.holds:
            return f"{self.name}: {self.used} of {limit}"
        return (
            f"{self.name}: {self.used} of {limit}, "
            f"{format_value(self.excess, self.used.unit)} too much"
        )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A usage held against a budget: one line for each limit that is set."""

    lines: tuple[Line, ...]

    @classmethod
    def of(cls, usage: Usage, budget: Budget) -> Verdict:
        limits = ((name, getattr(budget, name)) for name in LINES)
        return cls(
            tuple(
                Line(name, limit, getattr(usage, name))
                for name, limit in limits
                if limit is not None
            )
        )

    @property
    def fits(self) -> bool:
        return all(line.holds for line in self.lines)

    @property
    def missed(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if not line.holds)

    def to_json(self) -> dict[str, Any]:
        """Return what holds and how it is known; the values themselves stand in the usage.

        So a bundle's manifest can say that a measured limit held without holding a measured time,
        which would differ from one compile to the next.
        """
        return {
            "fits": self.fits,
            "lines": [
                {
                    "name": line.name,
                    "limit": line.limit,
                    "known": line.used.known if line.used else None,
                    "holds": line.holds,
                }
                for line in self.lines
            ],
        }
