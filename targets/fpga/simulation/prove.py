"""The gate: no hardware is built before its Verilog has computed, in a simulator, what it should.

Two things are shown on real samples: every output is the integer reference's, bit for bit, while
input and output stall at random; and where nothing stalls, every beat of the output comes in the
very cycle that the model of time says.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from ....errors import Problem, VerificationError
from ...base import Progress
from ..elaboration import verilog
from ..hardware.design import Design
from ..network import reference
from ..network.graph import Network
from ..timing import trace as timing
from ..timing.trace import Trace
from . import verilator
from .verilator import UNSTALLED, Port, Run, Simulator, Stalls

#: Frames of the run that never stalls: the first one's latency, and the pace once all is full.
TIMED: Final = 3

#: Of the random stalls; each gets its share of the frames.
SEEDS: Final = (1, 2)

#: Cycles without any transfer, beyond twice a frame's latency, after which a design is stuck.
_PATIENCE: Final = 20_000

_TIMEOUT: Final = 7200.0  # seconds for one run


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What was shown of a design; all of it holds, or there would be an error.

    Attributes:
        simulator: name and version.
        sources: SHA-256 of all files of the design.
        samples: frames that came out bit for bit under random stalls.
        seeds: of those stalls.
        timed: frames without stalls, whose every beat came out in the cycle that was computed.
        latency: cycles from a frame's first beat in to its last one out, both included.
        interval: cycles from one frame to the next, once the design is full.
    """

    simulator: str
    sources: str
    samples: int
    seeds: tuple[int, ...]
    timed: int
    latency: int
    interval: int


def build(design: Design, folder: Path) -> Simulator:
    """Return the simulator of a design's core; its ports are the input's and output's streams.

    Raises:
        MissingToolError: Verilator or the C++ compiler is not installed.
    """
    ports = [
        Port(stream.name, stream.lanes, stream.bits, name == design.input, is_registered=False)
        for name in (design.input, design.output)
        for stream in (design.streams[name],)
    ]
    return verilator.build(verilog.CORE, ports, verilog.sources(design), folder, lead=verilog.LEAD)


def run(
    simulator: Simulator,
    design: Design,
    frames: np.ndarray,
    *,
    stalls: Stalls = UNSTALLED,
    patience: int = _PATIENCE,
) -> Run:
    """Simulate frames, int8 [frames, height, width, channels]; the trace of the output is `m`'s."""
    source, sink = design.streams[design.input], design.streams[design.output]
    beats = verilator.pack(frames.reshape(-1, source.lanes), source.bits)
    return simulator.run(
        {source.name: beats},
        {sink.name: len(frames) * sink.beats},
        stalls=stalls,
        patience=patience,
        timeout=_TIMEOUT,
    )


def prove(
    design: Design, network: Network, frames: np.ndarray, progress: Progress = lambda _: None
) -> Evidence:
    """Show that a design computes what its network says, and when; see the head of this file.

    Args:
        frames: int8 [frames, height, width, channels], quantized samples; at least one.

    Raises:
        MissingToolError: Verilator or the C++ compiler is not installed.
        VerificationError: the design computes something else, at another time or never; names
            the first numbers and cycles that are wrong.
    """
    wanted = reference.run(network, frames)
    predicted = timing.trace(design, TIMED)
    if not predicted.is_complete:
        raise VerificationError("the design stands still for ever: a FIFO is too small")
    patience = _PATIENCE + 2 * predicted.latency()
    number = np.arange(len(frames))
    # Samples by how their run stalls; the first ones again, as often as need be, where none does.
    samples = {Stalls(seed): number[index :: len(SEEDS)] for index, seed in enumerate(SEEDS)}
    samples[UNSTALLED] = np.resize(number, TIMED)
    with tempfile.TemporaryDirectory(prefix="tapeout-prove-") as scratch:
        progress("compiling the simulator")
        simulator = build(design, Path(scratch))
        progress(f"simulating {len(frames)} samples with random stalls, {TIMED} without")
        runs = _run_all(simulator, design, frames, samples, patience)
    problems = [
        problem
        for stalls, found in runs.items()
        for problem in _wrong(design, wanted[samples[stalls]], found, stalls)
    ]
    problems += _late(design, predicted, runs[UNSTALLED])
    if problems:
        raise VerificationError("the hardware does not do what it should", problems)
    return Evidence(
        simulator=verilator.version(),
        sources=digest(verilog.sources(design)),
        samples=len(frames),
        seeds=tuple(stalls.seed for stalls in runs if stalls.seed),
        timed=TIMED,
        latency=predicted.latency(),
        interval=predicted.interval(),
    )


def digest(sources: Mapping[str, str]) -> str:
    """Return the SHA-256 of a design's files."""
    text = json.dumps(dict(sources), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _run_all(
    simulator: Simulator,
    design: Design,
    frames: np.ndarray,
    samples: Mapping[Stalls, np.ndarray],
    patience: int,
) -> dict[Stalls, Run]:
    """Return the runs of these samples, side by side; of those without samples none."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        started = {
            stalls: pool.submit(
                run, simulator, design, frames[chosen], stalls=stalls, patience=patience
            )
            for stalls, chosen in samples.items()
            if len(chosen)
        }
        return {stalls: task.result() for stalls, task in started.items()}


def _wrong(design: Design, wanted: np.ndarray, found: Run, stalls: Stalls) -> Iterator[Problem]:
    """Yield what is wrong with a run: it ended too early, broke a rule, gave other numbers."""
    where = f"stalls of seed {stalls.seed}" if stalls.seed else "no stalls"
    sink = design.streams[design.output]
    beats = found.traces[sink.name].beats
    if found.stuck:
        what = f"stands still after {len(beats)} of {len(wanted) * sink.beats} beats of the output"
        yield Problem(where, what)
    yield from (Problem(where, finding) for finding in found.findings)
    packed = verilator.pack(wanted.reshape(-1, sink.lanes), sink.bits)[: len(beats)]
    differing = np.flatnonzero((packed != beats[: len(packed)]).any(axis=1))
    if len(differing):
        first = int(differing[0])
        got = verilator.unpack(beats[first : first + 1], sink.lanes, sink.bits)[0]
        right = wanted.reshape(-1, sink.lanes)[first]
        frame, beat = divmod(first, sink.beats)
        yield Problem(
            where,
            f"{len(differing)} of {len(packed)} beats differ from the integer reference, the first "
            f"is beat {beat} of sample {frame}: {got.tolist()} instead of {right.tolist()}",
        )


def _late(design: Design, predicted: Trace, found: Run) -> Iterator[Problem]:
    """Yield where the output's beats came in other cycles than the model of time says."""
    source, sink = found.traces[design.input].cycles, found.traces[design.output].cycles
    moves = np.asarray(predicted.moves[design.output], np.int64)
    computed = moves - predicted.moves[design.input][0]
    count = min(len(sink), len(computed))
    measured, computed = sink[:count] - source[:1], computed[:count]
    wrong = np.flatnonzero(measured != computed)
    if len(wrong):
        beat = int(wrong[0])
        yield Problem(
            "no stalls",
            f"{len(wrong)} of {count} beats came in other cycles than were computed, the first is "
            f"beat {beat}: cycle {measured[beat]} after the first beat in, not {computed[beat]}",
        )
