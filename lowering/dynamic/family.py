"""A model file at every shape that its inputs may have."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from ..importers.onnx import declared, load
from .ranges import Given, Ranges, Shape, is_dynamic
from .settling import ranges_of


@dataclasses.dataclass(frozen=True)
class Family:
    """One model file and the ranges of its inputs' shapes."""

    path: Path
    ranges: Ranges

    def at(self, shapes: Mapping[str, Shape]) -> ir.Model:
        """Import the model at single shapes; raises as `importers.onnx.load` does."""
        return load(self.path, shapes)


def family_of(path: Path, given: Mapping[str, Given]) -> Family | None:
    """Return the models that the shapes of inputs ask for; None where these ask for a single one.

    Raises:
        ModelError: the file holds no ONNX model.
        UsageError: the ranges contradict the file or each other.
    """
    ranges = ranges_of(given, declared(path)) if is_dynamic(given) else None
    return None if ranges is None else Family(path, ranges)
