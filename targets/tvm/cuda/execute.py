"""Whether a bundle for a GPU runs here, and how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from ....errors import Problem
from ....profiles.schema import Profile
from ... import nvidia
from ...base import Execution

#: The code that loads the engine, here and in the bundles.
ENGINE_CODE: Final = Path(__file__).resolve().parent / "run" / "engine.py"


def cannot_run(profile: Profile) -> Problem | None:
    """Return why a bundle for the card cannot run on this machine; None if it can."""
    return nvidia.obstacle(profile)


def execute(
    bundle: Path, profile: Profile, feeds: Mapping[str, np.ndarray], repeat: int = 0
) -> Execution:
    """Run a bundle in a process of its own; see `Target.execute`.

    Raises:
        MissingToolError: a library of the runtime is missing.
        UsageError: there is no GPU here, or the feeds do not fit the engine.
        TapeoutError: the engine is not for this GPU, or fails.
    """
    return nvidia.execute(bundle, ENGINE_CODE, profile, feeds, repeat)
