"""What a bundle carries to run its engine on the device."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

#: The folder of this package, and the one in a bundle.
RUN: Final = Path(__file__).resolve().parent / "run"

_FILES: Final = ("header.py",)


def write_glue(directory: Path) -> None:
    """Write ``run/`` into a bundle's directory."""
    target = directory / RUN.name
    target.mkdir()
    for name in _FILES:
        shutil.copyfile(RUN / name, target / name)
