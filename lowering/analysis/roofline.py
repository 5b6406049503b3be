"""A latency estimate: each step takes as long as its arithmetic or its traffic, whichever is more.

The roofline model (Williams, Waterman and Patterson, "Roofline: an insightful visual performance
model for multicore architectures", 2009), with one roof for each cache. Where a tensor is read from
follows from its reuse distance: the bytes moved since it was last touched have to fit into a cache
for the tensor to be still there (Mattson and others, "Evaluation techniques for storage
hierarchies", 1970). Parameters are touched once a run, so that all memory of the model lies between
two reads of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar

import onnx_ir as ir

from .costs import work_of
from .memory import Liveness, liveness
from .operators import Kind, kind_of
from .program import DEFAULT, Sharing, Step
from .program import of as program_of
from .tensors import outputs_of

Limit = Literal["compute", "memory", "overhead", "transfer", "none"]

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Cache:
    """One cache: its size in bytes and its bandwidth in bytes/s, as one run can use them."""

    size: int
    bandwidth: float


@dataclasses.dataclass(frozen=True)
class Product:
    """What is known of the multiply-accumulates of one node.

    Attributes:
        seconds: that they take.
        weights: bytes of its constant second operand as it is stored.
    """

    seconds: float
    weights: int


def _unknown(node: ir.Node, dtype: str) -> Product | None:
    return None


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a run has at its disposal, with the threads that it uses.

    Attributes:
        peaks: operations/s by dtype (``float32``); one multiply-accumulate is two operations.
        bandwidth: bytes/s of main memory.
        caches: the smallest first.
        efficiency: the fraction of the peak that the generated code reaches in each kind of
            operator; 1 for a kind that is not there.
        overhead: seconds to start one step.
        special: dtype -> what it has in the place of `efficiency`, kind by kind.
        product: tells of a node and the dtype that it computes in what is known of its products;
            None where its kind says all.
        alone: what one of the threads has, where there are several.
        sharing: seconds that it takes the threads to share one step.
        least: seconds that they gain at least from a step that they share.

    Raises:
        ValueError: no peak, or a figure that is not positive.
    """

    peaks: Mapping[str, float]
    bandwidth: float
    caches: tuple[Cache, ...] = ()
    efficiency: Mapping[Kind, float] = dataclasses.field(default_factory=dict)
    overhead: float = 0.0
    special: Mapping[str, Mapping[Kind, float]] = dataclasses.field(default_factory=dict)
    product: Callable[[ir.Node, str], Product | None] = dataclasses.field(
        default=_unknown, compare=False
    )
    alone: Machine | None = None
    sharing: float = 0.0
    least: float = 0.0

    def __post_init__(self) -> None:
        figures = {
            "bandwidth": self.bandwidth,
            **{f"peak of {dtype}": peak for dtype, peak in self.peaks.items()},
            **{f"efficiency of {kind}": part for kind, part in self.efficiency.items()},
            **{
                f"efficiency of {kind} in {dtype}": part
                for dtype, parts in self.special.items()
                for kind, part in parts.items()
            },
            **{f"bandwidth of the cache of {item.size} B": item.bandwidth for item in self.caches},
        }
        wrong = [f"{name} = {value!r}" for name, value in figures.items() if not value > 0]
        if wrong or not self.peaks or min(self.overhead, self.sharing, self.least) < 0:
            raise ValueError(f"a machine needs positive figures and a peak: {', '.join(wrong)}")

    def peak(self, dtype: str) -> float:
        """Return operations/s; a dtype without a peak runs as float32, else at the lowest peak."""
        return self.peaks.get(dtype) or self.peaks.get("float32") or min(self.peaks.values())

    def rate(self, kind: Kind, dtype: str) -> float:
        """Return the operations/s that the generated code reaches in a kind of operator."""
        part = self.special.get(dtype, {}).get(kind) or self.efficiency.get(kind, 1.0)
        return self.peak(dtype) * part

    def seconds(self, step: Step) -> float:
        """Return the seconds of a step's arithmetic."""
        return sum(self._arithmetic(node, step.dtype) for node in step.nodes)

    def _arithmetic(self, node: ir.Node, dtype: str) -> float:
        work, kind, known = work_of(node)[0], kind_of(node), self.product(node, dtype)
        if known is None:
            return (2 * work.macs + work.ops) / self.rate(kind, dtype)
        return known.seconds + work.ops / self.rate("elementwise", dtype)

    def constants(self, step: Step) -> dict[ir.Value, int]:
        """Return the bytes of the constants that a step reads, as they are stored."""
        found = dict(step.constants)
        for node in step.nodes:
            known = self.product(node, step.dtype)
            weight = node.inputs[1] if known is not None else None
            if known is not None and weight in found:
                found[weight] = known.weights
        return found

    def for_step(self, step: Step) -> Machine:
        """Return what computes a step: all threads, or one of them."""
        if self.alone is None:
            return self
        gained = self.alone.seconds(step) - self.seconds(step)
        return self if gained > self.least else self.alone

    def bandwidth_at(self, distance: int) -> float:
        """Return bytes/s for data that was last touched so many bytes of traffic ago."""
        held = (cache.bandwidth for cache in self.caches if distance <= cache.size)
        return next(held, self.bandwidth)


@dataclasses.dataclass(frozen=True)
class Offload:
    """What other machines take over from the main one.

    Attributes:
        machines: name of a value -> the machine that runs the step which makes it.
        seconds: of starting them and copying between them, in one inference.
    """

    machines: Mapping[str, Machine]
    seconds: float

    def machine(self, step: Step) -> Machine | None:
        """Return the machine that runs a step; None if it is the main one."""
        made = (str(value.name) for value in outputs_of(step.nodes[-1]))
        return next((self.machines[name] for name in made if name in self.machines), None)


@dataclasses.dataclass(frozen=True)
class StepTime:
    """The estimate for one step.

    Attributes:
        name, op, kind: of the step's first node; ``Conv+Clip`` where nodes are fused.
        macs, ops: arithmetic of all its nodes.
        bytes: read and written.
        compute, memory: seconds of the arithmetic and of the traffic; the larger one counts.
        seconds: that and the overhead.
        limit: what takes the longest; none for a view, which does not run.
    """

    name: str
    op: str
    kind: Kind
    origins: tuple[str, ...]
    macs: int
    ops: int
    bytes: int
    compute: float
    memory: float
    seconds: float
    limit: Limit

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The steps in the order they run; the whole takes the sum of them and of the transfers.

    Attributes:
        transfer: seconds of `Offload`; 0 where one machine runs all.
    """

    steps: tuple[StepTime, ...]
    transfer: float = 0.0

    @functools.cached_property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps) + self.transfer

    def share(self, step: StepTime) -> float:
        """Return a step's part of the whole, from 0 to 1."""
        return step.seconds / self.seconds if self.seconds else 0.0

    def by_limit(self) -> dict[Limit, float]:
        """Return the seconds of the steps that each limit holds back, and of the transfers."""
        found: dict[Limit, float] = {"compute": 0.0, "memory": 0.0, "overhead": 0.0}
        for step in self.steps:
            if step.limit != "none":
                found[step.limit] += step.seconds
        return found if not self.transfer else {**found, "transfer": self.transfer}

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "by_limit": self.by_limit(),
            "steps": [{**step.to_json(), "share": self.share(step)} for step in self.steps],
        }


def estimate(
    model: ir.Model,
    machine: Machine,
    sharing: Sharing = DEFAULT,
    offload: Offload | None = None,
) -> Estimate:
    """Estimate one inference of a checked, static model, in the order of its graph.

    Args:
        offload: what other machines take over.

    Raises:
        ModelError: values without a static shape or an element type; all are named.
    """
    return of_liveness(liveness(program_of(model, sharing)), machine, offload)


def of_liveness(alive: Liveness, machine: Machine, offload: Offload | None = None) -> Estimate:
    """Estimate one run of a program in some order."""
    held = [machine.constants(step) for step in alive.steps]
    distinct = {value: size for sizes in held for value, size in sizes.items()}
    reuse = Reuse[int](sum(distinct.values()) + alive.peak_bytes)
    steps = []
    for step, constants in zip(alive.steps, held, strict=True):
        there = offload.machine(step) if offload is not None else None
        here = there or machine.for_step(step)
        size = sum(constants.values())
        memory = reuse.seconds(here, step.reads, step.writes, step.written, size)
        overhead = here.overhead + (here.sharing if here is machine else 0.0)
        steps.append(_timed(step, here, memory, overhead))
    return Estimate(tuple(steps), offload.seconds if offload is not None else 0.0)


class Reuse(Generic[Key]):
    """How long steps wait for their traffic, asked in the order in which they run.

    What was touched lately is still in a cache: see this module's docstring.
    """

    def __init__(self, footprint: int) -> None:
        """Start a run that touches `footprint` bytes, parameters included."""
        self._footprint = footprint
        self._moved = 0
        self._touched: dict[Key, int] = {}

    def seconds(
        self,
        machine: Machine,
        reads: Mapping[Key, int],
        writes: Iterable[Key],
        written: int,
        constants: int,
    ) -> float:
        """Return the seconds of the next step.

        Args:
            reads: bytes of each thing that steps before may have made or read.
            writes: the things that it makes.
            written: bytes of all these.
            constants: bytes of the parameters that it reads.
        """
        moved = sum(reads.values()) + written + constants
        before, self._moved = self._moved, self._moved + moved
        total = constants / machine.bandwidth_at(self._footprint)
        total += written / machine.bandwidth_at(moved)
        for key, size in reads.items():
            since = self._moved - self._touched[key] if key in self._touched else self._footprint
            total += size / machine.bandwidth_at(min(since, self._footprint))
        self._touched |= dict.fromkeys((*reads, *writes), before)
        return total


def _timed(step: Step, machine: Machine, memory: float, overhead: float) -> StepTime:
    works = [work_of(node)[0] for node in step.nodes]
    compute = machine.seconds(step)
    parts: dict[Limit, float] = {
        "compute": compute,
        "memory": memory,
        "overhead": overhead,
    }
    runs = bool(step.writes)
    return StepTime(
        str(step.main.name),
        step.op,
        kind_of(step.main),
        step.origins,
        sum(work.macs for work in works),
        sum(work.ops for work in works),
        step.moved,
        compute if runs else 0.0,
        memory if runs else 0.0,
        max(compute, memory) + overhead if runs else 0.0,
        max(parts, key=lambda name: parts[name]) if runs else "none",
    )
