"""Node tests in processes of their own: a crash is an outcome, not the end."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import select
import signal
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from conformance_cases import node_tests, operators_of
from conformance_runs import STAGES, Outcome, preload, run

#: Seconds for one case.
_TIMEOUT = 120


@dataclasses.dataclass(frozen=True)
class Result:
    """How one case went, by stage: through import, passes and reference, and on each runtime."""

    case: str
    operator: str
    outcomes: Mapping[str, Outcome]


@dataclasses.dataclass
class _Process:
    """A forked process at work on cases, one after the other, and what it said so far."""

    number: int
    tests: list[Any]
    said: bytes = b""


def run_all(tests: Iterable[Any], workers: int) -> Iterator[Result]:
    """Run tests in `workers` forked processes; yields the results of each when it ends.

    The cases of one operator, which often have something in common, go through one process. After
    a crash another one goes on with the next case.
    """
    preload()
    operators = operators_of(node_tests())
    groups: dict[str, list[Any]] = {}
    for test in tests:
        groups.setdefault(operators[test.name], []).append(test)
    shares = [list(groups.values())[number::workers] for number in range(workers)]
    waiting = [list(itertools.chain(*share)) for share in shares if share]
    running: dict[int, _Process] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            running |= _forked(waiting.pop())
        ready, _, _ = select.select(list(running), [], [])
        for reader in ready:
            process = running[reader]
            if said := os.read(reader, 1 << 16):
                process.said += said
                continue
            del running[reader]
            os.close(reader)
            _, status = os.waitpid(process.number, 0)
            found = list(_outcomes(process.said, status))[: len(process.tests)]
            for test, outcomes in zip(process.tests, found, strict=False):
                yield Result(test.name, operators[test.name], outcomes)
            if rest := process.tests[len(found) :]:
                waiting.append(rest)


def _forked(tests: list[Any]) -> dict[int, _Process]:
    """Return a new process at work on `tests`, by what it writes to."""
    reader, writer = os.pipe()
    number = os.fork()
    if number:
        os.close(writer)
        return {reader: _Process(number, tests)}
    os.close(reader)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        with os.fdopen(writer, "wb", buffering=0) as stream:
            for test in tests:
                signal.alarm(_TIMEOUT)
                for stage, outcome in run(test):  # what is written stays, if the next one crashes
                    line = json.dumps([stage, dataclasses.asdict(outcome)])
                    stream.write(line.encode() + b"\n")
                stream.write(_DONE)
    finally:
        os._exit(0)  # never back into what the parent does


#: The line after the last outcome of a case.
_DONE = b"null\n"


def _outcomes(said: bytes, status: int) -> Iterator[dict[str, Outcome]]:
    """Return the outcomes of each case that was begun; the last may have crashed."""
    *cases, unfinished = said.split(_DONE)
    for case in cases:
        yield _by_stage(case)
    crashed = Outcome("failed", f"crashed (wait status {status})")
    yield dict.fromkeys(STAGES, crashed) | _by_stage(unfinished)


def _by_stage(said: bytes) -> dict[str, Outcome]:
    lines = map(json.loads, said.splitlines())
    return {stage: Outcome(**outcome) for stage, outcome in lines}
