"""hls4ml in an environment of its own, with pinned versions.

    python -m tapeout.targets.fpga.hls.environment

makes it (400 MB, under ``$XDG_CACHE_HOME/tapeout/hls``); nothing else installs anything.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from ....errors import MissingToolError, Problem

_REQUIREMENTS: Final = Path(__file__).resolve().with_name("requirements.txt")
_COMMAND: Final = "python -m tapeout.targets.fpga.hls.environment"


def python() -> Path:
    """Return the interpreter of the environment.

    Raises:
        MissingToolError: the environment is not there, or no C++ compiler is.
    """
    problems = []
    if not _mark().is_file():
        problems.append(Problem("hls4ml", "its environment is not there", _COMMAND))
    if shutil.which("g++") is None:
        problems.append(Problem("g++", "not found", "apt-get install g++"))
    if problems:
        raise MissingToolError("an export to HLS needs tools that are missing", problems)
    return _interpreter()


def make() -> None:
    """Make the environment, unless it is there with these very versions."""
    if _mark().is_file():
        return
    sys.stderr.write(f"installing hls4ml into {_folder()}\n")
    venv.create(_folder(), with_pip=True, clear=True)
    pip = [str(_interpreter()), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--requirement", str(_REQUIREMENTS)], check=True)
    _mark().touch()


def _folder() -> Path:
    """Return where the environment of these versions is."""
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "tapeout" / "hls" / digest


def _interpreter() -> Path:
    return _folder() / "bin" / "python"


def _mark() -> Path:
    """Return the file that is there once everything is installed."""
    return _folder() / "installed"


if __name__ == "__main__":
    make()
