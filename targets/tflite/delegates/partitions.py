"""How a delegate cuts a model: what it takes in one piece, and what moves between the pieces.

The way is that of the public runtime, https://github.com/google-ai-edge/LiteRT, as of commit
f67457790: tflite/graph_info.cc (PartitionGraphIntoIndependentNodeSubsets, greedy), the limits of
tflite/delegates/nnapi/nnapi_delegate.cc (LimitDelegatedPartitions) and tflite/delegates/utils.cc
(GetFirstNLargestPartitions, FP16GraphPartitionHelper). Of partitions of equal size the first ones
are kept here; the runtime leaves that to its sorting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from ..operators import Graph, Operand, Operator

#: Where operators run that no delegate takes.
CPU: Final = "CPU"


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A tensor that is copied for each inference."""

    operand: Operand
    source: str
    target: str

    @property
    def bytes(self) -> int:
        return self.operand.bytes


@dataclasses.dataclass(frozen=True)
class Partition:
    """Operators that run one after the other in one place.

    Attributes:
        where: the delegate's name, or `CPU`.
        inputs: data that is made elsewhere; constants are not among them.
        outputs: data that is read elsewhere, or is a result of the model.
    """

    where: str
    operators: tuple[Operator, ...]
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]


@dataclasses.dataclass(frozen=True)
class Placement:
    """What a delegate makes of a model.

    Attributes:
        partitions: in the order of execution.
        reasons: index of each operator that stays on the CPU -> why.
        notes: what else the user should know.
    """

    delegate: str
    partitions: tuple[Partition, ...]
    reasons: Mapping[int, str]
    notes: tuple[str, ...] = ()

    @property
    def delegated(self) -> tuple[Partition, ...]:
        return tuple(item for item in self.partitions if item.where != CPU)

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """What is copied into and out of the delegate, inputs and results of the model, too."""
        return tuple(
            transfer
            for part in self.delegated
            for transfer in (
                *(Transfer(item, CPU, self.delegate) for item in part.inputs),
                *(Transfer(item, self.delegate, CPU) for item in part.outputs),
            )
        )

    @property
    def transferred_bytes(self) -> int:
        """Bytes copied between the CPU and the delegate for each inference."""
        return sum(transfer.bytes for transfer in self.transfers)


@dataclasses.dataclass(frozen=True)
class Delegate:
    """What the ways of the delegates differ in.

    Attributes:
        most: the number of partitions that it takes.
        limits_first: whether it chooses the largest partitions before its operators read float16
            constants themselves.
    """

    name: str
    most: int
    limits_first: bool = False


def split(graph: Graph, taken: Collection[int], name: str) -> tuple[Partition, ...]:
    """Return the partitions if a delegate takes the operators of these indices.

    The first operator that can run starts a partition; all that can run in the same place joins
    it, also past others that stand before it; then the next partition starts. So the two places
    take turns, and an operator runs in the first turn of its own that none of its inputs is after.

    Raises:
        ValueError: an operator stands before one that makes its input.
    """
    groups: list[list[Operator]] = []
    turns: dict[int, int] = {}  # of the operator that makes an operand
    ahead = {item.index for operator in graph.operators for item in operator.outputs}
    for operator in graph.operators:
        inputs = [item.index for item in operator.inputs if item is not None]
        if not ahead.isdisjoint(inputs):
            raise ValueError(f"{operator.label!r} stands before what makes its input")
        turn = max((turns.get(index, 0) for index in inputs), default=0)
        first = groups[0][0] if groups else operator
        turn += ((operator.index in taken) == (first.index in taken)) == (turn % 2 == 1)
        if turn == len(groups):
            groups.append([])
        groups[turn].append(operator)
        turns |= dict.fromkeys((item.index for item in operator.outputs), turn)
        ahead.difference_update(item.index for item in operator.outputs)
    return _partitions(graph, groups, turns, taken, name)


def _partitions(
    graph: Graph,
    groups: Sequence[Sequence[Operator]],
    turns: Mapping[int, int],
    taken: Collection[int],
    name: str,
) -> tuple[Partition, ...]:
    """Return the groups with what goes into them and comes out.

    Args:
        turns: index of an operand -> the group that makes it.
    """
    into: list[dict[int, Operand]] = [{} for _ in groups]
    out: list[dict[int, Operand]] = [{} for _ in groups]
    for turn, group in enumerate(groups):
        for operator in group:
            for item in operator.inputs:
                if item is not None and not item.is_constant and turns.get(item.index) != turn:
                    into[turn][item.index] = item
                    if item.index in turns:
                        out[turns[item.index]][item.index] = item
    for item in graph.outputs:
        if item.index in turns:
            out[turns[item.index]][item.index] = item
    return tuple(
        Partition(
            name if group[0].index in taken else CPU,
            tuple(group),
            tuple(into[turn][index] for index in sorted(into[turn])),
            tuple(out[turn][index] for index in sorted(out[turn])),
        )
        for turn, group in enumerate(groups)
    )


def place(
    graph: Graph, delegate: Delegate, refusal: Callable[[Operator, Graph], str | None]
) -> Placement:
    """Return what a delegate makes of a model.

    Args:
        refusal: why the delegate does not take an operator; None if it does.
    """
    halves = _halves(graph)
    direct = _reading_halves(graph, halves, {item.index for item in graph.operators})
    reasons = {
        operator.index: reason
        for operator in direct.operators
        if operator.index not in halves.values()
        and (reason := refusal(operator, direct)) is not None
    }
    if halves and not reasons:  # then the float16 constants go along with the rest
        everything = {item.index for item in graph.operators}
        return Placement(delegate.name, split(graph, everything, delegate.name), {})
    reasons |= dict.fromkeys(halves.values(), _HALF)
    taken = {item.index for item in graph.operators if item.index not in reasons}
    if delegate.limits_first:
        taken = _limited(graph, taken, delegate, reasons)
    graph = _reading_halves(graph, halves, taken)
    if not delegate.limits_first:
        taken = _limited(graph, taken, delegate, reasons)
    parts = split(graph, taken, delegate.name)
    return Placement(delegate.name, parts, dict(sorted(reasons.items())))


_HALF: Final = "it stays on the CPU, as does another operator, which may read its float32 numbers"


def _limited(
    graph: Graph, taken: set[int], delegate: Delegate, reasons: dict[int, str]
) -> set[int]:
    """Keep the largest partitions; say of the others' operators why they are not taken."""
    parts = [item for item in split(graph, taken, delegate.name) if item.where != CPU]
    kept = sorted(parts, key=lambda part: -len(part.operators))[: delegate.most]
    largest = "largest" if delegate.most == 1 else f"{delegate.most} largest"
    verb = "is" if delegate.most == 1 else "are"
    for part in parts:
        if part not in kept:
            count = len(part.operators)
            reason = f"only the {largest} of {len(parts)} partitions {verb} taken; its own has "
            reason += f"{count} operator{'' if count == 1 else 's'}"
            reasons |= {operator.index: reason for operator in part.operators}
    return {operator.index for part in kept for operator in part.operators}


def _halves(graph: Graph) -> dict[int, int]:
    """Return the operators that make float32 of float16 constants: result -> operator."""
    return {
        operator.outputs[0].index: operator.index
        for operator in graph.operators
        if operator.name == "DEQUANTIZE"
        and (data := operator.input(0)) is not None
        and data.dtype == "float16"
        and data.is_constant
    }


def _reading_halves(graph: Graph, halves: Mapping[int, int], readers: Collection[int]) -> Graph:
    """Let operators read the float16 constants themselves."""
    if not halves:
        return graph
    by_index = {operator.index: operator for operator in graph.operators}
    operators = tuple(
        operator
        if operator.index not in readers
        else dataclasses.replace(
            operator,
            inputs=tuple(
                item
                if item is None or item.index not in halves
                else by_index[halves[item.index]].inputs[0]
                for item in operator.inputs
            ),
        )
        for operator in graph.operators
    )
    return dataclasses.replace(graph, operators=operators)
