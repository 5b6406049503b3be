"""Where the operators of an engine run, as text: `targets.placement.Placement` as JSON has it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from .tables import table
from .units import format_bytes, format_seconds

#: Lines of a table that are shown; JSON has them all.
_LINES: Final = 40


def show(console: Console, placement: dict[str, Any]) -> None:
    """Show a row for each operator, equal neighbours as one, and how each split comes out."""
    splits = placement["splits"]
    console.print(_operators(placement["rows"], [split["name"] for split in splits]))
    for split in splits:
        _sum_up(console, split, len(placement["rows"]))
        if len(split["pieces"]) > 1:
            console.print(_pieces(split["pieces"]))
        _note(console, split)


def show_planned(console: Console, placement: dict[str, Any] | None) -> None:
    """Show of a plan that is more than the main processor's how it comes out."""
    if placement is None:
        return
    for split in placement["splits"]:
        if split["planned"]:
            _sum_up(console, split, len(placement["rows"]))
            _note(console, split)


def _operators(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Table:
    shown = table("NODE", "OPERATOR", *names, "REASON")
    runs = [list(run) for _, run in itertools.groupby(rows, _told)]
    for run in runs[:_LINES]:
        reasons = "; ".join(f"{name}: {why}" for name, why in run[0]["reasons"].items())
        shown.add_row(_nodes(run), _kinds(run), *run[0]["where"], reasons)
    if rest := runs[_LINES:]:
        count = sum(len(run) for run in rest)
        shown.add_row(f"{count} others", *[""] * (len(names) + 1), "--json shows them all")
    return shown


def _told(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what neighbours have in common that are shown as one."""
    return (*row["where"], *row["reasons"].items())


def _nodes(run: Sequence[dict[str, Any]]) -> str:
    ends = dict.fromkeys((run[0]["node"], run[-1]["node"]))
    return " .. ".join(ends)


def _kinds(run: Sequence[dict[str, Any]]) -> str:
    kinds = dict.fromkeys(row["operator"] for row in run)
    if len(kinds) > 1:
        return f"{len(run)} operators"
    return f"{run[0]['operator']} x {len(run)}" if len(run) > 1 else str(run[0]["operator"])


def _note(console: Console, split: dict[str, Any]) -> None:
    for note in split["notes"]:
        console.print(f"  note: {note}", soft_wrap=True)


def _sum_up(console: Console, split: dict[str, Any], operators: int) -> None:
    """Say in a line what a place takes of all operators, in how many partitions, and the cost."""
    pieces, name = split["pieces"], split["name"]
    taken = [piece for piece in pieces if piece["where"] == name]
    count = sum(piece["operators"] for piece in taken)
    text = f"{name}{' (planned)' if split['planned'] else ''}: {count} of {operators} operators"
    text += f" in {_number(len(taken), 'partition')} of {len(pieces)}"
    text += f", {format_bytes(split['moved'])} moved"
    seconds = split["seconds"]
    text += "" if seconds is None else f", {format_seconds(seconds)} (estimated)"
    console.print(text, soft_wrap=True)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _pieces(pieces: Sequence[dict[str, Any]]) -> Table:
    right = ["PARTITION", "OPERATORS", "IN", "OUT", "TIME (estimated)"]
    shown = table("PARTITION", "WHERE", *right[1:], "NODE", right=right)
    for index, piece in enumerate(pieces[:_LINES], 1):
        moved = [format_bytes(piece[key]) if piece[key] else "" for key in ("read", "written")]
        seconds = piece["seconds"]
        shown.add_row(
            str(index),
            piece["where"],
            str(piece["operators"]),
            *moved,
            "" if seconds is None else format_seconds(seconds),
            " .. ".join(dict.fromkeys((piece["first"], piece["last"]))),
        )
    if len(pieces) > _LINES:
        shown.add_row("", f"{len(pieces) - _LINES} others", *[""] * 4, "--json shows them all")
    return shown
