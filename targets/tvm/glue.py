"""What a bundle carries to run its engine on the device: the files of ``run/``, as they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from ...profiles.schema import Profile

#: The folder of this package, and the one in a bundle.
RUN: Final = Path(__file__).resolve().parent / "run"

_FILES: Final = ("README.md", "main.cc", "run.py")


def write_glue(directory: Path, profile: Profile) -> None:
    """Write ``run/`` into a bundle's directory: the same bytes for every device.

    Its README says what to install on the architecture of each device.
    """
    target = directory / RUN.name
    target.mkdir()
    for name in _FILES:
        shutil.copyfile(RUN / name, target / name)
