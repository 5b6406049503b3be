"""What the quantizer did, as text for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from . import tables
from .units import format_bytes

if TYPE_CHECKING:
    from .lowering.quantization.report import Row
    from .quantizer import Quantized


def quantized(found: Quantized, table: bool) -> None:
    """Show what was written, and with `table` what was done to each node."""
    console = tables.console()
    if table:
        console.print(_nodes(found.rows))
    kept(console, found.kept, found.dense)
    before, after = format_bytes(found.source_size), format_bytes(found.size)
    console.print(f"{found.scheme}: constants {after}, in float {before} (exact)")
    if found.sqnr is not None:
        console.print(f"SQNR at the outputs: {found.sqnr:.2f} dB (measured, {found.samples} runs)")
    if found.accuracy is not None:
        console.print(f"top-1: {found.accuracy}, in float {found.source_accuracy} (measured)")
    console.print(f"written to {found.output}", soft_wrap=True)


def kept(
    console: Console, in_float: Mapping[str, str], dense: Mapping[str, str] | None = None
) -> None:
    """Show which nodes stay as they are in a plan of fewer bits, or of sparse weights."""
    for how, nodes in (("in float", in_float), ("dense", dense or {})):
        for name, why in nodes.items():
            console.print(f"{how}: node {name!r}: {why}", soft_wrap=True)


def quantized_json(found: Quantized) -> dict[str, Any]:
    """Return what was written, and what was done to each node, as JSON."""
    sqnr = found.sqnr if found.sqnr is not None and math.isfinite(found.sqnr) else None
    both = (("accuracy", found.accuracy), ("source_accuracy", found.source_accuracy))
    return {
        "output": str(found.output),
        "scheme": found.scheme,
        "passes": found.passes,
        "size": {"value": found.size, "unit": "B", "known": "exact"},
        "source_size": {"value": found.source_size, "unit": "B", "known": "exact"},
        "sqnr": {"value": sqnr, "unit": "dB", "known": "measured", "samples": found.samples},
        **{name: None if item is None else item.to_json() for name, item in both},
        "kept": dict(found.kept),
        "dense": dict(found.dense),
        "nodes": [row.to_json() for row in found.rows],
    }


def _nodes(rows: Sequence[Row]) -> Table:
    right = ["SEEN", "HELD", "SCALE", "ZERO", "WEIGHT SCALES", "SQNR"]
    table = tables.table("NODE", "OPERATOR", "IN", *right, "NOTE", right=right)
    for row in rows:
        table.add_row(
            row.node,
            row.operator,
            row.format,
            _ends(row.seen),
            _ends(row.held),
            f"{row.scale:.4g}" if row.scale is not None else "",
            f"{row.zero_point}" if row.zero_point is not None else "",
            _ends(row.weights),
            f"{row.sqnr:.1f} dB" if row.sqnr is not None else "",
            row.why,
        )
    return table


def _ends(pair: tuple[float, float] | None) -> str:
    if pair is None:
        return ""
    return " .. ".join(f"{end:.4g}" for end in dict.fromkeys(pair))
