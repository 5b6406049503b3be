"""The console that results are shown on, and the look of its tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

_PIPED_WIDTH = 200

#: Columns whose text may take several lines.
_WRAPPED = ("NOTE", "NODE", "REASON")


def console(stderr: bool = False) -> Console:
    """Return a console that never cuts text short in a pipe and takes no markup from data."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table; the columns of `right` stand at their right edge."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column not in _WRAPPED,
        )
    return made
