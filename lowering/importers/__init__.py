"""Importers: a model file in a standard format to one checked, static-shaped `onnx_ir.Model`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def load(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ir.Model:
    """Return the model of a file; see `importers.onnx.load`, the importer of ``.onnx`` files."""
    from .onnx import load as load_onnx  # heavy: only when there is a model to read

    return load_onnx(path, shapes)
