"""What the layers of an engine cost: the network's nodes in them, their arithmetic, bytes and time.

Arithmetic is the nodes': that of a node counts in one layer, where its product is computed, else in
the first layer that names it. Bytes are those of the layer's own tensors, weights and padding
included. Time is the roofline's, in the type that the layer really computes in; layers of several
streams count as if they ran one after the other, those of loops as if they ran once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import onnx_ir as ir

from ...budget import Figure
from ...lowering.analysis.arithmetic import Work
from ...lowering.analysis.costs import is_view, work_of
from ...lowering.analysis.operators import Kind, kind_of
from ...lowering.analysis.program import Sharing
from ...lowering.analysis.roofline import Estimate, Limit, Machine, Reuse, StepTime, estimate
from ...lowering.analysis.tensors import bytes_of, dtype_name, inputs_of, op_of, outputs_of
from ...lowering.provenance import origins
from .layers import Layer, Tensor, UnreadableError, by_profile, parse, sizes, width

#: Operators of which the first two inputs are multiplied with each other.
_PRODUCTS: Final[tuple[Kind, ...]] = ("convolution", "depthwise", "matmul", "attention")


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer with what it costs.

    Attributes:
        asked: the type that the network has the layer's product computed in; empty without one.
        dtype: what it computes in.
        operators: those of `Layer.nodes`.
        time: of the layer; its MACs and other operations are those of the nodes that count here.
        exact: whether its bytes are those of its own tensors; else those of its nodes' tensors in
            the network, because the layer's have dimensions that are known when it runs.
    """

    layer: Layer
    asked: str
    dtype: str
    operators: tuple[str, ...]
    time: StepTime
    exact: bool

    def to_json(self) -> dict[str, Any]:
        layer, time = self.layer, self.time
        return {
            "name": layer.name,
            "type": layer.type,
            "family": layer.family,
            "kernel": layer.kernel,
            "stream": layer.stream,
            "dtype": self.dtype,
            "asked": self.asked,
            "inputs": list(map(_described, layer.inputs)),
            "outputs": list(map(_described, layer.outputs)),
            "constants": _sum(layer.constants),
            "nodes": list(layer.nodes),
            "operators": list(self.operators),
            "made": list(layer.made),
            "origins": list(time.origins),
            "macs": time.macs,
            "ops": time.ops,
            "bytes": time.bytes,
            "bytes_exact": self.exact,
            "seconds": time.seconds,
            "limit": time.limit,
        }


@dataclasses.dataclass(frozen=True)
class Table:
    """The layers of one optimization profile, in the order in which they run.

    Attributes:
        apart: nodes that do work and that no layer names; the compiler has cancelled or merged
            them.
        apart_macs: the multiply-accumulates of these.
    """

    rows: tuple[Row, ...]
    apart: tuple[str, ...]
    apart_macs: int

    @functools.cached_property
    def estimate(self) -> Estimate:
        """The time of one inference."""
        return Estimate(tuple(row.time for row in self.rows))

    @property
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates by the type that they are computed in, the most first."""
        found: Counter[str] = Counter()
        for row in self.rows:
            if row.time.macs:
                found[row.dtype] += row.time.macs
        return dict(found.most_common())

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": [
                {**row.to_json(), "share": self.estimate.share(row.time)} for row in self.rows
            ],
            "macs": self.macs,
            "seconds": self.estimate.seconds,
            "by_limit": self.estimate.by_limit(),
            "apart": list(self.apart),
            "apart_macs": self.apart_macs,
        }


def report(
    texts: Sequence[str],
    profiles: Sequence[tuple[str, ir.Model]],
    machine: Machine,
    capability: str,
) -> dict[str, Any]:
    """Return the entry ``layers`` of a bundle's report: a table for each optimization profile.

    A list that cannot be read is no reason to withhold the engine: the entry then says so.

    Args:
        texts: the builder's messages that list layers.
        profiles: the shapes of each optimization profile, in words, and the network, static, where
            the profile is tuned; one where all shapes are static.
        capability: the first one that the engine was built for, which the layers are of.
    """
    entry = {"capability": capability, "profiles": []}
    try:
        found = tables(texts, [model for _, model in profiles], machine)
    except UnreadableError as error:
        return {**entry, "unreadable": str(error)}
    told = zip(profiles, found, strict=True)
    return {**entry, "profiles": [{"shapes": how} | table.to_json() for (how, _), table in told]}


def latency(texts: Sequence[str], model: ir.Model, machine: Machine, sharing: Sharing) -> Figure:
    """Return the estimate for one inference: over the layers, or the network where unreadable.

    Args:
        model: the network, static, where the first optimization profile is tuned.
    """
    try:
        (first,) = tables(texts, [model], machine)
    except UnreadableError:
        seconds = estimate(model, machine, sharing).seconds
        return Figure(seconds, "s", "estimated", "roofline over the network")
    return Figure(first.estimate.seconds, "s", "estimated", "roofline over the builder's layers")


def tables(texts: Sequence[str], models: Sequence[ir.Model], machine: Machine) -> tuple[Table, ...]:
    """Return the layers of the first optimization profiles; raises UnreadableError.

    Args:
        texts: the builder's messages that list layers; there must be one.
        models: the network, with static shapes, for each of these profiles.
    """
    if len(texts) != 1:
        raise UnreadableError(f"the builder's log has {len(texts)} lists of layers, not one")
    nodes = [{str(node.name): node for node in model.graph} for model in models]
    found = by_profile(parse(texts[0], nodes[0]))
    if len(found) < len(models):
        raise UnreadableError(f"the layers are of {len(found)} profiles, not {len(models)}")
    pairs = zip(found, nodes, strict=False)  # the first ones
    return tuple(_table(layers, named, machine) for layers, named in pairs)


def _table(layers: Sequence[Layer], nodes: Mapping[str, ir.Node], machine: Machine) -> Table:
    works = {name: work_of(node)[0] for name, node in nodes.items() if _works(node)}
    homes = _homes(layers, works)
    placed: dict[int, list[str]] = {}
    for name, index in homes.items():
        placed.setdefault(index, []).append(name)
    reuse = Reuse[str](_footprint(layers))
    rows = []
    for index, layer in enumerate(layers):
        counted = {nodes[name]: works[name] for name in placed.get(index, ())}
        rows.append(_row(layer, [nodes[name] for name in layer.nodes], counted, machine, reuse))
    apart = tuple(name for name in works if name not in homes)
    return Table(tuple(rows), apart, sum(works[name].macs for name in apart))


def _works(node: ir.Node) -> bool:
    """Return whether a node is computed at run time: no view, and not of constants alone."""
    return not is_view(node) and not all(value.is_initializer() for value in inputs_of(node))


def _homes(layers: Sequence[Layer], works: Mapping[str, Work]) -> dict[str, int]:
    """Return the layer, by its index, in which each node's arithmetic counts."""
    homes: dict[str, int] = {}
    for index, layer in enumerate(layers):
        for name in layer.nodes:
            if name not in works:
                continue
            product = layer.multiplies and works[name].macs > 0
            if name not in homes or (product and not layers[homes[name]].multiplies):
                homes[name] = index
    return homes


def _row(
    layer: Layer,
    named: Sequence[ir.Node],
    counted: Mapping[ir.Node, Work],
    machine: Machine,
    reuse: Reuse[str],
) -> Row:
    moved = layer.moved
    if moved is None:
        # By the names of the nodes, for lack of the layer's own tensors.
        reads, written = _boundary(named), 0
    else:
        reads, written = sizes(layer.inputs), _sum(layer.outputs)
    constants = _sum(layer.constants)
    written_names = [item.name for item in layer.outputs]
    memory = reuse.seconds(machine, reads, written_names, written, constants)
    main = max(counted, key=lambda node: counted[node].macs, default=None)
    asked = _asked(main)
    dtype = layer.dtype(asked)
    compute = sum(
        (2 * work.macs + work.ops) / machine.rate(kind_of(node), dtype)
        for node, work in counted.items()
    )
    parts: dict[Limit, float] = {
        "compute": compute,
        "memory": memory,
        "overhead": machine.overhead,
    }
    operators = tuple(map(op_of, named))
    time = StepTime(
        layer.name,
        "+".join(operators),
        "movement" if main is None else kind_of(main),
        tuple(dict.fromkeys(name for node in named for name in origins(node))),
        sum(work.macs for work in counted.values()),
        sum(work.ops for work in counted.values()),
        sum(reads.values()) + written + constants,
        compute,
        memory,
        max(compute, memory) + machine.overhead if layer.runs else 0.0,
        max(parts, key=lambda name: parts[name]) if layer.runs else "none",
    )
    return Row(layer, asked, dtype, operators, time, moved is not None)


def _asked(node: ir.Node | None) -> str:
    """Return the type that the network has a product computed in: the wider one of its operands."""
    if node is None or kind_of(node) not in _PRODUCTS:
        return ""
    return max((_stored(value) for value in node.inputs[:2] if value is not None), key=width)


def _stored(value: ir.Value) -> str:
    """Return the type that a value is stored in: that of the integers, where they stand for it."""
    producer = value.producer()
    if producer is None or op_of(producer) != "DequantizeLinear" or producer.inputs[0] is None:
        return dtype_name(value)
    return dtype_name(producer.inputs[0])


def _sum(tensors: Sequence[Tensor]) -> int:
    return sum(sizes(tensors).values())


def _boundary(named: Sequence[ir.Node]) -> dict[str, int]:
    """Return the bytes of what a group of nodes takes from others, or gives to others."""
    group = set(named)
    found: dict[str, int] = {}
    for node in named:
        for value in inputs_of(node):
            if value.producer() not in group and not value.is_initializer():
                found[str(value.name)] = bytes_of(value)
        for value in outputs_of(node):
            if value.is_graph_output() or any(user not in group for user in value.consumers()):
                found[str(value.name)] = bytes_of(value)
    return found


def _footprint(layers: Sequence[Layer]) -> int:
    """Return the bytes that a run touches: all constants, and the most data that lives at once."""
    constants = sizes(item for layer in layers for item in layer.constants)
    data = sizes(item for layer in layers for item in (*layer.inputs, *layer.outputs))
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, layer in enumerate(layers):
        for item in (*layer.inputs, *layer.outputs):
            first.setdefault(item.name, index)
            last[item.name] = index
    changes = [0] * (len(layers) + 1)
    for name, size in data.items():
        changes[first[name]] += size
        changes[last[name] + 1] -= size
    live = peak = 0
    for change in changes:
        live += change
        peak = max(peak, live)
    return sum(constants.values()) + peak


def _described(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "format": tensor.format,
    }
