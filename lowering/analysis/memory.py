"""Liveness: which memory is needed when, the peak, and what lives there at that moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..provenance import origins
from .program import Program, Step, Storage, StorageKind
from .tensors import dtype_name, op_of, shape_of


@dataclasses.dataclass(frozen=True, eq=False)
class Buffer:
    """Memory that lives from step `first` to step `last`, both included.

    Attributes:
        storages: what lies in it, in the order it is written; more than one if a step writes over
            its input; none for the scratch of a step's bodies.
    """

    storages: tuple[Storage, ...]
    size: int
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class LiveTensor:
    """One tensor that takes memory at some moment.

    Attributes:
        name: of the tensor that was written; `views` are the others in the same memory.
        shape, dtype: of that tensor, in its layout in memory.
        producer: the node that wrote it, or None for a model input; `op` and `origins` are its.
        first: the step that writes it (0 for an input).
        last: the last step that needs it; `last_reader` is that step's node, None if it is kept.
    """

    name: str
    views: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    kind: StorageKind
    producer: str | None
    op: str | None
    origins: tuple[str, ...]
    first: int
    last: int
    last_reader: str | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Moment:
    """One step of the run, and everything that takes memory while it runs.

    Attributes:
        step: its place in the order, from 0.
        name: of the node that runs; the first one where several are fused into the step.
        op: its operator; ``Conv+Clip`` where nodes are fused.
        bytes: all that is live, `scratch` included.
        scratch: bytes that only the bodies of this step use.
        live: the tensors, the largest first.
    """

    step: int
    name: str
    op: str
    origins: tuple[str, ...]
    bytes: int
    scratch: int
    live: tuple[LiveTensor, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, eq=False)
class Liveness:
    """What lives when, for one order.

    Attributes:
        steps: the program's steps, in the order they run.
        buffers: all memory but that of parameters, in the order of the first use.
        profile: bytes live during each step.
    """

    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    profile: tuple[int, ...]

    @property
    def peak_bytes(self) -> int:
        """The most that is live at once: no plan can do with less."""
        return max(self.profile, default=0)

    @property
    def peak(self) -> Moment | None:
        """The first moment at which the most is live; None of a graph without nodes."""
        return self.moment(self.profile.index(self.peak_bytes)) if self.profile else None

    def moment(self, step: int) -> Moment:
        """Return what is live during one step."""
        live = [item for item in self.buffers if item.first <= step <= item.last and item.size]
        tensors = [self._tensor(item, step) for item in live if item.storages]
        node = self.steps[step].main
        return Moment(
            step,
            str(node.name),
            self.steps[step].op,
            self.steps[step].origins,
            self.profile[step],
            sum(item.size for item in live if not item.storages),
            tuple(sorted(tensors, key=lambda tensor: (-tensor.bytes, tensor.first, tensor.name))),
        )

    def _tensor(self, buffer: Buffer, step: int) -> LiveTensor:
        written = [item for item in buffer.storages if self._written(item) <= step]
        storage = (written or buffer.storages)[-1]
        value = storage.values[0]
        producer = value.producer()
        reader = None if storage.kept else self.steps[buffer.last].main.name
        return LiveTensor(
            str(value.name),
            tuple(str(view.name) for view in storage.values[1:]),
            shape_of(value),
            dtype_name(value),
            storage.size,
            storage.kind,
            None if producer is None else producer.name,
            None if producer is None else op_of(producer),
            () if producer is None else origins(producer),
            buffer.first,
            buffer.last,
            reader,
        )

    def _written(self, storage: Storage) -> int:
        producer = storage.values[0].producer()
        for index, step in enumerate(self.steps):
            if producer in step.nodes:
                return index
        return 0


def scratch_of(step: Step) -> int:
    """Return the most memory that one of a step's bodies needs, in the order of its nodes."""
    return max((liveness(body).peak_bytes for body in step.bodies), default=0)


def given(program: Program) -> tuple[int, ...]:
    """Return the order in which the graph lists the steps."""
    return tuple(range(len(program.steps)))


def liveness(program: Program, order: Sequence[int] | None = None) -> Liveness:
    """Return what lives when, if the steps run in an order (indices; default: as they stand).

    A step that may write over inputs takes the first of them that dies there.
    """
    order = given(program) if order is None else order
    steps = tuple(program.steps[index] for index in order)
    storages, end = program.storages, max(0, len(steps) - 1)
    first = [0 if item.kind == "input" or item.held else end for item in storages]
    last = [end if item.kept else 0 for item in storages]
    for now, step in enumerate(steps):
        for index in step.writes:
            first[index] = 0 if storages[index].held else now
            last[index] = max(last[index], now)
        for index in step.reads:
            last[index] = max(last[index], now)
    over = _overwritten(steps, last)
    buffers = _merged(storages, first, last, over)
    buffers += [
        Buffer((), size, now, now) for now, step in enumerate(steps) if (size := scratch_of(step))
    ]
    buffers.sort(key=lambda item: (item.first, item.last))
    return Liveness(steps, tuple(buffers), _profile(buffers, len(steps)))


def _overwritten(steps: tuple[Step, ...], last: list[int]) -> dict[int, int]:
    """Return which storage is written over which: the first input that dies at the step."""
    over: dict[int, int] = {}
    for now, step in enumerate(steps):
        dying = (index for index in step.overwrites if last[index] == now)
        source = next(dying, None)
        if source is not None:
            over[step.writes[0]] = source
    return over


def _merged(
    storages: tuple[Storage, ...], first: list[int], last: list[int], over: dict[int, int]
) -> list[Buffer]:
    """Return one buffer for every storage that is not written over another."""
    chains: dict[int, list[int]] = {
        index: [index] for index in range(len(storages)) if index not in over
    }
    root = {index: index for index in chains}
    for index in sorted(over, key=first.__getitem__):
        root[index] = root[over[index]]
        chains[root[index]].append(index)
    return [
        Buffer(
            tuple(storages[index] for index in chain),
            storages[head].size,
            first[head],
            last[chain[-1]],
        )
        for head, chain in chains.items()
    ]


def _profile(buffers: Sequence[Buffer], steps: int) -> tuple[int, ...]:
    change = [0] * (steps + 1)
    for item in buffers:
        if item.first < steps:
            change[item.first] += item.size
            change[item.last + 1] -= item.size
    live, total = [], 0
    for delta in change[:steps]:
        total += delta
        live.append(total)
    return tuple(live)
