"""Graphs for tests of analyses: the real models with static shapes, and random small ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import onnx
import onnx_ir as ir
from hypothesis import strategies as st

import support


def static(name: str) -> ir.Model:
    """Return one of the real models as exported, with batch 1 and every shape inferred."""
    proto = onnx.load(support.MODELS / f"{name}.onnx")
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del proto.graph.value_info[:]
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def static_text(text: str) -> ir.Model:
    """Return a model given as ONNX text, with every shape inferred."""
    proto = onnx.parser.parse_model(text)
    onnx.checker.check_model(proto)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True))


@st.composite
def random_models(draw: st.DrawFn, most: int = 7) -> ir.Model:
    """Draw a directed acyclic graph of up to `most` nodes over float tensors of random lengths.

    Its nodes are Concat (of anything), Relu and Add (of equal lengths) and Identity (a view), so
    that branches, long lives, views and what may run in place all occur; some values are outputs.
    The lengths do not obey Concat's rule: no analysis of memory looks at it.
    """
    lengths = st.sampled_from([1, 2, 3, 5, 8])
    values = [_value(f"x{i}", draw(lengths)) for i in range(draw(st.integers(1, 2)))]
    inputs, nodes = list(values), []
    for index in range(draw(st.integers(1, most))):
        op = draw(st.sampled_from(["Concat", "Concat", "Relu", "Add", "Identity"]))
        first = draw(st.sampled_from(values))
        alike = [value for value in values if value.shape == first.shape]
        read = {
            "Concat": st.lists(st.sampled_from(values), min_size=1, max_size=3),
            "Add": st.tuples(st.just(first), st.sampled_from(alike)),
        }.get(op, st.tuples(st.just(first)))
        length = draw(lengths) if op == "Concat" else int(first.shape[0])
        result = _value(f"v{index}", length)
        nodes.append(ir.Node("", op, list(draw(read)), outputs=[result], name=f"n{index}"))
        values.append(result)
    made = values[len(inputs) :]
    outputs = [value for value in made if not value.uses() or draw(st.integers(0, 5)) == 0]
    graph = ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 26}, name="random")
    return ir.Model(graph, ir_version=13)


def _value(name: str, length: int) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape([length]), type=ir.TensorType(ir.DataType.FLOAT))


def orders(after: list[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Yield every topological order of a few steps, given what must run before each."""
    for order in itertools.permutations(range(len(after))):
        place = {step: position for position, step in enumerate(order)}
        if all(place[b] < place[s] for s, before in enumerate(after) for b in before):
            yield order
