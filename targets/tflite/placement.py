"""Which operators of a model run where on a phone, as rows to show."""

from __future__ import annotations

import dataclasses

from . import gpu_delegate, nnapi
from .operators import Graph
from .partitions import CPU, Placement


@dataclasses.dataclass(frozen=True)
class Row:
    """One operator.

    Attributes:
        node: the name of its result, which is the model's own where it has one.
        operator: TFLite's name of it.
        where: ``NNAPI``, ``GPU``, or ``CPU``; where two delegates would take it, both.
        reason: why a delegate that was asked does not take it; empty if all do.
    """

    node: str
    operator: str
    where: str
    reason: str


def placements(graph: Graph, level: int | None, *, gpu: bool) -> tuple[Placement, ...]:
    """Return what the delegates that are asked make of a model, each by itself.

    Args:
        level: the phone's Android API level; None: NNAPI is not asked.
        gpu: whether the GPU delegate is asked.
    """
    found = [nnapi.placement(graph, level)] if level is not None else []
    return (*found, gpu_delegate.placement(graph)) if gpu else tuple(found)


def table(graph: Graph, level: int | None, *, gpu: bool) -> tuple[Row, ...]:
    """Return a row for each operator, in the order of execution; arguments as `placements`."""
    asked = placements(graph, level, gpu=gpu)
    rows = []
    for operator in graph.operators:
        taking = [item.delegate for item in asked if operator.index not in item.reasons]
        refusing = [item for item in asked if operator.index in item.reasons]
        reasons = (f"{item.delegate}: {item.reasons[operator.index]}" for item in refusing)
        where = " or ".join(taking) or CPU
        rows.append(Row(operator.label, operator.name, where, "; ".join(reasons)))
    return tuple(rows)
