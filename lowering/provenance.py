"""Which nodes of the user's file a node comes from, kept through every rewrite.

A node that no pass made is its own origin. A node that a pass made keeps, under the key
``tapeout.from`` of its metadata, the names of the nodes it stands for, in the order of the graph,
separated by commas (a comma or per cent sign inside a name is per-cent encoded).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import onnx_ir as ir

#: The key of `Node.metadata_props`; it is serialized with the model.
KEY: Final = "tapeout.from"


def origins(node: ir.Node) -> tuple[str, ...]:
    """Return the names, in the user's file, of the nodes that `node` stands for."""
    text = node.metadata_props.get(KEY)
    if text is None:
        return (node.name,) if node.name else ()
    return tuple(_decode(name) for name in text.split(",") if name)


def record(node: ir.Node, sources: Iterable[ir.Node]) -> None:
    """Make `node` stand for what the `sources` stand for; they come in the order of the graph."""
    names = dict.fromkeys(name for source in sources for name in origins(source))
    if tuple(names) == (node.name,):
        node.metadata_props.pop(KEY, None)
    elif names:
        node.metadata_props[KEY] = ",".join(map(_encode, names))


def _encode(name: str) -> str:
    return name.replace("%", "%25").replace(",", "%2C")


def _decode(name: str) -> str:
    return name.replace("%2C", ",").replace("%25", "%")
