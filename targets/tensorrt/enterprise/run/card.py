"""An engine on a GPU. In a bundle this file is that of TensorRT-RTX itself, which is imported here.

The two libraries have one API, but for how an engine is found and what it tells of itself.
"""

from __future__ import annotations

from ...run import fit
from ...run.engine import Cuda, Engine, UnfitError

__all__ = ["Cuda", "Engine", "UnfitError", "fit"]
