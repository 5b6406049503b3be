"""Lists of node names as the text of one option of a pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

#: What names have besides letters and digits, and pipelines' text has no use for.
_PLAIN: Final = "/:._-+[]()"


def joined(names: Iterable[str]) -> str:
    """Return names as one text, separated by semicolons; other characters are per-cent encoded."""
    return ";".join(quote(name, safe=_PLAIN) for name in names)


def separated(text: str) -> tuple[str, ...]:
    """Return the names that `joined` has put together."""
    return tuple(unquote(name) for name in text.split(";") if name)
