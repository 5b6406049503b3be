"""Running a bundle here, where a GPU that its engine serves is at hand.

This path is written against the public API of CUDA and TensorRT-RTX and is untested until it has
run on such a machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from ...errors import MissingToolError, Problem
from ...profiles.schema import Profile
from .. import nvidia
from ..base import Execution

#: The code that loads the engine, here and in the bundles.
ENGINE_CODE: Final = Path(__file__).resolve().parent / "run" / "engine.py"

#: Module -> how to install what brings it.
PACKAGES: Final = {
    "tensorrt_rtx": "pip install 'tapeout[gpu]'",
    "cuda.bindings": "pip install cuda-python==13.0.3",
}


def cannot_run(profile: Profile) -> Problem | None:
    """Return why a bundle for the device cannot run on this machine; None if it can."""
    return nvidia.obstacle(profile) or _no_packages()


def execute(
    bundle: Path, profile: Profile, feeds: Mapping[str, np.ndarray], repeat: int = 0
) -> Execution:
    """Run a bundle in a process of its own; see `Target.execute` and `nvidia.execute`."""
    if nvidia.obstacle(profile) is None and (problem := _no_packages()):
        raise MissingToolError("what runs an engine on a GPU is not installed", [problem])
    return nvidia.execute(bundle, ENGINE_CODE, profile, feeds, repeat)


def _no_packages() -> Problem | None:
    missing = [module for module in PACKAGES if not _is_installed(module)]
    if not missing:
        return None
    fix = " && ".join(PACKAGES[module] for module in missing)
    return Problem(", ".join(missing), "is not installed", fix)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that the module is in
        return False
