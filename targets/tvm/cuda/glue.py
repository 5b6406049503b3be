"""What a bundle carries to run its engine on the card: the files of ``run/``, as they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from ...process import RUN as PROGRAM

#: The folder of this package, and the one in a bundle.
RUN: Final = Path(__file__).resolve().parent / "run"

_FILES: Final = (PROGRAM, RUN / "README.md", RUN / "engine.py")


def write_glue(directory: Path) -> None:
    """Write ``run/`` into a bundle's directory: the same bytes for every card."""
    target = directory / RUN.name
    target.mkdir()
    for file in _FILES:
        shutil.copyfile(file, target / file.name)
