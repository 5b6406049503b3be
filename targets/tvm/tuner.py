"""Tuning: alternatives to what the analysis chooses, timed where they run.

In each step every workload of a network has another alternative, all of them in one engine, that is
timed in turn with the engine of the analysis. What is clearly faster is kept, and its neighbours
are the next alternatives. So a step takes one compilation, however many workloads there are, and
each kernel is timed among those that it runs among.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import onnx_ir as ir

from ...errors import Problem, TapeoutError
from ..base import Progress
from ..process import ending
from .build import ENGINE, Outcome, Request, environment, make_engine
from .schedules.choices import alternatives, analysed
from .schedules.core import Core
from .schedules.workload import Choice, Workload
from .timing_process import ORDER, TIMES, TIMES_OF, Order, Times
from .tuning_log import Choices, CoreKey, Entry

#: What is faster by less may be so by chance: kernels, and whole engines.
MARGIN: Final = 0.03
WHOLE: Final = 0.005

#: Turns of both engines, and seconds of each.
_ROUNDS: Final = 8
_SECONDS: Final = 0.1

_TAIL: Final = 20  # lines of what a failed process printed that are shown


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How many times as fast as the engine of the analysis another one is.

    Attributes:
        gains: of the kernels of each workload.
        gain: of the whole.
    """

    gains: Mapping[Workload, float]
    gain: float


#: Builds an engine with choices, and compares it.
Compare: TypeAlias = Callable[[Choices], Comparison]


@dataclasses.dataclass(frozen=True)
class Finding:
    """A choice that was measured, and how many times as fast it is as that of the analysis."""

    choice: Choice
    gain: float = 1.0


def search(
    works: Collection[Workload], count: int, core: Core, compare: Compare, progress: Progress
) -> dict[Workload, Finding]:
    """Return what is the fastest of so many alternatives of each workload and of the analysis."""
    best = {work: Finding(analysed(work, core)) for work in works}
    tried = {work: {finding.choice} for work, finding in best.items()}
    for number in range(1, count + 1):
        step: dict[Workload, Choice] = {}
        for work, finding in best.items():
            others = alternatives(work, finding.choice, core)
            if (found := next((item for item in others if item not in tried[work]), None)) is None:
                continue
            step[work] = found
            tried[work].add(found)
        if not step:
            break
        progress(f"tuning: alternative {number} of {count} of {len(step)} workloads")
        gains = compare(step).gains
        for work, choice in step.items():
            if gains[work] > best[work].gain * (1 + MARGIN):
                best[work] = Finding(choice, gains[work])
    return best


def confirmed(
    found: Mapping[Workload, Finding], known: Choices, core: Core, compare: Compare
) -> tuple[dict[Workload, Finding], float]:
    """Return findings as they are once all are in one engine, and what that gains.

    What is not faster there is left to the analysis; and all is, if the engine as a whole is not
    clearly faster: then the gain is 1.

    Args:
        known: choices that are made already.
    """
    plain = {work: Finding(analysed(work, core)) for work in found}
    kept = {work: item for work, item in found.items() if item.choice != plain[work].choice}
    while kept or known:
        whole = compare({**known, **{work: item.choice for work, item in kept.items()}})
        lasting = {
            work: Finding(item.choice, whole.gains[work])
            for work, item in kept.items()
            if whole.gains[work] > 1
        }
        if len(lasting) == len(kept):
            clearly = whole.gain > 1 + WHOLE
            return (plain | lasting, whole.gain) if clearly else (plain, 1.0)
        kept = lasting
    return plain, 1.0


def tuned(
    model: ir.Model,
    request: Request,
    versions: Mapping[str, str],
    core: Core,
    asked: int,
    known: Mapping[Workload, Entry],
    progress: Progress,
) -> tuple[Choices, list[Entry]]:
    """Return the choices for an engine that was tuned, and what was found out.

    Args:
        request: what the engine is for.
        core: of the request.
        asked: so many alternatives of each workload are to be tried.
        known: what was found out before, for this core.

    Raises:
        TapeoutError: an engine cannot be built, or crashes.
    """
    with tempfile.TemporaryDirectory(prefix="tapeout-tuning-") as scratch:
        progress("tuning: compiling what the analysis chooses")
        bench = _Workbench(model, request, versions, Path(scratch))
        done = {
            work: known[work].choice
            for work in bench.works
            if work in known and (known[work].tried or 0) >= asked
        }
        works = [work for work in bench.works if work not in done]
        found = search(works, asked, core, bench.compare, progress)
        progress("tuning: comparing the whole")
        settled, gain = confirmed(found, done, core, bench.compare)
    entries = [
        Entry(
            core=CoreKey.of(core),
            workload=work,
            choice=item.choice,
            gain=round(item.gain, 3),
            tried=asked,
        )
        for work, item in settled.items()
    ]
    progress(f"tuning: {gain:.2f} times as fast as what the analysis chooses")
    choices = {work: item.choice for work, item in settled.items()}
    return ({**done, **choices} if gain > 1 else choices), entries


class _Workbench:
    """Where the engines of a model are built and timed.

    Attributes:
        works: what can be tuned.
    """

    def __init__(
        self, model: ir.Model, request: Request, versions: Mapping[str, str], folder: Path
    ) -> None:
        self._model = model
        self._request = request
        self._versions = versions
        self._folder = folder
        self._file, self._outcome = self._built({}, "analysed")
        self.works = self._outcome.tunable

    def compare(self, choices: Choices) -> Comparison:
        """Build an engine with these choices, and time it in turn with that of the analysis."""
        file, outcome = self._built(choices, "chosen")
        base, other = self._timed({self._file: self._outcome, file: outcome})
        shutil.rmtree(file.parent)
        before, after = _by_workload(base, self._outcome), _by_workload(other, outcome)
        gains = {work: seconds / after[work] for work, seconds in before.items()}
        return Comparison(gains, base.total / other.total)

    def _built(self, choices: Choices, name: str) -> tuple[Path, Outcome]:
        directory = self._folder / name
        directory.mkdir()
        asked = {"choices": tuple(choices.items()), "steps": True}
        request = self._request.model_copy(update=asked)
        outcome = make_engine(self._model, request, self._versions, directory, lambda _: None)
        return directory / ENGINE, outcome

    def _timed(self, engines: Mapping[Path, Outcome]) -> list[Times]:
        """Time engines in a process of its own: they are native code."""
        threads = self._request.threads
        order = Order(
            engines={file: len(outcome.workloads) for file, outcome in engines.items()},
            inputs=tuple(map(_described, self._model.graph.inputs)),
            outputs=tuple(map(_described, self._model.graph.outputs)),
            threads=threads,
            rounds=_ROUNDS,
            seconds=_SECONDS,
        )
        (self._folder / ORDER).write_text(order.model_dump_json(), encoding="utf-8")
        count = {"TVM_NUM_THREADS": str(threads)}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tapeout.targets.tvm.timing_process"],
            cwd=self._folder,
            env=environment(self._folder) | count,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            said = done.stdout.decode(errors="replace").strip().splitlines()[-_TAIL:]
            summary = f"an engine {ending(done.returncode)} while it was timed"
            raise TapeoutError(summary, [Problem("", line) for line in said])
        return TIMES_OF.validate_json((self._folder / TIMES).read_bytes())


def _described(value: ir.Value) -> tuple[str, tuple[int, ...], str]:
    """Return name, shape and dtype of an input or output."""
    if value.name is None or value.shape is None or value.dtype is None:
        raise ValueError(f"the model left {value} without name, shape or dtype")
    return value.name, tuple(map(int, value.shape.numpy())), value.dtype.numpy().name


def _by_workload(times: Times, outcome: Outcome) -> dict[Workload, float]:
    """Return the seconds of each workload in one inference."""
    found: dict[Workload, float] = dict.fromkeys(outcome.tunable, 0.0)
    for seconds, work in zip(times.calls, outcome.workloads, strict=True):
        if work is not None:
            found[work] += seconds
    return found
