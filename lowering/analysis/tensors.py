"""Sizes of values, and the check that they are known: what every analysis starts from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx_ir as ir

from ...errors import ModelError, Problem


def _shape(value: ir.Value) -> ir.Shape | None:
    if value.shape is None and value.const_value is not None:
        return ir.Shape(value.const_value.shape.numpy())
    return value.shape


def _dtype(value: ir.Value) -> ir.DataType | None:
    if value.dtype is None and value.const_value is not None:
        return value.const_value.dtype
    return value.dtype


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """Return the static shape; raises ModelError naming the value if it has none."""
    shape = _shape(value)
    if shape is None or not shape.is_static():
        raise ModelError("the analysis needs static shapes", _faults(value))
    return shape.numpy()


def dtype_of(value: ir.Value) -> ir.DataType:
    """Return the element type; raises ModelError naming the value if it has none."""
    dtype = _dtype(value)
    if dtype is None:
        raise ModelError("the analysis needs element types", _faults(value))
    return dtype


def dtype_name(value: ir.Value) -> str:
    """Return the element type as numpy spells it: ``float32``, ``int8``."""
    return str(dtype_of(value).numpy().name)


def elements_of(value: ir.Value) -> int:
    """Return how many elements the value holds."""
    return math.prod(shape_of(value))


def packed(elements: int, bits: int) -> int:
    """Return the bytes of so many elements; those below eight bits lie packed, as in ONNX."""
    return -(-elements * bits // 8)


def bytes_of(value: ir.Value) -> int:
    """Return the bytes the value takes, without padding."""
    return packed(elements_of(value), dtype_of(value).bitwidth)


def op_of(node: ir.Node) -> str:
    """Return the operator as messages name it: ``Conv``, ``tapeout.ConvNhwc``."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def present(values: Iterable[ir.Value | None]) -> list[ir.Value]:
    """Return the values that are there: an optional one that is not is None or has no name."""
    return [value for value in values if value is not None and value.name != ""]


def inputs_of(node: ir.Node) -> list[ir.Value]:
    """Return what the node reads, each once: its inputs and what its bodies take from outside."""
    read = dict.fromkeys(present(node.inputs))
    for body in bodies_of(node):
        read |= dict.fromkeys(_captured(body))
    return list(read)


def outputs_of(node: ir.Node) -> list[ir.Value]:
    """Return the outputs that the node really has."""
    return present(node.outputs)


def bodies_of(node: ir.Node) -> list[ir.Graph]:
    """Return the graphs that the node holds as attributes (If, Loop, Scan)."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found.extend(attribute.as_graphs())
    return found


def _captured(body: ir.Graph) -> list[ir.Value]:
    """Return what the nodes and outputs of a body use but the body does not define."""
    defined = {*body.inputs, *body.initializers.values()}
    used: dict[ir.Value, None] = {}
    for node in body:
        used |= dict.fromkeys(inputs_of(node))
        defined |= set(node.outputs)
    used |= dict.fromkeys(present(body.outputs))
    return [value for value in used if value not in defined]


def values_of(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield every value of a graph and of the bodies inside it, in the order of the graph."""
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from outputs_of(node)
        for body in bodies_of(node):
            yield from values_of(body)


def require_static(graph: ir.Graph) -> None:
    """Raise ModelError, naming every value, unless all have an element type and a static shape."""
    problems = [problem for value in values_of(graph) for problem in _faults(value)]
    if problems:
        raise ModelError("the analysis needs tensors of known type and static shape", problems)


def _faults(value: ir.Value) -> list[Problem]:
    where = f"value {value.name!r}"
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        return [Problem(where, f"is of type {value.type}, not a tensor")]
    shape, dtype = _shape(value), _dtype(value)
    found = []
    if dtype is None or dtype == ir.DataType.UNDEFINED:
        found.append(Problem(where, "has no element type", "run shape inference"))
    elif dtype == ir.DataType.STRING:
        found.append(Problem(where, "holds strings, whose size is not static"))
    if shape is None:
        found.append(Problem(where, "has no shape", "run shape inference"))
    elif not shape.is_static():
        found.append(Problem(where, f"has the shape {shape}", "fix every dimension with --shape"))
    return found


def constant_bytes(model: ir.Model) -> int:
    """Return the bytes of all constants of the main graph."""
    values = model.graph.initializers.values()
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)
