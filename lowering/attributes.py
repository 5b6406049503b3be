"""Attributes from Python values, without the search for their kind that onnx-ir does."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

Plain = int | float | str | Sequence[int]


def attribute(name: str, value: Plain) -> ir.Attr:
    """Return the attribute for a number, a text or a sequence of integers."""
    if isinstance(value, int):
        return ir.AttrInt64(name, value)
    if isinstance(value, float):
        return ir.AttrFloat32(name, value)
    if isinstance(value, str):
        return ir.AttrString(name, value)
    return ir.AttrInt64s(name, tuple(value))
