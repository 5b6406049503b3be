"""tapeout: compile a trained network for a named device, inside a memory and latency budget.

    import tapeout
    bundle = tapeout.compile("model.onnx", "raspberry-pi-5", "model.bundle")
    options = tapeout.QuantizeOptions("int8", calibration="samples.npz")
    tapeout.quantize("model.onnx", "int8.onnx", options)

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import lazy

if TYPE_CHECKING:
    from .budget import Budget
    from .bundle import Bundle
    from .compiler import compile  # noqa: A004 - as in re.compile
    from .errors import (
        BudgetError,
        MissingToolError,
        ModelError,
        ProfileError,
        TapeoutError,
        UsageError,
        VerificationError,
    )
    from .job import Options
    from .lowering.dynamic.ranges import ShapeRange
    from .quantizer import Quantized, QuantizeOptions, quantize
    from .targets.tuning import Tuning

_HOMES = {
    "Budget": "budget",
    "Bundle": "bundle",
    "BudgetError": "errors",
    "MissingToolError": "errors",
    "ModelError": "errors",
    "Options": "job",
    "ProfileError": "errors",
    "QuantizeOptions": "quantizer",
    "Quantized": "quantizer",
    "ShapeRange": "lowering.dynamic.ranges",
    "TapeoutError": "errors",
    "Tuning": "targets.tuning",
    "UsageError": "errors",
    "VerificationError": "errors",
    "compile": "compiler",
    "quantize": "quantizer",
}

__all__ = [
    "Budget",
    "BudgetError",
    "Bundle",
    "MissingToolError",
    "ModelError",
    "Options",
    "ProfileError",
    "QuantizeOptions",
    "Quantized",
    "ShapeRange",
    "TapeoutError",
    "Tuning",
    "UsageError",
    "VerificationError",
    "compile",
    "quantize",
]

lazy.install()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
