"""Where memory and time go, as one structure for ``tapeout explain`` and for a missed budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import onnx_ir as ir

from ...units import format_bytes
from . import arena, costs, order, program
from .fixes import LEVERS, Fix, Lever, Need
from .memory import Liveness, LiveTensor, Moment, liveness
from .program import DEFAULT, Program, Sharing, Step
from .roofline import Estimate, Limit, Machine, Offload, StepTime, of_liveness
from .tensors import bytes_of, dtype_name, outputs_of, shape_of

#: Live tensors that `MemoryReport.lines` names.
_NAMED = 8


@dataclasses.dataclass(frozen=True)
class Row:
    """One step of the run: a node, or several that are fused.

    Attributes:
        shape, dtype: of the first output.
        macs, ops: arithmetic, as `costs.NodeCost` has it.
        bytes: read and written, parameters included.
        live: bytes of activations that are live while it runs.
        seconds, share, limit: the estimate, its part of the whole, and what holds it back; None
            without a machine.
        known: False where the arithmetic is a guess.
    """

    name: str
    op: str
    origins: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    macs: int
    ops: int
    bytes: int
    live: int
    seconds: float | None
    share: float | None
    limit: Limit | None
    known: bool

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class MemoryReport:
    """What a model needs while it runs, and what would make that less.

    Attributes:
        needed: bytes in all: the target's own figure if it gave one, else `weights` + `arena`.
        limit: bytes allowed; None if there is no limit.
        weights: bytes of the parameters.
        arena: bytes of all activations, model inputs and outputs included, in a static plan.
        bound: the most that is live at once, aligned as in the plan: no plan is smaller.
        peak: the moment when that is so; None of a model without nodes.
        steps: how many steps the run has.
        order: what another order of the same nodes would do.
        dominant: the fewest tensors that make up half of the peak, by name, the largest first.
        fixes: remedies, the cheapest first; each frees more than those before it.
    """

    needed: int
    limit: int | None
    weights: int
    arena: int
    bound: int
    peak: Moment | None
    steps: int
    order: order.Order
    dominant: tuple[str, ...]
    fixes: tuple[Fix, ...]

    @property
    def missing(self) -> int:
        """Bytes over the limit; 0 if it fits or there is none."""
        return 0 if self.limit is None else max(0, self.needed - self.limit)

    @property
    def cheapest(self) -> Fix | None:
        """The cheapest remedy that is enough; else the one that leaves the least missing."""
        return min(self.fixes, key=lambda fix: fix.missing, default=None)

    def lines(self) -> tuple[str, ...]:
        """Return the report in words, a sentence a line."""
        other = self.needed - self.weights - self.arena
        parts = f"weights {format_bytes(self.weights)}, activations {format_bytes(self.arena)}"
        parts += f", other {format_bytes(other)}" if other > 0 else ""
        found = [f"needs {format_bytes(self.needed)}: {parts}"]
        if self.limit is not None:
            found.append(
                f"the limit is {format_bytes(self.limit)}: {format_bytes(self.missing)} missing"
                if self.missing
                else f"fits in {format_bytes(self.limit)}"
            )
        if self.peak is not None:
            found.append(_peak_line(self.peak, self.steps))
            found += [f"  {_live_line(tensor)}" for tensor in self.peak.live[:_NAMED]]
            rest = self.peak.live[_NAMED:]
            if rest:
                total = format_bytes(sum(tensor.bytes for tensor in rest))
                found.append(f"  {total}: {len(rest)} smaller tensors")
        if self.cheapest is not None:
            found.append(f"cheapest fix: {self.cheapest.text}")
        elif self.missing:
            found.append("no remedy that is known here would make it smaller")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        return {
            "needed": self.needed,
            "limit": self.limit,
            "missing": self.missing,
            "weights": self.weights,
            "arena": self.arena,
            "bound": self.bound,
            "peak": None if self.peak is None else self.peak.to_json(),
            "steps": self.steps,
            "given_order_peak": self.order.given_peak,
            "best_order_peak": self.order.peak,
            "best_order_bound": self.order.bound,
            "dominant": list(self.dominant),
            "fixes": [fix.to_json() for fix in self.fixes],
            "cheapest": None if self.cheapest is None else self.cheapest.to_json(),
            "lines": list(self.lines()),
        }


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything about one model: its steps in order, totals, memory and time.

    Attributes:
        macs, ops, parameters: of the main graph; a shared parameter counts once.
        seconds: the estimate for one inference; None without a machine.
        by_limit: seconds of the steps that arithmetic, traffic or overhead hold back, and of
            transfers between machines.
        unknown: operators whose arithmetic is a guess.
    """

    rows: tuple[Row, ...]
    macs: int
    ops: int
    parameters: int
    memory: MemoryReport
    seconds: float | None
    by_limit: tuple[tuple[Limit, float], ...]
    unknown: tuple[str, ...]

    def slowest(self, count: int = 10) -> tuple[Row, ...]:
        """Return the rows that take the most time; by MACs and bytes without a machine."""
        ranked = sorted(self.rows, key=lambda row: (-(row.seconds or 0.0), -row.macs, -row.bytes))
        return tuple(ranked[:count])

    def to_json(self) -> dict[str, Any]:
        return {
            "macs": self.macs,
            "ops": self.ops,
            "parameters": self.parameters,
            "seconds": self.seconds,
            "by_limit": dict(self.by_limit),
            "unknown": list(self.unknown),
            "memory": self.memory.to_json(),
            "rows": [row.to_json() for row in self.rows],
        }


def of(
    model: ir.Model,
    machine: Machine | None = None,
    sharing: Sharing = DEFAULT,
    *,
    offload: Offload | None = None,
    limit: int | None = None,
    needed: int | None = None,
    alignment: int = 1,
    levers: Collection[Lever] = LEVERS,
) -> Report:
    """Report on a checked, static model, run in the order of its graph.

    Args:
        machine: what it runs on; without it there are no times.
        sharing: which tensors share memory where it will run.
        offload: what other machines take over.
        limit, needed, alignment, levers: as in `explain_memory`.

    Raises:
        ModelError: values without a static shape or an element type; all are named.
    """
    total = costs.of(model)
    subject = program.of(model, sharing)
    alive = liveness(subject)
    times = None if machine is None else of_liveness(alive, machine, offload)
    return Report(
        tuple(
            _row(step, live, None if times is None else times.steps[index], times)
            for index, (step, live) in enumerate(zip(alive.steps, alive.profile, strict=True))
        ),
        total.macs,
        total.ops,
        total.parameters,
        _memory(model, subject, alive, limit, needed, alignment, levers),
        None if times is None else times.seconds,
        () if times is None else tuple(times.by_limit().items()),
        total.unknown,
    )


def explain_memory(
    model: ir.Model,
    limit: int | None,
    sharing: Sharing = DEFAULT,
    *,
    needed: int | None = None,
    alignment: int = 1,
    levers: Collection[Lever] = LEVERS,
) -> MemoryReport:
    """Say why a checked, static model needs the memory it does, and what would help.

    Args:
        limit: bytes that it may use.
        sharing: which tensors share memory where it will run.
        needed: bytes it really needs, if the target's own planner has said so.
        alignment: of each tensor, in bytes.
        levers: the remedies that the target and the device offer.

    Raises:
        ModelError: values without a static shape or an element type; all are named.
    """
    subject = program.of(model, sharing)
    return _memory(model, subject, liveness(subject), limit, needed, alignment, levers)


def _memory(
    model: ir.Model,
    subject: Program,
    alive: Liveness,
    limit: int | None,
    needed: int | None,
    alignment: int,
    levers: Collection[Lever],
) -> MemoryReport:
    held = costs.parameters(model.graph)
    weights = sum(bytes_of(value) for value in held)
    placed = arena.plan(alive.buffers, alignment)
    ordered = order.best(subject)
    whole = weights + placed.size if needed is None else needed
    return MemoryReport(
        whole,
        limit,
        weights,
        placed.size,
        placed.bound,
        alive.peak,
        len(alive.steps),
        ordered,
        _dominant(alive.peak),
        Need(subject, held, placed, ordered).fixes(whole, limit, levers),
    )


def _row(step: Step, live: int, time: StepTime | None, times: Estimate | None) -> Row:
    output = outputs_of(step.nodes[-1])[0]
    works = [costs.work_of(node) for node in step.nodes]
    return Row(
        str(step.main.name),
        step.op,
        step.origins,
        shape_of(output),
        dtype_name(output),
        sum(work.macs for work, _ in works),
        sum(work.ops for work, _ in works),
        step.moved,
        live,
        None if time is None else time.seconds,
        None if time is None or times is None else times.share(time),
        None if time is None else time.limit,
        all(known for _, known in works),
    )


def _dominant(peak: Moment | None) -> tuple[str, ...]:
    names: list[str] = []
    total = 0
    for tensor in () if peak is None else peak.live:
        names.append(tensor.name)
        total += tensor.bytes
        if peak is not None and 2 * total >= peak.bytes:
            break
    return tuple(names)


def _peak_line(peak: Moment, steps: int) -> str:
    return (
        f"the peak is at step {peak.step + 1} of {steps}, {peak.op} {peak.name!r}"
        f"{_from(peak.name, peak.origins)}: {format_bytes(peak.bytes)} live"
    )


def _live_line(tensor: LiveTensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    made = "model input" if tensor.producer is None else f"{tensor.op} {tensor.producer!r}"
    origin = _from(tensor.producer or "", tensor.origins)
    read = f", last read by {tensor.last_reader!r}" if tensor.last_reader else ""
    kept = ", model output" if tensor.kind == "output" else ""
    return (
        f"{format_bytes(tensor.bytes)}: {tensor.name!r} {shape} {tensor.dtype}"
        f" of {made}{origin}{read}{kept}"
    )


def _from(name: str, origins: tuple[str, ...]) -> str:
    """Return the names in the user's file, where the node's own is none of them."""
    return f" (from {', '.join(origins)})" if origins and name not in origins else ""
