"""A network as a project for high-level synthesis: import, export by hls4ml, compare, write.

import -> canonical, in float -> hls4ml's dialect -> C++ in fixed point -> C simulation -> folder
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .bundle import Tensor
from .data import read_data
from .errors import Problem, UsageError
from .lowering.importers.onnx import load
from .targets.base import Progress
from .targets.fpga.hls.export import Order, Report, export

#: hls4ml's names of AMD's tools. The simulation for Intel's (Quartus) crashes on convolutions.
BACKENDS = ("Vitis", "Vivado")


def export_hls(
    model: str | Path,
    samples: str,
    order: Order,
    output: str | Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress = lambda _: None,
) -> Report:
    """Write a model as an HLS project whose C simulation computes what the model does.

    Args:
        samples: ``FILE.npz[:KEY]``, real inputs: they decide how many bits numbers have before the
            point, and are what the simulation is compared on.
        shapes: of inputs that have none of their own.

    Raises:
        TapeoutError: the subclass says which exit code the command line would give.
    """
    if order.backend not in BACKENDS:
        known = ", ".join(BACKENDS)
        raise UsageError(
            f"no backend {order.backend!r}", [Problem("--backend", f"the backends: {known}")]
        )
    progress(f"importing {Path(model).name}")
    imported = load(Path(model), shapes or {})
    inputs = tuple(Tensor.of(value) for value in imported.graph.inputs)
    feeds = read_data(samples, inputs, labelled=False).feeds
    return export(imported, feeds, order, Path(output), progress)
