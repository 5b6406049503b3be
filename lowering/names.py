"""Lists of node names as the text of one option of a pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

import onnx_ir as ir

from ..errors import Problem, UsageError

#: What names have besides letters and digits, and pipelines' text has no use for.
_PLAIN: Final = "/:._-+[]()"


def joined(names: Iterable[str]) -> str:
    """Return names as one text, separated by semicolons; other characters are per-cent encoded."""
    return ";".join(quote(name, safe=_PLAIN) for name in names)


def separated(text: str) -> tuple[str, ...]:
    """Return the names that `joined` has put together."""
    return tuple(unquote(name) for name in text.split(";") if name)


def kept(model: ir.Model, text: str, option: str) -> set[str]:
    """Return the names of nodes in the text of an option that says which are left as they are.

    Args:
        option: as messages call it: ``halve-weights: keep``.

    Raises:
        UsageError: nodes that are not there; all are named.
    """
    names = set(separated(text))
    if absent := sorted(names - {str(node.name) for node in model.graph}):
        problems = [Problem(f"node {name!r}", "is not in the graph") for name in absent]
        raise UsageError(f"{option} names nodes that are not there", problems)
    return names
