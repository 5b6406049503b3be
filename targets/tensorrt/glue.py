"""What a bundle carries to run its engine on the device: the files of ``run/``, as they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from ..process import HEADER
from ..process import RUN as PROGRAM

#: The folder of this package, and the one in a bundle.
RUN: Final = Path(__file__).resolve().parent / "run"

_NAMES: Final = (
    "CMakeLists.txt",
    "README.md",
    "engine.py",
    "fit.h",
    "fit.py",
    "header.py",
    "json.h",
    "main.cc",
    "sha256.h",
)

_FILES: Final = (PROGRAM, HEADER, *(RUN / name for name in _NAMES))


def write_glue(directory: Path) -> None:
    """Write ``run/`` into a bundle's directory: the same bytes for every device."""
    target = directory / RUN.name
    target.mkdir()
    for file in _FILES:
        shutil.copyfile(file, target / file.name)
