"""Running a bundle here: LiteRT takes the same file on every processor.

On a processor of another kind than the device's the numbers and times are those of the runtime's
kernels for this processor. A phone is always stood in for: its bundles are for
Android, and what a delegate there computes is computed here by the kernels for the cores.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from ...errors import Problem
from ...profiles.schema import Profile
from .. import process
from ..base import Execution

#: The code that loads the engine, here and in the bundles.
ENGINE_CODE: Final = Path(__file__).resolve().parent / "run" / "engine.py"

INSTALL: Final = "pip install 'tapeout[mobile]'"


def cannot_run(profile: Profile) -> Problem | None:
    """Return why a bundle cannot run on this machine: LiteRT is not installed."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return Problem("ai-edge-litert", "is not installed", INSTALL)
    return None


def execute(
    bundle: Path, profile: Profile, feeds: Mapping[str, np.ndarray], repeat: int = 0
) -> Execution:
    """Run a bundle in a process of its own; see `Target.execute` and `process.execute`."""
    processor = profile.toolchain.triple.partition("-")[0]
    same = processor == platform.machine() and profile.android is None
    return process.execute(
        bundle,
        ENGINE_CODE,
        feeds,
        where="device" if same else "host",
        python=[sys.executable],
        environment={},
        repeat=repeat,
    )
