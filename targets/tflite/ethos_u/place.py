"""Which operators of a file the NPU runs, and why the others stay on the CPU."""

from __future__ import annotations

from typing import Final

from ....errors import Problem
from ...placement import Piece, Placement, Row, Split
from ..delegates.partitions import CPU, split
from ..operators import Graph, Operator
from .micro import OPERATORS
from .optimised import Optimised
from .vela import Compiled

#: Where operators run that Vela takes.
NPU: Final = "NPU"

_NO_REASON: Final = "Vela leaves it to the CPU"


def left(graph: Graph, found: Optimised) -> dict[int, Operator]:
    """Return the operators of a file that stayed as they are in the optimised one, by index."""
    names = {operator.label for operator in found.left}
    return {item.index: item for item in graph.operators if item.label in names}


def placement(graph: Graph, found: Optimised, made: Compiled, seconds: float) -> Placement:
    """Return where each operator of `graph`, the file that Vela was given, runs.

    Args:
        seconds: what the CPU computes in one inference.
    """
    staying = left(graph, found)
    rows = tuple(
        Row(
            operator.label,
            operator.name,
            (CPU if operator.index in staying else NPU,),
            {NPU: made.reasons.get(operator.label, _NO_REASON)}
            if operator.index in staying
            else {},
        )
        for operator in graph.operators
    )
    taken = {item.index for item in graph.operators} - staying.keys()
    pieces = tuple(
        Piece(
            part.where,
            len(part.operators),
            part.operators[0].label,
            part.operators[-1].label,
            read=0,  # the NPU works in the arena
            written=0,
            seconds=None,
        )
        for part in split(graph, taken, NPU)
    )
    return Placement(rows, (Split(NPU, True, pieces, made.seconds + seconds),))


def problems(graph: Graph, found: Optimised, made: Compiled) -> list[Problem]:
    """Return why the optimised file cannot run: what nothing on the device computes."""
    if not found.commands:
        return [
            Problem(f"{item.name} {item.label!r}", made.reasons.get(item.label, _NO_REASON))
            for item in graph.operators
        ]
    return [
        Problem(
            f"{item.name} {item.label!r}",
            f"{made.reasons.get(item.label, _NO_REASON)}, and TFLite Micro has no kernel for it",
        )
        for item in left(graph, found).values()
        if item.name not in OPERATORS
    ]
