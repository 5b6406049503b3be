"""Running a bundle here: its Verilog in a simulator, the link to the host included."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from ...errors import MissingToolError, Problem
from ...profiles.schema import Profile
from .. import process
from ..base import Execution
from .run import engine, simulator

#: The code that loads the engine, here and in the bundles.
ENGINE_CODE: Final = Path(engine.__file__).resolve()


def cannot_run(profile: Profile) -> Problem | None:
    """Return why a bundle for the device cannot run on this machine; None if it can."""
    missing = simulator.missing()
    if not missing:
        return None
    packages = " ".join(simulator.TOOLS[tool] for tool in missing)
    return Problem(", ".join(missing), "not found: it simulates", f"apt-get install {packages}")


def execute(
    bundle: Path, profile: Profile, feeds: Mapping[str, np.ndarray], repeat: int = 0
) -> Execution:
    """Run a bundle in the simulator; see `Target.execute` and `process.execute`.

    The latencies are the device's own: cycles that the design counted, at its clock.

    Raises:
        MissingToolError: Verilator or the C++ compiler is not installed.
    """
    if problem := cannot_run(profile):
        raise MissingToolError("the simulator of the hardware is not installed", [problem])
    environment = {engine.VARIABLE: engine.SIMULATOR, simulator.CACHE: str(_cache())}
    return process.execute(
        bundle,
        ENGINE_CODE,
        feeds,
        where="simulator",
        python=[sys.executable],
        environment=environment,
        repeat=repeat,
    )


def _cache() -> Path:
    """Return where compiled simulators are kept, each under the digest of what it is made of."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "tapeout" / "simulators"
