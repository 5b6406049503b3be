"""The engines of an FPGA's design as text: a report's entries, as the manifest has them."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from .tables import table

_NAME: Final = 48  # characters of a layer's name, of which the end says the most

#: Figures of a cost, and what they are called.
_COST: Final = {"multipliers": "MULT", "blocks": "BRAM", "luts": "LUT", "flip_flops": "FF"}


def show(console: Console, report: dict[str, Any]) -> None:
    """Show what each layer became, what was proven of the design, and what was placed."""
    console.print(_table(report["engines"]))
    told(console, report)


def told(console: Console, report: dict[str, Any]) -> None:
    """Show what was proven of a design, and what place and route said, if there is one."""
    if proof := report.get("proof"):
        console.print(
            f"proven in {proof['simulator']}: {proof['samples']} samples bit for bit under random "
            f"stalls; latency {proof['latency']:,} cycles, a frame each {proof['interval']:,}, "
            "exactly as computed",
            soft_wrap=True,
        )
    if made := report.get("implementation"):
        path = made["path"]
        console.print(
            f"placed and routed: {made['hertz'] / 1e6:.1f} MHz ({_taken(made['cost'])}); the "
            f"longest path, {path['seconds'] * 1e9:.2f} ns, is in {path['layer']}",
            soft_wrap=True,
        )
    if netlist := report.get("synthesis"):
        console.print(f"synthesized by yosys, an estimate of Vivado's: {_taken(netlist)}")


def _taken(cost: dict[str, int]) -> str:
    return ", ".join(f"{cost[figure]:,} {words}" for figure, words in _COST.items())


def _table(rows: list[dict[str, Any]]) -> Table:
    right = ["PE", "SIMD", "CYCLES", *_COST.values()]
    shown = table("OPERATOR", "OUTPUT", *right, "LAYER", right=right)
    for row in rows:
        name = row["layer"]
        shown.add_row(
            row["operator"],
            "x".join(map(str, row["shape"])),
            *(f"{row[figure]:,}" for figure in ("pe", "simd", "cycles", *_COST)),
            name if len(name) <= _NAME else f"...{name[3 - _NAME :]}",
        )
    total = [f"{sum(row[figure] for row in rows):,}" for figure in _COST]
    longest = max(row["cycles"] for row in rows)
    shown.add_row("all", "", "", "", f"{longest:,}", *total, "LUT and FF estimated")
    return shown
