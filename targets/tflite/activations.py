"""The activations that TFLite's operators can apply to their own result."""

from __future__ import annotations

from typing import Final

from ai_edge_litert import schema_py_generated as schema

from ...lowering.clamps import Clamp

_NAMES: Final[dict[tuple[float | None, float | None], str]] = {
    (0.0, None): "RELU",
    (0.0, 6.0): "RELU6",
    (-1.0, 1.0): "RELU_N1_TO_1",
}


def activation_of(clamp: Clamp) -> str | None:
    """Return the name of the activation with these bounds, an operator's too; None if none has."""
    low, high = clamp.low, clamp.high
    key = (None if low is None else float(low), None if high is None else float(high))
    return _NAMES.get(key)


def activation_code(name: str) -> int:
    """Return the number of a fused activation."""
    return int(getattr(schema.ActivationFunctionType, name))
