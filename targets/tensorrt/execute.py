"""Running a bundle here, where a GPU that its engine serves is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import Problem, UsageError
from ...profiles.schema import Profile
from ..base import Execution


def cannot_run(profile: Profile) -> Problem | None:
    """Return why a bundle for the device cannot run on this machine."""
    return Problem(profile.title, "is not in this machine", "see run/README.md in the bundle")


def execute(
    bundle: Path, profile: Profile, feeds: Mapping[str, np.ndarray], repeat: int = 0
) -> Execution:
    """Run a bundle in a process of its own; see `Target.execute`."""
    obstacle = cannot_run(profile)
    raise UsageError(f"{bundle.name} cannot run here", [obstacle] if obstacle else [])
