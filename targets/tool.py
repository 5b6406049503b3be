"""Running a tool of others in a folder: a compiler, a converter, a simulator."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import Problem, TapeoutError
from .process import ending

_TAIL: Final = 20  # lines of what a failed tool printed that are shown

Done = subprocess.CompletedProcess[str]


def call(
    name: str,
    command: Sequence[str],
    folder: Path,
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run a command in a folder; its ``stdout`` is all that it printed, errors among it.

    Args:
        name: the tool's, for people.
        timeout: seconds.
        environment: what it sees of it; this process's by default.

    Raises:
        TapeoutError: it did not finish in time.
    """
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise TapeoutError(f"{name} did not finish in {timeout:g} s") from error


def must(name: str, command: Sequence[str], folder: Path, timeout: float) -> str:
    """Return what a command printed; as `call`, which must succeed.

    Raises:
        TapeoutError: it failed, crashed or did not finish in time; shows its last lines.
    """
    done = call(name, command, folder, timeout)
    if done.returncode != 0:
        raise failed(name, done)
    return done.stdout


def failed(name: str, done: Done) -> TapeoutError:
    """Return the error that says how a tool ended, and what it printed last."""
    lines = done.stdout.splitlines()[-_TAIL:]
    return TapeoutError(f"{name} {ending(done.returncode)}", [Problem("", line) for line in lines])
