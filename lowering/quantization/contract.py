"""The accuracy budget as a contract: nodes stay in float until it holds, or it is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import onnx_ir as ir

from ...errors import BudgetError, Problem
from ..analysis.probe import Batches
from ..reference import Arrays
from .conversion import Conversion, Kept
from .sensitivity import sensitivity


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What a converted model does on the labelled data.

    Attributes:
        drop: the accuracy that is lost against the float model, as a fraction.
        outputs: by name, of each run.
    """

    drop: float
    outputs: Sequence[Arrays] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A converted model, the nodes that stayed in float for its accuracy, and what it lost.

    Attributes:
        measured: None if nobody had to know.
        costs: what each node costs alone, SQNR in dB at the output; None if nobody had to know.
    """

    model: ir.Model
    kept: Kept
    measured: Measured | None = None
    costs: dict[str, float] | None = None

    @property
    def drop(self) -> float:
        """The accuracy that is lost, as a fraction; 0 if it was not measured."""
        return 0.0 if self.measured is None else self.measured.drop


def within(
    conversion: Conversion,
    limit: float,
    measure: Callable[[ir.Model], Measured],
    batches: Batches,
    costs: dict[str, float] | None = None,
) -> Outcome:
    """Return a conversion that loses no more than `limit`, with few nodes in float.

    Nodes are kept in the order of what each costs alone, most first: 1, 2, 4, ... until the loss is
    within the limit, then the least number between the last two, by bisection. (The loss need not
    fall with every node, so fewer might do; the result is measured in any case.)

    Args:
        limit: fraction of accuracy.
        measure: runs a model on labelled data.
        batches: for the sensitivity of nodes.
        costs: that sensitivity, if it is known.

    Raises:
        BudgetError: even with all nodes but one in float the loss is over the limit.
    """
    attempts: dict[int, Outcome] = {}

    def attempt(order: Sequence[str]) -> bool:
        kept = {name: f"for the accuracy: alone {_cost(name)}" for name in order}
        model = conversion.converted(kept)
        attempts[len(order)] = Outcome(model, kept, measure(model), costs)
        return attempts[len(order)].drop <= limit

    def _cost(name: str) -> str:
        return f"{costs[name]:.1f} dB" if costs is not None else "not measured"

    if attempt(()):
        return attempts[0]
    if costs is None:
        costs = sensitivity(conversion.model, conversion.nodes, conversion.alone, batches)
    order = sorted(costs, key=costs.__getitem__)
    most = len(order) - 1
    low, high = 0, min(1, most)
    while high > low and not attempt(order[:high]):
        low, high = high, min(2 * high, most)
    if high == low:
        raise _missed(conversion, attempts, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if attempt(order[:middle]) else (middle, high)
    return attempts[high]


def _missed(conversion: Conversion, attempts: dict[int, Outcome], limit: float) -> BudgetError:
    best = min(attempts.values(), key=lambda item: item.drop)
    count = f"{len(best.kept)} of {len(conversion.nodes)} nodes {conversion.stays}"
    return BudgetError(
        f"{conversion.scheme.name} costs more accuracy than the budget",
        [
            Problem(
                "accuracy drop",
                f"{best.drop:.4f}, with {count}, is the best reached; {limit:.4f} is allowed",
                "allow more, calibrate with more samples, or take another scheme",
            ),
            *(
                Problem(f"node {name!r}", f"{conversion.stays} {why}")
                for name, why in best.kept.items()
            ),
        ],
    )
