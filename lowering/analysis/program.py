"""The main graph as steps that read and write storages: what order, memory and time are asked of.

A *storage* is memory that one step writes. A *step* is one node, or a chain of nodes that runs as
one loop. Which tensors share memory depends on what the model will be run by, and `Sharing` says
it:

- Views. The output of Reshape, Flatten, Squeeze, Unsqueeze, Identity, BitCast, Dropout, and of a
  Transpose that moves only dimensions of one element, is the storage of its input; it lives as long
  as any of its views. Not so where that would make one memory of a model input (or a constant) and
  a model output, or of two outputs.
- Fusion. An elementwise node joins the step of the node that makes one of its inputs, when nothing
  else reads that value, it is no model output, and the shapes are equal; the value between them
  never lies in memory. The step runs where its last node stood. With any fusion, a quantized
  tensor is written and read as it is stored: QuantizeLinear joins whatever makes its input, and
  DequantizeLinear is a view, as is the Cast of a constant in half precision.
- In place. A step may write its output over an input that dies there, when all its nodes that read
  that input are elementwise, and shape and size in bytes are equal. Memory settles this, because it
  depends on the order.
- The interface. ``apart``: model inputs and outputs have memory of their own all the time, which
  the caller holds. ``arena``: an input lives until it was last read, an output from where it is
  written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final, Literal

import onnx_ir as ir

from ..matching import halved
from ..provenance import origins
from .costs import is_view, traffic
from .operators import Kind, kind_of
from .tensors import (
    bodies_of,
    bytes_of,
    dtype_name,
    inputs_of,
    op_of,
    outputs_of,
    present,
    require_static,
    shape_of,
)

Fusion = Literal["none", "activation", "elementwise"]
Interface = Literal["apart", "arena"]
StorageKind = Literal["input", "output", "intermediate"]

_ARITHMETIC: Final[tuple[Kind, ...]] = (
    "convolution", "depthwise", "matmul", "recurrent", "attention", "pool",
)  # fmt: skip
#: Activations that runtimes know how to write into the operator before them.
_ACTIVATIONS: Final = ("Clip", "Relu", "QuantizeLinear")
_ACTIVATED: Final = ("Add", "Sub", "Mul", "Div")


@dataclasses.dataclass(frozen=True)
class Sharing:
    """What may share memory, as this module's docstring defines it.

    Attributes:
        views: reshapes are views; else they copy.
        in_place: elementwise steps may write over an input that dies there.
        fusion: ``activation``: Clip and Relu join a convolution, matrix product, pool, Add, Sub,
            Mul or Div; ``elementwise``: any elementwise node joins those or an elementwise one.
        interface: where model inputs and outputs live.
    """

    views: bool = True
    in_place: bool = False
    fusion: Fusion = "none"
    interface: Interface = "apart"


#: Each node runs by itself, reshapes move nothing, the caller holds inputs and outputs.
DEFAULT: Final = Sharing()


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """Memory that is written once.

    Attributes:
        values: the tensor that is written, then its views.
        size: bytes.
        held: it lives through the whole run (interface ``apart``).
        kept: it lives until the end, once written: a model output, or an input that nothing reads.
    """

    values: tuple[ir.Value, ...]
    size: int
    kind: StorageKind
    held: bool
    kept: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """What runs at one moment.

    Attributes:
        nodes: one node, or the chain that is fused.
        reads: bytes read of each storage, by its index.
        writes: indices of the storages it writes.
        constants: bytes read of each constant.
        after: indices of the steps that must run before.
        overwrites: those of `reads` that the output may be written over if they die here.
        bodies: what If, Loop or Scan runs inside the step.
        dtype: what it computes in: the element type, as it is stored, of its first input.
    """

    nodes: tuple[ir.Node, ...]
    reads: dict[int, int]
    writes: tuple[int, ...]
    constants: dict[ir.Value, int]
    after: tuple[int, ...]
    overwrites: tuple[int, ...]
    bodies: tuple[Program, ...]
    dtype: str

    @property
    def main(self) -> ir.Node:
        """The node that stands for the step: the first of the chain, whose operator it is."""
        return self.nodes[0]

    @property
    def op(self) -> str:
        """The operators of the chain: ``Conv+Add+Clip``."""
        return "+".join(op_of(node) for node in self.nodes)

    @property
    def origins(self) -> tuple[str, ...]:
        """The names of the nodes in the user's file that the step stands for."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in origins(node)))

    @property
    def written(self) -> int:
        """Bytes it writes; a view writes nothing."""
        return sum(bytes_of(value) for value in outputs_of(self.nodes[-1])) if self.writes else 0

    @property
    def moved(self) -> int:
        """Bytes it reads and writes, constants included."""
        return sum(self.reads.values()) + sum(self.constants.values()) + self.written


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Steps in the order of the graph, and the storages they use."""

    steps: tuple[Step, ...]
    storages: tuple[Storage, ...]
    sharing: Sharing

    def resized(self, size: Callable[[Storage], int]) -> Program:
        """Return the program with other sizes of its storages (another dtype, another batch).

        Bodies are kept. An input that no longer has its output's size is no longer overwritten.
        """
        storages = tuple(dataclasses.replace(item, size=size(item)) for item in self.storages)
        steps = tuple(
            dataclasses.replace(
                step,
                overwrites=tuple(
                    index
                    for index in step.overwrites
                    if storages[index].size == storages[step.writes[0]].size
                ),
            )
            for step in self.steps
        )
        return Program(steps, storages, self.sharing)


def of(model: ir.Model, sharing: Sharing = DEFAULT) -> Program:
    """Return the program of a checked, static model's main graph.

    Raises:
        ModelError: values without a static shape or an element type; all are named.
    """
    require_static(model.graph)
    return of_graph(model.graph, sharing)


def of_graph(graph: ir.Graph, sharing: Sharing) -> Program:
    """Return the program of a graph (the main one, or a body) whose values are static."""
    return _Builder(graph, sharing).program()


class _Builder:
    """Assigns every value a storage, or finds it constant or fused away, then writes the steps."""

    def __init__(self, graph: ir.Graph, sharing: Sharing) -> None:
        self.sharing = sharing
        self.outputs = set(graph.outputs)
        self.chains = _chains(graph, sharing.fusion, self.outputs)
        self.inputs = dict.fromkeys(graph.inputs)
        self.storage: dict[ir.Value, int] = {}
        self.constant: dict[ir.Value, ir.Value] = {}
        self.members: list[list[ir.Value]] = []
        for value in graph.inputs:
            self._new(value)
        for chain in self.chains:
            for value in outputs_of(chain[-1]):
                self._place(chain, value)

    def _new(self, value: ir.Value) -> None:
        self.storage[value] = len(self.members)
        self.members.append([value])

    def _place(self, chain: tuple[ir.Node, ...], value: ir.Value) -> None:
        """Give a step's output the storage (or constant) that it is a view of, or a new one."""
        source = chain[-1].inputs[0] if len(chain) == 1 and chain[-1].inputs else None
        if source is None or not self._shares(chain[-1], source, value):
            self._new(value)
        elif source in self.storage:
            self.storage[value] = self.storage[source]
            self.members[self.storage[source]].append(value)
        else:
            self.constant[value] = self.constant.get(source, source)

    def _shares(self, node: ir.Node, source: ir.Value, value: ir.Value) -> bool:
        shorter = op_of(node) == "DequantizeLinear" or halved(value) is not None
        quantized = self.sharing.fusion != "none" and shorter
        if not quantized and not (self.sharing.views and is_view(node)):
            return False
        if value not in self.outputs:
            return source in self.storage or source in self.constant or source.is_initializer()
        if quantized or source not in self.storage:
            return False
        members = self.members[self.storage[source]]
        return members[0] not in self.inputs and self.outputs.isdisjoint(members)

    def program(self) -> Program:
        read = {
            self.storage[value]
            for chain in self.chains
            for node in chain
            for value in inputs_of(node)
            if value in self.storage
        }
        storages = tuple(
            self._storage(members, index in read) for index, members in enumerate(self.members)
        )
        made: dict[ir.Value, int] = {}
        steps: list[Step] = []
        for index, chain in enumerate(self.chains):
            steps.append(self._step(chain, made, storages))
            made |= dict.fromkeys(outputs_of(chain[-1]), index)
        return Program(tuple(steps), storages, self.sharing)

    def _storage(self, members: list[ir.Value], read: bool) -> Storage:
        outside = not self.outputs.isdisjoint(members)
        kind: StorageKind = (
            "input" if members[0] in self.inputs else "output" if outside else "intermediate"
        )
        held = kind != "intermediate" and self.sharing.interface == "apart"
        kept = held or outside or (kind == "input" and not read)
        return Storage(tuple(members), bytes_of(members[0]), kind, held, kept)

    def _step(
        self, chain: tuple[ir.Node, ...], made: dict[ir.Value, int], storages: tuple[Storage, ...]
    ) -> Step:
        inside = {value for node in chain[:-1] for value in outputs_of(node)}
        written = tuple(
            dict.fromkeys(
                self.storage[value]
                for value in outputs_of(chain[-1])
                if value in self.storage and storages[self.storage[value]].values[0] is value
            )
        )
        reads: dict[int, int] = {}
        constants: dict[ir.Value, int] = {}
        after: dict[int, None] = {}
        for node in chain:
            needed = traffic(node) if written else {}
            for value in inputs_of(node):
                if value in made:
                    after[made[value]] = None
                if value in self.storage and value not in inside:
                    index = self.storage[value]
                    most = storages[index].size
                    reads[index] = min(most, reads.get(index, 0) + needed.get(value, 0))
                elif value in needed and (value in self.constant or value.is_initializer()):
                    root = self.constant.get(value, value)
                    constants[root] = min(bytes_of(root), needed[value])
        return Step(
            chain,
            reads,
            written,
            constants,
            tuple(after),
            self._overwrites(chain, reads, written, storages),
            self._bodies(chain),
            self._dtype(chain[0], storages),
        )

    def _dtype(self, node: ir.Node, storages: tuple[Storage, ...]) -> str:
        value = next(iter(present(node.inputs)), outputs_of(node)[0])
        if value in self.storage:
            value = storages[self.storage[value]].values[0]
        return dtype_name(self.constant.get(value, value))

    def _bodies(self, chain: tuple[ir.Node, ...]) -> tuple[Program, ...]:
        inner = dataclasses.replace(self.sharing, interface="arena")
        return tuple(of_graph(body, inner) for node in chain for body in bodies_of(node))

    def _overwrites(
        self,
        chain: tuple[ir.Node, ...],
        reads: dict[int, int],
        written: tuple[int, ...],
        storages: tuple[Storage, ...],
    ) -> tuple[int, ...]:
        if not self.sharing.in_place or len(written) != 1 or storages[written[0]].held:
            return ()
        target = storages[written[0]]
        shape = shape_of(target.values[0])
        barred = {
            self.storage[value]
            for node in chain
            for value in inputs_of(node)
            if value in self.storage
            and (kind_of(node) != "elementwise" or shape_of(value) != shape)
        }
        return tuple(
            index
            for index in reads
            if index not in barred
            and not storages[index].kept
            and storages[index].size == target.size
        )


def _chains(
    graph: ir.Graph, fusion: Fusion, outputs: set[ir.Value]
) -> tuple[tuple[ir.Node, ...], ...]:
    """Return the nodes of each step; the steps in the order of their last nodes.

    A chain is acyclic when contracted, because each link is the only use of the value between.
    A node without outputs does nothing, and is in no step.
    """
    chain_of: dict[ir.Node, list[ir.Node]] = {}
    position: dict[ir.Node, int] = {}
    for index, node in enumerate(node for node in graph if outputs_of(node)):
        producers = [
            value.producer()
            for value in inputs_of(node)
            if fusion != "none" and _fuses(node, value, fusion, outputs)
        ]
        joined = [producer for producer in producers if producer is not None]
        if joined:
            last = max(joined, key=lambda producer: position[producer])
            chain = chain_of[last]
            chain.append(node)
            chain_of[node] = chain
        else:
            chain_of[node] = [node]
        position[node] = index
    unique = {id(chain): tuple(chain) for chain in chain_of.values()}
    return tuple(sorted(unique.values(), key=lambda chain: position[chain[-1]]))


def _fuses(node: ir.Node, value: ir.Value, fusion: Fusion, outputs: set[ir.Value]) -> bool:
    """Return whether the elementwise `node` can join the step of the node that makes `value`."""
    producer = value.producer()
    if (
        producer is None
        or producer.graph is not node.graph
        or kind_of(node) != "elementwise"
        or op_of(node) == "DequantizeLinear"
        or value in outputs
        or len(outputs_of(producer)) != 1
        or any(use.node is not node for use in value.uses())
        or shape_of(value) != shape_of(outputs_of(node)[0])
    ):
        return False
    kind = kind_of(producer)
    if op_of(node) == "QuantizeLinear":  # the producer writes the quantized value at once
        return not is_view(producer) and op_of(producer) != "DequantizeLinear"
    if fusion == "activation":
        return op_of(node) in _ACTIVATIONS and (
            kind in _ARITHMETIC or op_of(producer) in _ACTIVATED
        )
    return kind in _ARITHMETIC or (kind == "elementwise" and op_of(producer) != "DequantizeLinear")
