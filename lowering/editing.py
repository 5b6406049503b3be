"""The edits that rewriting passes make.

Each leaves the graph valid, new values with a dtype and a static shape, new names unique and
derived from what they replace, and every new node with its provenance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from . import provenance

Attributes = Mapping[str, int | float | str | Sequence[int] | Sequence[float] | ir.Attr]


class Editor:
    """Edits one model for the length of one pass.

    Attributes:
        modified: whether anything was changed.
        grown: bytes of constants added so far, less those that were dropped.
    """

    def __init__(self, model: ir.Model) -> None:
        self.modified = False
        self.grown = 0
        self._names: set[str] = set()
        self._order: dict[ir.Node, int] = {}
        for graph in model.graphs():
            self._names.update(str(value.name) for value in graph.inputs)
            self._names.update(graph.initializers)
            for node in graph:
                self._order[node] = len(self._order)
                self._names.update(str(value.name) for value in node.outputs)
        self._node_names = {str(node.name) for node in self._order}

    def result(self, model: ir.Model) -> ir.passes.PassResult:
        """Return what the pass that made these edits returns."""
        return ir.passes.PassResult(model, self.modified)

    def constant(
        self, near: ir.Node, name: str, array: np.ndarray, dtype: ir.DataType | None = None
    ) -> ir.Value:
        """Add the initializer ``near/name`` to the graph of the node `near`.

        The array is not copied, and a view stays a view, unless it must be converted to `dtype`.
        """
        if near.graph is None:
            raise ValueError(f"node {near.name!r} belongs to no graph")
        if dtype is not None:
            array = np.asarray(array).astype(dtype.numpy(), copy=False)
        tensor = ir.Tensor(array, dtype=dtype, name=_unique(f"{near.name}/{name}", self._names))
        value = ir.val(tensor.name, const_value=tensor)
        near.graph.register_initializer(value)
        self.grown += tensor.nbytes
        self.modified = True
        return value

    def insert(
        self,
        before: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        name: str,
        dtype: ir.DataType | None,
        shape: Sequence[int] | None,
    ) -> ir.Value:
        """Insert ``before/name``, a node that helps to replace `before`; return its output."""
        name = f"{before.name}/{name}"
        output = ir.val(_unique(name, self._names), dtype, shape)
        node = ir.node(
            op_type, inputs, attributes, outputs=[output], name=_unique(name, self._node_names)
        )
        self._place(node, before, [before])
        return output

    def insert_several(
        self,
        before: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        outputs: Sequence[tuple[str, ir.DataType, Sequence[int] | None]],
    ) -> list[ir.Value]:
        """Insert a node as `insert` does; return its outputs, given by name, dtype and shape."""
        values = [
            ir.val(_unique(f"{before.name}/{name}", self._names), dtype, shape)
            for name, dtype, shape in outputs
        ]
        name = _unique(str(values[0].name), self._node_names)
        self._place(ir.node(op_type, inputs, outputs=values, name=name), before, [before])
        return values

    def follow(
        self,
        value: ir.Value,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        name: str,
        dtype: ir.DataType | None,
        shape: Sequence[int] | None,
        sources: Sequence[ir.Node],
    ) -> ir.Value:
        """Insert a node right behind `value`: behind the node that gives it, or first in the graph.

        It stands for what the `sources` stand for. Return its output, which nothing reads yet.
        """
        graph, producer = value.graph, value.producer()
        if graph is None:
            raise ValueError(f"the value {value.name!r} belongs to no graph")
        output = ir.val(_unique(name, self._names), dtype, shape)
        node = ir.node(
            op_type, inputs, attributes, outputs=[output], name=_unique(name, self._node_names)
        )
        provenance.record(node, sources)
        if producer is not None:
            graph.insert_after(producer, node)
        else:
            graph.insert_before(graph[0], node)
        self._order[node] = self._order[producer if producer is not None else sources[0]]
        self.modified = True
        return output

    def interpose(
        self,
        value: ir.Value,
        op_type: str,
        attributes: Attributes | None = None,
        *,
        name: str,
        shape: Sequence[int] | None,
    ) -> ir.Value:
        """Insert a node that reads `value` and is read wherever `value` was; return its output.

        `value`, which a node gives, may then change its shape. Where it was the graph's output, the
        new output is in its place, and has its name.
        """
        producer = value.producer()
        if producer is None or producer.graph is None:
            raise ValueError(f"no node of a graph gives the value {value.name!r}")
        output = ir.val(_unique(name, self._names), value.dtype, shape)
        if value.is_graph_output():
            value.name, output.name = output.name, value.name
        value.replace_all_uses_with(output, replace_graph_outputs=True)
        node = ir.node(
            op_type, [value], attributes, outputs=[output], name=_unique(name, self._node_names)
        )
        provenance.record(node, [producer])
        producer.graph.insert_after(producer, node)
        self._order[node] = self._order[producer]
        self.modified = True
        return output

    def replace(
        self,
        root: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        absorbed: Iterable[ir.Node] = (),
        name: str | None = None,
        domain: str = "",
    ) -> ir.Node:
        """Put one node in the place of `root`, whose first output alone is used, and remove it.

        The new output takes the old one's name, dtype and shape. The nodes `absorbed`, which the
        new node does the work of too, are removed if nothing uses them any longer, and so are
        constants. The new node is called as `root` was, or `name`: that of an absorbed node.
        """
        old = root.outputs[0]
        output = ir.Value(
            name=old.name,
            shape=old.shape,
            type=old.type,
            metadata_props=dict(old.metadata_props) or None,
        )
        node = ir.node(
            op_type, inputs, attributes, outputs=[output], name=name or root.name, domain=domain
        )
        sources = sorted({root, *absorbed}, key=self._order.__getitem__)
        self._place(node, root, sources)
        old.replace_all_uses_with(output, replace_graph_outputs=True)
        for gone in reversed(sources):
            self.remove_unused(gone)
        return node

    def fold(self, node: ir.Node, tensors: Sequence[ir.TensorProtocol]) -> None:
        """Put constants in the place of a node; `tensors` are those of its outputs with a name.

        A constant takes the name of the output it replaces, but a graph's output stays the output
        of a node: of an Identity.
        """
        graph = node.graph
        if graph is None:
            return
        outputs = [value for value in node.outputs if value.name]
        for old, tensor in zip(outputs, tensors, strict=True):
            name = str(old.name)
            value = ir.Value(
                name=_unique(name, self._names) if old.is_graph_output() else name,
                shape=ir.Shape(tensor.shape.numpy()),
                type=ir.TensorType(tensor.dtype),
                const_value=tensor,
            )
            tensor.name = value.name
            graph.register_initializer(value)
            self.grown += tensor.nbytes
            if old.is_graph_output():
                same = ir.Value(name=name, shape=value.shape, type=value.type)
                identity = ir.node(
                    "Identity", [value], outputs=[same], name=_unique(name, self._node_names)
                )
                self._place(identity, node, [node])
                value = same
            old.replace_all_uses_with(value, replace_graph_outputs=True)
            self.drop_unused(value)
        self.remove_unused(node)

    def bypass(self, old: ir.Value, value: ir.Value) -> None:
        """Let everything that uses `old`, the output of a node, use `value`, which equals it.

        A graph's output keeps its name: `value` takes it or, where it cannot (it is an input, a
        constant, another output, or of an outer graph), the node becomes an Identity of it.
        """
        for user, index in old.uses():
            user.replace_input_with(index, value)
            self.modified = True
        node = old.producer()
        if node is None:
            return
        if not old.is_graph_output() or self._rename(value, old):
            self.remove_unused(node)
        elif len(node.outputs) == 1 and (node.domain, node.op_type) != ("", "Identity"):
            self.replace(node, "Identity", [value])

    def _rename(self, value: ir.Value, old: ir.Value) -> bool:
        """Let `value` be the graph's output in the place of `old`, under its name, if it can."""
        producer, graph = value.producer(), old.graph
        if producer is None or producer.graph is not graph or value.is_graph_output():
            return False
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        value.name = old.name
        return True

    def set_input(self, node: ir.Node, index: int, value: ir.Value) -> None:
        """Let a node read `value` as its input `index`; drop the constant that only it read."""
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        old = node.inputs[index]
        node.replace_input_with(index, value)
        self.modified = True
        if old is not None:
            self.drop_unused(old)

    def remove_unused(self, node: ir.Node) -> None:
        """Remove a node that nothing uses, and the constants that only it used."""
        if node.graph is None or any(
            output.uses() or output.is_graph_output() for output in node.outputs
        ):
            return
        inputs = node.inputs
        node.graph.remove(node, safe=True)
        self.modified = True
        for value in inputs:
            if value is not None:
                self.drop_unused(value)

    def drop_unused(self, value: ir.Value) -> None:
        """Drop a constant that nothing uses."""
        if (
            value.is_initializer()
            and not value.uses()
            and not value.is_graph_output()
            and not value.is_graph_input()
            and value.graph is not None
        ):
            del value.graph.initializers[str(value.name)]
            self.grown -= value.const_value.nbytes if value.const_value is not None else 0
            self.modified = True

    def _place(self, node: ir.Node, before: ir.Node, sources: Sequence[ir.Node]) -> None:
        provenance.record(node, sources)
        if before.graph is not None:
            before.graph.insert_before(before, node)
        self._order[node] = self._order[before]
        self.modified = True


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
