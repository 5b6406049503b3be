"""What a user asks of tuning: choices among an engine's kernels by measurement."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Tuning:
    """How an engine is tuned.

    Attributes:
        alternatives: so many of each workload are timed; 0: what `log` says is used, no more.
        log: the file that findings are read from and added to; None: the user's own.
    """

    alternatives: int
    log: Path | None = None
