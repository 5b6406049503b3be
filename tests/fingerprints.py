"""What a graph computes on given inputs, in one word: equal ones need to be run only once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from tapeout.lowering import provenance


def fingerprint(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> str:
    """Return a digest of the nodes, dtypes, shapes and constants of a model, and of its inputs.

    Names and what notes where a node came from do not count; the order of the nodes does. What
    stands in a subgraph counts with its names, and so do then all others.
    """
    found = hashlib.sha256()
    for part in _parts(model.graph, feeds):
        found.update(repr(part).encode())
    return found.hexdigest()


def _parts(graph: ir.Graph, feeds: Mapping[str, np.ndarray]) -> Iterator[object]:
    numbers: dict[ir.Value, object] = {}
    plain = all(_is_plain(attribute) for node in graph for attribute in node.attributes.values())

    def told(value: ir.Value | None) -> object:
        if value is None:
            return None
        if value.const_value is not None and plain:
            return _array(value.const_value.numpy())
        return numbers.setdefault(value, len(numbers) if plain else value.name)

    def typed(value: ir.Value) -> object:
        return told(value), str(value.dtype), str(value.shape)

    if not plain:
        for name, value in graph.initializers.items():
            yield name, value.const_value and _array(value.const_value.numpy())
    for value in graph.inputs:
        yield typed(value), _array(np.asarray(feeds[str(value.name)]))
    for node in graph:
        kind = (node.domain, node.op_type, node.overload)
        yield kind, [told(value) for value in node.inputs], [typed(out) for out in node.outputs]
        for name in sorted(node.attributes):
            proto = ir.serde.serialize_attribute(node.attributes[name])
            yield proto.SerializeToString(deterministic=True)
        noted = node.metadata_props.items()
        yield sorted(item for item in noted if item[0] != provenance.KEY)
    yield [told(value) for value in graph.outputs]


def _is_plain(attribute: ir.Attr) -> bool:
    return attribute.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _array(array: np.ndarray) -> tuple[str, tuple[int, ...], str]:
    content = np.ascontiguousarray(array).tobytes()
    return str(array.dtype), array.shape, hashlib.sha256(content).hexdigest()
