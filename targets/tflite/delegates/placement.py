"""Which operators of a model run where on a phone, as `targets.placement` shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from ....errors import Problem
from ....lowering.analysis.memory import liveness
from ....lowering.analysis.program import Sharing
from ....lowering.analysis.program import of as program_of
from ....lowering.analysis.roofline import Machine
from ....profiles.schema import NNAPI_SINCE, Delegate, Profile
from ...base import Plan
from ...memo import per_model
from ...placement import Piece, Row, Split
from ...placement import Placement as Shown
from ..lower import to_tflite
from ..operators import Graph, read
from ..plans import DELEGATES, EXACT, delegate_of
from . import gpu_delegate, nnapi
from .cost import offload, seconds_of
from .partitions import CPU, Placement


@per_model
def graph_of_model(model: ir.Model) -> Graph:
    """Return the operators that a lowered model has as a TFLite file."""
    return read(to_tflite(model))


def placed(graph: Graph, profile: Profile, delegate: Delegate) -> Placement:
    """Return what a delegate makes of a model on a device."""
    if delegate == "gpu":
        return gpu_delegate.placement(graph)
    if profile.android is None:
        raise ValueError(f"{profile.name} has no Android")
    given = profile.android.nnapi
    return nnapi.placement(
        graph, profile.android.api.value, feature=None if given is None else given.value
    )


def untaken(placement: Placement) -> list[Problem]:
    """Return why a plan with a delegate is none: the delegate takes nothing of the model."""
    if placement.delegated:
        return []
    reasons = Counter(placement.reasons.values()).most_common(1)
    why = f", mostly since {reasons[0][0]}" if reasons else ""
    return [Problem(placement.delegate, f"takes no operator of the model{why}", "use the cores")]


def shown(
    model: ir.Model, profile: Profile, plan: Plan, machine: Machine, sharing: Sharing
) -> Shown | None:
    """Return what every delegate of a device makes of a lowered model; None if it has none.

    Args:
        machine: the cores, as the plan uses them.
    """
    delegates = [name for name in DELEGATES if _is_there(profile, name)]
    if not delegates:
        return None
    graph = graph_of_model(model)
    found = {name: placed(graph, profile, name) for name in delegates}
    alive = liveness(program_of(model, sharing))
    splits = []
    for name, item in found.items():
        seconds: Sequence[float | None] = [None] * len(item.partitions)
        whole = None
        if profile.reached_by(name):
            taken = offload(item, profile, name, plan.precision)
            times = seconds_of(item, alive, machine, taken, profile)
            seconds, whole = times, sum(times)
        notes = (*item.notes, *_notes(name, item, plan.precision, known=whole is not None))
        planned = delegate_of(plan) == name
        splits.append(Split(item.delegate, planned, _pieces(item, seconds), whole, notes))
    return Shown(rows(graph, found), tuple(splits))


def _is_there(profile: Profile, delegate: Delegate) -> bool:
    """Whether a delegate can be made: of an accelerator that is described, or as on any phone."""
    if profile.reached_by(delegate) or profile.android is None:
        return bool(profile.reached_by(delegate))
    return delegate == "gpu" or profile.android.api.value >= NNAPI_SINCE


def rows(graph: Graph, found: Mapping[Delegate, Placement]) -> tuple[Row, ...]:
    """Return a row for each operator, in the order of execution."""
    return tuple(
        Row(
            operator.label,
            operator.name,
            tuple(
                CPU if operator.index in item.reasons else item.delegate for item in found.values()
            ),
            {
                item.delegate: item.reasons[operator.index]
                for item in found.values()
                if operator.index in item.reasons
            },
        )
        for operator in graph.operators
    )


def _pieces(placement: Placement, seconds: Sequence[float | None]) -> tuple[Piece, ...]:
    found = []
    for part, time in zip(placement.partitions, seconds, strict=True):
        delegated = part.where != CPU
        found.append(
            Piece(
                part.where,
                len(part.operators),
                part.operators[0].label,
                part.operators[-1].label,
                sum(item.bytes for item in part.inputs) if delegated else 0,
                sum(item.bytes for item in part.outputs) if delegated else 0,
                time,
            )
        )
    return tuple(found)


def _notes(
    delegate: Delegate, placement: Placement, precision: str, *, known: bool
) -> tuple[str, ...]:
    """Return what no run on another machine can prove.

    Args:
        known: whether the profile describes what the delegate computes on.
    """
    if not known:
        return (
            f"no plan uses {DELEGATES[delegate]}: the profile has no accelerator with the delegate"
            f" {delegate}",
        )
    if not placement.delegated:
        return (f"{DELEGATES[delegate]} takes nothing: the model runs on the cores",)
    if precision in EXACT:
        return ("float32 stays float32: the delegate is set up without loss of precision",)
    made = [item for part in placement.delegated for op in part.operators for item in op.outputs]
    if delegate == "nnapi" and not any(item.dtype.startswith("float") for item in made):
        return ()
    return (
        f"{DELEGATES[delegate]} may compute real numbers in float16: its results differ from those"
        " of the cores, and only the device can tell by how much",
    )
