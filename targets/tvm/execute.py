"""Running a bundle here: in a process of its own, on this processor or an emulated one.

What runs is always this package's own ``run/run.py``, never the copy in the bundle. Of the bundle
the engine is loaded, as native code in that process: whoever calls `execute` has checked that the
bundle is what was built.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import numpy as np

from ...errors import MissingToolError, Problem, TapeoutError, UsageError
from ...profiles.schema import Profile
from ..base import Execution
from . import host, root
from .glue import RUN
from .run.run import write_npz

#: Seconds that a run may take before it counts as hung.
TIMEOUT: Final = 3600.0

_TAIL: Final = 20  # lines of what a failed run printed that are shown

Where = Literal["device", "emulator"]


def cannot_run(profile: Profile) -> Problem | None:
    """Return why a bundle for the device cannot run on this machine as it is; None if it can.

    An emulator that is not installed is such a reason, too; its fix is the commands.
    """
    if problem := _never_runs(profile):
        return problem
    if _where(profile) == "device":
        return None
    problems = root.missing(host.architecture(profile.toolchain.triple))
    if not problems:
        return None
    fixes = " && ".join(problem.fix for problem in problems)
    what = "; ".join(f"{problem.where}: {problem.what}" for problem in problems)
    return Problem(profile.name, f"its emulator is not set up: {what}", fixes)


def execute(
    bundle: Path,
    profile: Profile,
    feeds: Mapping[str, np.ndarray],
    repeat: int = 0,
    timeout: float = TIMEOUT,
) -> Execution:
    """Run a bundle in a process of its own; see `Target.execute`.

    Raises:
        MissingToolError: the emulator, its root or the runtime is not installed.
        UsageError: this machine can neither run nor emulate the device's code, or the feeds do not
            fit the engine; every reason is listed.
        TapeoutError: the engine crashed (the signal is named), failed or did not finish in
            `timeout` seconds.
    """
    if problem := _never_runs(profile):
        raise UsageError(f"a bundle for {profile.name} cannot run on this machine", [problem])
    where = _where(profile)
    architecture = host.architecture(profile.toolchain.triple)
    python = [sys.executable] if where == "device" else root.interpreter(architecture)
    with tempfile.TemporaryDirectory(prefix="tapeout-run-") as scratch:
        directory = Path(scratch)
        write_npz(directory / "input.npz", feeds)
        # Isolated: no variable, no user's site, no module beside the script; -B: the root stays.
        command = [*python, "-I", "-B", str(RUN / "run.py"), "--bundle", str(bundle.resolve())]
        command += ["--input", "input.npz", "--output", "output.npz"]
        command += ["--stats", "stats.json", "--repeat", str(repeat)]
        _run(command, directory, _environment(bundle, profile, where), timeout, bundle)
        stats = json.loads((directory / "stats.json").read_text())
        with np.load(directory / "output.npz", allow_pickle=False) as arrays:
            outputs = {name: arrays[name] for name in arrays.files}
    return Execution(outputs, tuple(stats["latencies"]), stats["peak_memory"], where)


def _never_runs(profile: Profile) -> Problem | None:
    """Return why no program could make this machine run or emulate the code."""
    architecture = host.architecture(profile.toolchain.triple)
    fix = "run it on the device, as run/README.md in the bundle says"
    if architecture in root.RECIPES or _where(profile) == "device":
        return None
    if architecture != host.machine():
        what = f"its code is for {architecture}, and this machine ({host.machine()}) emulates only "
        return Problem(profile.name, what + ", ".join(root.RECIPES), fix)
    lacking = ", ".join(_missing_features(profile))
    return Problem(profile.name, f"its code uses {lacking}, which this processor lacks", fix)


def _where(profile: Profile) -> Where:
    same = host.architecture(profile.toolchain.triple) == host.machine()
    return "device" if same and not _missing_features(profile) else "emulator"


def _missing_features(profile: Profile) -> list[str]:
    return host.missing_features(profile.toolchain, host.CPUINFO.read_text(encoding="utf-8"))


def _environment(bundle: Path, profile: Profile, where: Where) -> dict[str, str]:
    """Return all that the process sees of the environment."""
    plan: dict[str, Any] = json.loads((bundle / "manifest.json").read_bytes())["plan"]
    planned = int(plan["options"].get("threads", profile.threads))
    threads = min(planned, len(os.sched_getaffinity(0)))
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "TVM_NUM_THREADS": str(threads),
    }
    if where == "emulator":
        environment["TVM_BIND_THREADS"] = "0"  # the emulator's own threads run beside them
    return environment


def _run(
    command: list[str], directory: Path, environment: dict[str, str], timeout: float, bundle: Path
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
    error = {2: UsageError, 5: MissingToolError}.get(code, TapeoutError)
    if not said:
        problems = [Problem("", line) for line in lines[-_TAIL:]]
        raise error(f"running {bundle.name} failed with exit code {code}", problems)
    summary, *rest = lines[said[-1] :]
    raise error(summary.removeprefix("run.py: "), [Problem("", line.strip()) for line in rest])
