"""What a user asks of tuning, answered: choices from a log or from measurement, and their record.

A bundle holds the choices that it was built with, as a log without anything measured: with that log
the same engine is built anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir

from ...errors import Problem, UsageError
from ...profiles.schema import Profile
from ...version import VERSION
from ..base import Progress
from ..tuning import Tuning
from . import tuning_log
from .build import Outcome, Request, cache_folder
from .execute import where_runs
from .schedules.choices import analysed
from .tuner import tuned
from .tuning_log import CoreKey, Entry

#: The log in a bundle.
LOG: Final = "tuning.jsonl"


def require_usable(profile: Profile, tuning: Tuning) -> None:
    """Raise UsageError if engines cannot be tuned like this for a device, here.

    They cannot be timed where this processor does not run the device's code, and not be built with
    a log that is not there or wrong.
    """
    log = tuning.log
    if tuning.alternatives and where_runs(profile) != "device":
        what = "this processor does not run its code, and times in an emulator mean nothing"
        fix = "tune on the device, and give the log that it makes: --tuning FILE, without --tune"
        raise UsageError("--tune measures on the device", [Problem(profile.name, what, fix)])
    if log is not None and (log.exists() or not tuning.alternatives):
        tuning_log.read(log)


def tuned_request(
    tuning: Tuning,
    model: ir.Model,
    request: Request,
    versions: Mapping[str, str],
    progress: Progress,
) -> Request:
    """Return the request with what the log, or measurement, chooses; new findings are logged.

    Raises:
        UsageError: the log cannot be read or written; names every line that is wrong.
        TapeoutError: an engine that is to be timed cannot be built, or crashes.
    """
    core, log = request.core, tuning.log or _own_log(versions)
    key = CoreKey.of(core)
    lines = tuning_log.read(log) if log.exists() else {}
    known = {work: entry for (owner, work), entry in lines.items() if owner == key}
    if tuning.alternatives:
        asked = tuning.alternatives
        choices, entries = tuned(model, request, versions, core, asked, known, progress)
        if entries:
            tuning_log.add(log, entries)
    else:
        choices = {work: entry.choice for work, entry in known.items()}
    return request.model_copy(update={"choices": tuple(choices.items())})


def recorded(request: Request, outcome: Outcome, directory: Path) -> dict[str, Any]:
    """Write `LOG` with the choices that an engine was built with; return what a report says.

    That is how many workloads there are, for how many of them the log has a choice, and how many of
    these are others than those of the analysis.
    """
    core, works = request.core, outcome.tunable
    used = {work: choice for work, choice in request.choices if work in works}
    entries = [
        Entry(core=CoreKey.of(core), workload=work, choice=choice) for work, choice in used.items()
    ]
    if entries:
        (directory / LOG).write_text(tuning_log.written(entries), encoding="utf-8")
    others = sum(choice != analysed(work, core) for work, choice in used.items())
    return {"tuning": {"workloads": len(works), "logged": len(used), "chosen": others}}


def _own_log(versions: Mapping[str, str]) -> Path:
    """Return this user's log of what was measured with these versions."""
    name = "-".join(
        ("tapeout", VERSION, *(f"{tool}-{of}" for tool, of in sorted(versions.items())))
    )
    return cache_folder("tuning") / f"{name}.jsonl"
