"""Engines timed in turn, each in a process of its own that is pinned to the first cores.

A disturbance that lasts meets all engines, none shares caches, allocators or thread pools with
another, and while one is timed the others wait for a message.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

#: Seconds to load a network, at most: IREE's and OpenVINO's largest take a fraction.
_LOADING: Final = 300

#: Seconds before each turn: thread pools spin on for some milliseconds after their work.
_PAUSE: Final = 0.02

#: Inferences in a turn, at least.
_LEAST: Final = 3


class Engine(Protocol):
    """A loaded network; its methods are called in the process that made it."""

    def __init__(self, file: Path, threads: int, feeds: Mapping[str, np.ndarray]) -> None:
        """Load it and set its inputs; `file` may be a folder."""

    def infer(self) -> Any:
        """Run once on the inputs, by the shortest way that the engine's Python package has."""

    def outputs(self) -> list[np.ndarray]:
        """Run once and return copies of the outputs."""


@dataclasses.dataclass(frozen=True)
class Job:
    """An engine to be made."""

    engine: type[Engine]
    file: Path
    threads: int
    feeds: Mapping[str, np.ndarray]


class EngineError(Exception):
    """An engine that did not load or run: what it said."""


@dataclasses.dataclass
class Timed:
    """The least seconds of one inference in each turn, and what the first inference gave."""

    outputs: list[np.ndarray]
    turns: list[float] = dataclasses.field(default_factory=list)

    @property
    def least(self) -> float:
        """What an inference takes where nothing disturbs it."""
        return min(self.turns)

    @property
    def unrest(self) -> float:
        """How much longer the best inference of the usual turn took than that of the best turn."""
        return statistics.median(self.turns) / self.least - 1


class Worker:
    """The process of one engine."""

    def __init__(self, job: Job) -> None:
        """Load and warm up the engine; raises EngineError if that fails."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, job), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.timed = Timed(self._answer(_LOADING))
        except EngineError:
            self.close()
            raise

    def turn(self, seconds: float) -> None:
        """Time inferences for a while; raises EngineError if one fails."""
        time.sleep(_PAUSE)
        self._pipe.send(seconds)
        self.timed.turns.append(self._answer(_LOADING))

    def close(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def _answer(self, timeout: float) -> Any:
        try:
            if not self._pipe.poll(timeout):
                raise EngineError(f"no answer in {timeout:g} s")
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise EngineError(f"its process ended with {self._process.exitcode}") from None
        if isinstance(answer, str):
            raise EngineError(answer)
        return answer


@contextlib.contextmanager
def loaded(jobs: Mapping[str, Job]) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Load engines by name; gives those that run, and why the others do not."""
    workers: dict[str, Worker] = {}
    failed: dict[str, str] = {}
    try:
        for name, job in jobs.items():
            try:
                workers[name] = Worker(job)
            except EngineError as error:
                failed[name] = str(error)
        yield workers, failed
    finally:
        for worker in workers.values():
            worker.close()


def in_turn(workers: Sequence[Worker], rounds: int, seconds: float) -> None:
    """Time all engines, one after the other, in several rounds."""
    for _ in range(rounds):
        for worker in workers:
            worker.turn(seconds)


def cores(threads: int) -> list[int]:
    """Return the cores that an engine of so many threads may use."""
    return sorted(os.sched_getaffinity(0))[:threads]


def _serve(pipe: Connection, job: Job) -> None:
    os.sched_setaffinity(0, cores(job.threads))
    try:
        engine = job.engine(job.file, job.threads, job.feeds)
        pipe.send(engine.outputs())
        while True:
            pipe.send(_least(engine, pipe.recv()))
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the other process reports it
        pipe.send(f"{type(error).__name__}: {error}")


def _least(engine: Engine, seconds: float) -> float:
    """Return the seconds of the fastest inference among those that fit into a time."""
    engine.infer()  # the caches hold what the other engines left
    least, count, end = math.inf, 0, time.perf_counter() + seconds
    while count < _LEAST or time.perf_counter() < end:
        start = time.perf_counter()
        engine.infer()
        least = min(least, time.perf_counter() - start)
        count += 1
    return least
