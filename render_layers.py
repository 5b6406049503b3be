"""The layers of a built engine as text: a report's entry ``layers``, as the manifest has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from .tables import table
from .units import format_bytes, format_seconds

#: Layers of a table that are shown, the slowest; JSON has them all.
_LAYERS: Final = 20

#: Nodes of a layer, or of a list, that are named.
_NODES: Final = 6

_KERNEL: Final = 40  # characters of a kernel's description

_NAME: Final = 48  # characters of a node's name, of which the end says the most

#: What stands between nodes in other numbers, and is named only where there is nothing else.
_BETWEEN: Final = ("QuantizeLinear", "DequantizeLinear")


def show(console: Console, entry: dict[str, Any]) -> None:
    """Show the slowest layers, what they were made of, and in which types products are computed."""
    if "unreadable" in entry:
        console.print(f"layers: {entry['unreadable']}", soft_wrap=True)
    for number, profile in enumerate(entry["profiles"], 1):
        if profile["shapes"]:
            shapes = f"profile {number} of {len(entry['profiles'])}: {profile['shapes']}"
            console.print(shapes, soft_wrap=True)
        console.print(_slowest(profile["rows"]))
        _sum_up(console, profile, entry["capability"])


def show_products(console: Console, entry: dict[str, Any] | None) -> None:
    """Show in which types products are computed, and whether the layers could not be read."""
    if entry is None:
        return
    if "unreadable" in entry:
        console.print(f"layers: {entry['unreadable']}", soft_wrap=True)
    for profile in entry["profiles"][:1]:
        _products(console, profile)


def _slowest(rows: Sequence[dict[str, Any]]) -> Table:
    right = ["MACS", "BYTES", "TIME (estimated)", "SHARE"]
    shown = table("LAYER", "COMPUTES IN", "OUTPUT", *right, "LIMIT", "NODE", right=right)
    ranked = sorted((row for row in rows if row["limit"] != "none"), key=lambda row: -row["share"])
    for row in ranked[:_LAYERS]:
        shown.add_row(
            _kernel(row),
            row["dtype"] if _as_asked(row) else f"{row['dtype']}, not {row['asked']}",
            ", ".join(_data(item) for item in row["outputs"]),
            f"{row['macs']:,}",
            ("" if row["bytes_exact"] else "~") + format_bytes(row["bytes"]),
            format_seconds(row["seconds"]),
            f"{row['share']:.1%}",
            row["limit"],
            _some(_nodes(row)),
        )
    if rest := ranked[_LAYERS:]:
        seconds, share = sum(row["seconds"] for row in rest), sum(row["share"] for row in rest)
        sums = f"{sum(row['macs'] for row in rest):,}", format_bytes(sum(r["bytes"] for r in rest))
        time = format_seconds(seconds), f"{share:.1%}"
        shown.add_row(f"{len(rest)} others", "", "", *sums, *time, "", "--json shows them all")
    return shown


def _kernel(row: dict[str, Any]) -> str:
    """Return the family, and of code that was made for the layer what it computes in a row."""
    if not row["name"].startswith("__myl_"):
        return str(row["family"])
    text = f"{row['family']}: {row['name'].removeprefix('__myl_').rpartition('_myl')[0]}"
    return text if len(text) <= _KERNEL else text[: _KERNEL - 3] + "..."


def _data(tensor: dict[str, Any]) -> str:
    sizes = "x".join("?" if size < 0 else str(size) for size in tensor["shape"])
    return f"{sizes or 'scalar'} {tensor['dtype']}"


def _nodes(row: dict[str, Any]) -> list[str]:
    named = zip(row["nodes"], row["operators"], strict=True)
    main = [name for name, operator in named if operator not in _BETWEEN]
    return main or row["nodes"] or row["made"] or [row["name"]]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NODES
    shown = ", ".join(map(_cut, names[:_NODES]))
    return f"{shown} and {rest} others" if rest > 0 else shown


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"...{name[3 - _NAME :]}"


def _as_asked(row: dict[str, Any]) -> bool:
    return row["asked"] in ("", row["dtype"])


def _sum_up(console: Console, profile: dict[str, Any], capability: str) -> None:
    rows = profile["rows"]
    kernels = [row for row in rows if row["limit"] != "none"]
    streams = len({row["stream"] for row in rows})
    nodes = len({name for row in rows for name in row["nodes"]})
    text = f"{len(kernels)} layers for compute capability {capability}, of {nodes} nodes"
    text += f", on {streams} streams" if streams > 1 else ""
    text += f": {format_seconds(profile['seconds'])} by the roofline over the layers (estimated)"
    console.print(text, soft_wrap=True)
    if not all(row["bytes_exact"] for row in rows):
        console.print("~ by the network's tensors, as the layer's own vary in size")
    if profile["apart"]:
        console.print(f"in no layer: {_some(profile['apart'])}", soft_wrap=True)
    _products(console, profile)


def _products(console: Console, profile: dict[str, Any]) -> None:
    """Say which part of all products is computed in which type, and what is not as asked for."""
    lost = profile["apart_macs"]
    total = sum(profile["macs"].values()) + lost
    if not total:
        return
    counts = [(count, f"in {name}") for name, count in profile["macs"].items()]
    counts += [(lost, "in no layer, and in no time")] if lost else []
    shares = ", ".join(f"{count / total:.1%} {where}" for count, where in counts)
    console.print(f"MACs: {shares}", soft_wrap=True)
    other = [row for row in profile["rows"] if not _as_asked(row)]
    if other:
        part = sum(row["macs"] for row in other) / total
        named = _some([f"{_nodes(row)[0]} in {row['dtype']}" for row in other])
        console.print(f"not in the type asked for, {part:.1%} of the MACs: {named}", soft_wrap=True)
