"""What a bundle for an FPGA holds: the Verilog, the bitstream where one is made, what runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...profiles.fpga_schema import Fpga
from ..base import Built, Progress
from . import usage
from .elaboration import system, verilog
from .elaboration.inventory import by_layer
from .engines import engine
from .folding.solution import Solution
from .glue import write_glue
from .hardware.memories import MEMORIES
from .implementation.implement import Implementation, estimate, implement
from .implementation.project import FOLDER, project
from .network.importing import Imported
from .run.engine import FACTS, SOURCES


def assemble(
    model: Imported,
    solution: Solution,
    fpga: Fpga,
    directory: Path,
    progress: Progress,
    *,
    is_built: bool,
) -> Built:
    """Write a bundle's files; see `Target.build`.

    Args:
        is_built: whether a bitstream is made.
    """
    design = solution.design
    parameters = system.parameters(design, MEMORIES[fpga.family])
    _write(directory / SOURCES, {**verilog.sources(design), **verilog.modules(["system"])})
    if fpga.board is not None:
        _write(directory / FOLDER, project(fpga, parameters))
    write_glue(directory, model, design, fpga)
    report: dict[str, Any] = {"engines": engines(solution)}
    if not is_built:
        if fpga.board is not None and not fpga.is_open:
            netlist = estimate(fpga, design, parameters, progress)
            report |= {"synthesis": dataclasses.asdict(netlist)}
        return Built(FACTS, usage.estimated(solution, fpga), {}, "deferred", report)
    made = implement(fpga, design, parameters, progress)
    (directory / made.name).write_bytes(made.bitstream)
    report |= {"implementation": _told(made)}
    found = usage.exact(solution, fpga, len(made.bitstream), made.name)
    return Built(made.name, found, made.versions, report=report)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")


def _told(made: Implementation) -> dict[str, Any]:
    """Return what place and route said, as JSON."""
    return {**made.layout.to_json(), "seed": made.seed, "digest": made.digest}


def engines(solution: Solution) -> list[dict[str, Any]]:
    """Return what each layer became, as JSON: in the order of the flow."""
    network, costs = solution.network, by_layer(solution.design)
    rows = []
    for layer in network.layers:
        folding = solution.point.foldings[layer.name]
        rows.append(
            {
                "layer": layer.name,
                "operator": type(layer).__name__,
                "shape": list(layer.output.shape),
                "pe": folding.pe,
                "simd": folding.simd,
                "cycles": engine(layer, network).period(layer, folding, network),
                **dataclasses.asdict(costs[layer.name]),
            }
        )
    return rows
