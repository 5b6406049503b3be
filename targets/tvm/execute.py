"""Whether a bundle's native code runs here, and how: on this processor or an emulated one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from ...errors import Problem, UsageError
from ...profiles.schema import Profile
from .. import emulation, process
from ..base import Execution, Where
from . import host, root

#: The code that loads the engine, here and in the bundles.
ENGINE_CODE: Final = Path(__file__).resolve().parent / "run" / "engine.py"


def cannot_run(profile: Profile) -> Problem | None:
    """Return why a bundle for the device cannot run on this machine as it is; None if it can.

    An emulator that is not installed is such a reason, too; its fix is the commands.
    """
    if problem := _never_runs(profile):
        return problem
    if where_runs(profile) == "device":
        return None
    problems = emulation.missing(root.RECIPES[host.architecture(profile.toolchain.triple)])
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
    timeout: float = process.TIMEOUT,
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
    where = where_runs(profile)
    python = [sys.executable]
    environment = {"TVM_NUM_THREADS": str(process.planned_threads(bundle, profile.threads))}
    if where == "emulator":
        python = emulation.interpreter(root.RECIPES[host.architecture(profile.toolchain.triple)])
    return process.execute(
        bundle,
        ENGINE_CODE,
        feeds,
        where=where,
        python=python,
        environment=environment,
        repeat=repeat,
        timeout=timeout,
    )


def _never_runs(profile: Profile) -> Problem | None:
    """Return why no program could make this machine run or emulate the code."""
    architecture = host.architecture(profile.toolchain.triple)
    fix = "run it on the device, as run/README.md in the bundle says"
    if architecture in root.RECIPES or where_runs(profile) == "device":
        return None
    if architecture != host.machine():
        what = f"its code is for {architecture}, and this machine ({host.machine()}) emulates only "
        return Problem(profile.name, what + ", ".join(root.RECIPES), fix)
    lacking = ", ".join(_missing_features(profile))
    return Problem(profile.name, f"its code uses {lacking}, which this processor lacks", fix)


def where_runs(profile: Profile) -> Where:
    """Return whether this processor runs the device's code, or an emulator would have to."""
    same = host.architecture(profile.toolchain.triple) == host.machine()
    return "device" if same and not _missing_features(profile) else "emulator"


def _missing_features(profile: Profile) -> list[str]:
    return host.missing_features(profile.toolchain, host.CPUINFO.read_text(encoding="utf-8"))
