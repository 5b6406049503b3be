"""Where the operators of an engine run, on a device that has several places for them.

A target fills it in (`Target.placement`); ``check`` and ``explain`` show it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
    """One operator of the engine.

    Attributes:
        node: the name of its result, which is the model's own where it has one.
        operator: the runtime's name of it.
        where: where each of `Placement.splits` has it run, in their order.
        reasons: the name of a split -> why its place does not take the operator.
    """

    node: str
    operator: str
    where: tuple[str, ...]
    reasons: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "operator": self.operator,
            "where": list(self.where),
            "reasons": dict(self.reasons),
        }


@dataclasses.dataclass(frozen=True)
class Piece:
    """Operators that run one after the other in one place.

    Attributes:
        first, last: the names of the first and the last result.
        read, written: bytes copied into the place and out of it; 0 on the main processor, which
            holds the data.
        seconds: estimated, copying and starting included; None without a model of the place.
    """

    where: str
    operators: int
    first: str
    last: str
    read: int
    written: int
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Split:
    """How the engine is cut between the main processor and one other place.

    Attributes:
        name: that of the other place: ``NNAPI``.
        planned: whether the plan uses it; others are shown for comparison.
        pieces: in the order in which they run.
        seconds: estimated, of one inference; None without a model of the place.
        notes: what else the user should know.
    """

    name: str
    planned: bool
    pieces: tuple[Piece, ...]
    seconds: float | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "planned": self.planned,
            "pieces": [piece.to_json() for piece in self.pieces],
            "moved": sum(piece.read + piece.written for piece in self.pieces),
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


@dataclasses.dataclass(frozen=True)
class Placement:
    """All operators in the order in which they run, and each way to cut them."""

    rows: tuple[Row, ...]
    splits: tuple[Split, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": [row.to_json() for row in self.rows],
            "splits": [split.to_json() for split in self.splits],
        }
