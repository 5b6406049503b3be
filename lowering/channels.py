"""Groups of values whose channels can be scaled together without changing what a network computes.

ReLU is positively homogeneous: relu(s x) = s relu(x) for s > 0. So the outputs of a linear operator
can be scaled channel by channel if everything up to the next linear operators passes the scales on,
and those undo them (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019, section 4.1). Where branches meet in an Add, both must have the same scales.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final

import numpy as np
import onnx_ir as ir

from .clamps import clamp_of
from .matching import array_of, is_op, shape_of


@dataclasses.dataclass(frozen=True)
class Channels:
    """Where the channels of a value lie.

    Attributes:
        axis: of the value.
        repeat: how many neighbours along the axis belong to one channel: the pixels, once a map
            was flattened.
    """

    axis: int
    repeat: int = 1


@dataclasses.dataclass(eq=False)
class Group:
    """Values that have one scale for each channel, in graph order.

    Attributes:
        count: how many channels they have.
        values: with the place of their channels.
        producers: linear nodes that give them.
        consumers: linear nodes that read them.
        ceilings: values that a Clip bounds from above, and by what.
    """

    count: int
    values: dict[ir.Value, Channels] = dataclasses.field(default_factory=dict)
    producers: list[ir.Node] = dataclasses.field(default_factory=list)
    consumers: list[ir.Node] = dataclasses.field(default_factory=list)
    ceilings: list[tuple[ir.Value, float]] = dataclasses.field(default_factory=list)


def channel_groups(model: ir.Model) -> list[Group]:
    """Return the groups of the main graph of a canonical, channels-first model, in graph order.

    Left out are groups that reach an input or output of the graph, the body of control flow, or an
    operator that does not pass scales on.
    """
    finder = _Finder(model.graph)
    for node in model.graph:
        finder.visit(node)
    return finder.groups()


#: Operators that pass on the scales of their first input, whatever their other inputs are.
_HOMOGENEOUS: Final = (
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "LeakyRelu",
    "MaxPool",
    "PRelu",
    "Relu",
)


class _Finder:
    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._channels: dict[ir.Value, Channels] = {}
        self._parents: dict[ir.Value, ir.Value] = {}
        self._pinned: list[ir.Value] = []
        self._producers: list[tuple[ir.Value, ir.Node]] = []
        self._consumers: list[tuple[ir.Value, ir.Node]] = []
        self._ceilings: list[tuple[ir.Value, float]] = []

    def visit(self, node: ir.Node) -> None:
        passed = self._linear(node) if is_linear(node) else self._passed(node)
        for value in node.outputs:
            if value.is_graph_output() or any(
                use.node.graph is not self._graph for use in value.uses()
            ):
                self._pinned.append(value)
        if not passed:
            self._pinned.extend(value for value in (*node.inputs, *node.outputs) if value)

    def groups(self) -> list[Group]:
        pinned = {self._root(value) for value in self._pinned if value in self._channels}
        found: dict[ir.Value, Group] = {}
        for value, channels in self._channels.items():
            root = self._root(value)
            if root not in pinned:
                count = (shape_of(value) or ())[channels.axis] // channels.repeat
                found.setdefault(root, Group(count)).values[value] = channels
        for value, bound in self._ceilings:
            if (group := found.get(self._root(value))) is not None:
                group.ceilings.append((value, bound))
        for value, node in self._producers:
            if (group := found.get(self._root(value))) is not None:
                group.producers.append(node)
        for value, node in self._consumers:
            if (group := found.get(self._root(value))) is not None:
                group.consumers.append(node)
        return [group for group in found.values() if group.producers and group.consumers]

    def _linear(self, node: ir.Node) -> bool:
        x, y = node.inputs[0], node.outputs[0]
        rank = len(shape_of(y) or ())
        axis = rank - 1 if node.op_type == "MatMul" else 1
        self._channels[y] = Channels(axis)
        self._producers.append((y, node))
        if x is None or x not in self._channels:
            return True
        if self._channels[x].axis != axis:
            self._pinned.append(x)
        self._consumers.append((x, node))
        return True

    def _passed(self, node: ir.Node) -> bool:
        """Let the outputs have the scales of the inputs; False if the operator does not."""
        x, y = node.inputs[0] if node.inputs else None, node.outputs[0] if node.outputs else None
        if x is None or y is None or x not in self._channels or len(node.outputs) > 1:
            return False
        channels = _channels_after(node, self._channels[x])
        if channels is None:
            return False
        others = [value for value in node.inputs[1:] if value is not None]
        if not is_op(node, "Add", "Sub"):
            self._pinned.extend(others)
            others = []
        if any(self._channels.get(value) != channels for value in others):
            return False
        self._channels[y] = channels
        for value in (x, *others):
            self._join(y, value)
        clamped = clamp_of(node)
        if clamped is not None and clamped[1].high is not None:
            self._ceilings.append((y, float(clamped[1].high)))
        return True

    def _join(self, first: ir.Value, second: ir.Value) -> None:
        first, second = self._root(first), self._root(second)
        if first is not second:
            self._parents[first] = second

    def _root(self, value: ir.Value) -> ir.Value:
        while value in self._parents:
            value = self._parents[value]
        return value


def is_linear(node: ir.Node) -> bool:
    """Whether it is a Conv, ConvTranspose, Gemm in normal form or MatMul, with constants."""
    if not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        return False
    shape = shape_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if (
        shape is None
        or shape_of(node.outputs[0]) is None
        or len(shape_of(node.inputs[0]) or ()) < 2
    ):
        return False
    if node.op_type == "MatMul" and len(shape) != 2:
        return False
    attributes = node.attributes
    if attributes.get_int("transA", 0) or attributes.get_float("beta", 1.0) != 1:
        return False
    if not all(value is None or array_of(value) is not None for value in node.inputs[1:]):
        return False
    bias = shape_of(node.inputs[2]) if len(node.inputs) > 2 else None
    # Gemm may have a bias for each row of its input, too.
    return bias is None or math.prod(bias[:-1]) == 1


def _channels_after(node: ir.Node, channels: Channels) -> Channels | None:
    """Return where the channels of input 0 lie in output 0; None if their scales are lost."""
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if before is None or after is None or 0 in before:
        return None
    if is_op(node, *_HOMOGENEOUS):
        is_spatial = node.op_type.endswith("Pool")
        return channels if not is_spatial or channels == Channels(1) else None
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    return rule(node, channels, before, after) if rule is not None else None


_Shape = tuple[int, ...]


def _through_clip(
    node: ir.Node, channels: Channels, before: _Shape, after: _Shape
) -> Channels | None:
    found = clamp_of(node)
    return channels if found is not None and found[1].low == 0 else None


def _through_sum(
    node: ir.Node, channels: Channels, before: _Shape, after: _Shape
) -> Channels | None:
    return channels if all(shape_of(value) == after for value in node.inputs) else None


def _through_transpose(
    node: ir.Node, channels: Channels, before: _Shape, after: _Shape
) -> Channels | None:
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(before)))))
    return Channels(list(perm).index(channels.axis), channels.repeat)


def _through_reshape(
    node: ir.Node, channels: Channels, before: _Shape, after: _Shape
) -> Channels | None:
    """The axes before the channels stay; what follows them may be joined to them or be rearranged.

    The numbers of one channel stay neighbours in either case.
    """
    axis = channels.axis
    if len(after) <= axis or before[:axis] != after[:axis]:
        return None
    if after[axis] == before[axis]:
        return channels
    if after[axis] == math.prod(before[axis:]):
        return Channels(axis, channels.repeat * math.prod(before[axis + 1 :]))
    return None


_RULES: Final[dict[str, Callable[[ir.Node, Channels, _Shape, _Shape], Channels | None]]] = {
    "Add": _through_sum,
    "Clip": _through_clip,
    "Reshape": _through_reshape,
    "Sub": _through_sum,
    "Transpose": _through_transpose,
}


def per_channel(figures: np.ndarray, channels: Channels) -> np.ndarray:
    """Return the largest figure of each channel, of figures for each index of the axis."""
    largest: np.ndarray = figures.reshape(-1, channels.repeat).max(axis=1)
    return largest
