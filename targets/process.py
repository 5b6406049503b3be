"""Running a bundle here: in a process of its own, by the program that bundles carry.

What runs is always this package's own ``run.py``, with the ``engine.py`` of the target, never the
copies in the bundle. Of the bundle the engine is loaded, in that process: whoever calls `execute`
has checked that the bundle is what was built.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from ..errors import MissingToolError, Problem, TapeoutError, UsageError, VerificationError
from .base import Execution, OnCard, Where
from .run import write_npz

#: The program that every bundle carries.
RUN: Final = Path(__file__).resolve().with_name("run.py")

#: What the C++ programs of the bundles share.
HEADER: Final = RUN.with_suffix(".h")

#: Seconds that a run may take before it counts as hung.
TIMEOUT: Final = 3600.0

#: What an exit code of the program means; any other is a defect.
_ERRORS: Final = {2: UsageError, 5: MissingToolError, 6: VerificationError}

_TAIL: Final = 20  # lines of what a failed run printed that are shown


def execute(
    bundle: Path,
    engine: Path,
    feeds: Mapping[str, np.ndarray],
    *,
    where: Where,
    python: Sequence[str],
    environment: Mapping[str, str],
    repeat: int = 0,
    timeout: float = TIMEOUT,
) -> Execution:
    """Run a bundle in a process of its own; see `Target.execute`.

    Args:
        engine: the file with the class ``Engine`` of the target.
        where: what `python` runs on.
        python: the command that starts Python; an emulator before it, where there is one.
        environment: what the process sees of it, besides PATH and the encoding.

    Raises:
        MissingToolError: the runtime is not installed.
        UsageError: the feeds do not fit the engine; every reason is listed.
        VerificationError: the engine is not what the manifest says, or for another device.
        TapeoutError: the engine crashed (the signal is named), failed or did not finish in
            `timeout` seconds.
    """
    known = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryDirectory(prefix="tapeout-run-") as scratch:
        directory = Path(scratch)
        write_npz(directory / "input.npz", feeds)
        # Isolated: no variable, no user's site, no module beside the script; -B: the root stays.
        command = [*python, "-I", "-B", str(RUN), "--bundle", str(bundle.resolve())]
        command += ["--engine-code", str(engine), "--input", "input.npz", "--output", "output.npz"]
        command += ["--stats", "stats.json", "--repeat", str(repeat)]
        _run(command, directory, {**known, **environment}, timeout, bundle)
        stats = json.loads((directory / "stats.json").read_text())
        with np.load(directory / "output.npz", allow_pickle=False) as arrays:
            outputs = {name: arrays[name] for name in arrays.files}
    latencies = tuple(stats["latencies"])
    return Execution(outputs, latencies, stats["peak_memory"], where, _on_card(stats))


def _on_card(stats: Mapping[str, Any]) -> OnCard | None:
    if "device_memory" not in stats:
        return None
    steps = {step: tuple(seconds) for step, seconds in stats["steps"].items()}
    return OnCard(stats["device_memory"], steps)


def ending(code: int) -> str:
    """Return how a process ended that did not succeed: the signal that it got, or its code."""
    return f"crashed with {signal.Signals(-code).name}" if code < 0 else f"failed with {code}"


def planned_threads(bundle: Path, default: int) -> int:
    """Return the threads of the bundle's plan, as many as there are processors here."""
    plan = json.loads((bundle / "manifest.json").read_bytes())["plan"]
    return min(int(plan["options"].get("threads", default)), len(os.sched_getaffinity(0)))


def _run(
    command: list[str],
    directory: Path,
    environment: Mapping[str, str],
    timeout: float,
    bundle: Path,
) -> None:
    # Into files: what an engine prints without end would otherwise fill this process's memory.
    errors = directory / "stderr"
    with errors.open("wb") as stderr:
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise TapeoutError(
                f"the engine of {bundle.name} did not finish in {timeout:g} s"
            ) from error
    if done.returncode != 0 or not (directory / "stats.json").is_file():
        _fail(done.returncode, _last_lines(errors), bundle)


def _last_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (64 << 10)))
        return file.read().decode(errors="replace").splitlines()


def _fail(code: int, lines: list[str], bundle: Path) -> NoReturn:
    """Raise what an exit code of run.py, or the signal that ended it, means."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ": was there enough memory?" if -code == signal.SIGKILL else ""
        problems = [Problem("", line) for line in lines[-_TAIL:]]
        raise TapeoutError(f"the engine of {bundle.name} crashed with {name}{hint}", problems)
    said = [index for index, line in enumerate(lines) if line.startswith("run.py: ")]
    error = _ERRORS.get(code, TapeoutError)
    if not said:
        problems = [Problem("", line) for line in lines[-_TAIL:]]
        raise error(f"running {bundle.name} failed with exit code {code}", problems)
    summary, *rest = lines[said[-1] :]
    raise error(summary.removeprefix("run.py: "), [Problem("", line.strip()) for line in rest])
