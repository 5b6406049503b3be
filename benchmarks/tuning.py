"""Tuning: what `--tune N` gains over what the analysis chooses, on this machine.

Every network is compiled for the runtime TVM with and without tuning, and both engines are timed in
turn, in several rounds of one run: see turns.py. What the tuner found better than the analysis is
listed workload by workload. In a folder that is named, bundles and the log are kept and not made
again, so that engines can be timed apart from their making.

    python benchmarks/tuning.py [NETWORK:PRECISION:THREADS...] [--tune N] [--rounds N] [--keep DIR]
        > benchmarks/results/tuning.md
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cpu_networks import ROOT, Network
from cpu_peers import BundleEngine
from cpu_table import processor
from turns import Job, in_turn, loaded

from tapeout import compiler
from tapeout.bundle import Bundle, opened
from tapeout.profiles import catalog
from tapeout.targets.base import Precision
from tapeout.targets.tuning import Tuning
from tapeout.targets.tvm import tuning_log
from tapeout.targets.tvm.schedules.choices import analysed
from tapeout.targets.tvm.tuning_log import Entry

_CASES: Final = (
    "resnet8_cifar10:fp32:1",
    "vww_mobilenet:fp32:1",
    "mobilenet_v2:fp32:1",
    "resnet_18:fp32:1",
    "resnet8_cifar10:int8:1",
    "vww_mobilenet:int8:1",
    "resnet_18:int8:1",
)

#: A workload is listed from this gain on.
_LISTED: Final = 1.05


@dataclasses.dataclass(frozen=True)
class Case:
    """One network in one precision on so many threads, and where its bundles are."""

    network: Network
    precision: Precision
    threads: int
    folder: Path

    def bundle(self, tuning: Tuning | None) -> Path:
        """Return a bundle, which is made if it is not there."""
        kind = "tuned" if tuning else "analysed"
        output = self.folder / f"{self.network.name}.{self.precision}.{self.threads}.{kind}.bundle"
        if not output.exists():
            options = compiler.Options(
                self.precision,
                "tvm",
                calibration=str(self.network.calibration) if self.precision == "int8" else None,
                plan={"threads": str(self.threads)},
                tuning=tuning,
            )
            compiler.compile(self.network.file, catalog.HOST, output, options=options)
        return output


@dataclasses.dataclass(frozen=True)
class Result:
    """The least seconds of an inference, and the tuned bundle."""

    case: Case
    analysed: float
    tuned: float
    bundle: Bundle

    @property
    def gain(self) -> float:
        return self.analysed / self.tuned

    def row(self) -> str:
        case, found = self.case, self.bundle.manifest.report["tuning"]
        counts = f"{found['workloads']} | {found['chosen']}"
        times = f"{self.analysed * 1e3:.4g} | {self.tuned * 1e3:.4g} | {self.gain:.3f}"
        return f"| {case.network.name} | {case.precision} | {case.threads} | {counts} | {times} |"


def measure(case: Case, tuning: Tuning, rounds: int, seconds: float) -> Result:
    """Time both engines of a case."""
    files = {"analysed": case.bundle(None), "tuned": case.bundle(tuning)}
    feeds = case.network.feeds
    jobs = {name: Job(BundleEngine, file, case.threads, feeds) for name, file in files.items()}
    with loaded(jobs) as (workers, failed):
        if failed:
            raise RuntimeError(f"{case.network.name}: {failed}")
        in_turn(list(workers.values()), rounds, seconds)
    with opened(files["tuned"]) as bundle:
        least = {name: worker.timed.least for name, worker in workers.items()}
        return Result(case, least["analysed"], least["tuned"], bundle)


def better(log: Path) -> Iterator[str]:
    """List the workloads of a log whose choice is clearly better than that of the analysis."""
    entries = [entry for entry in tuning_log.read(log).values() if (entry.gain or 1) >= _LISTED]
    for entry in sorted(entries, key=lambda item: -(item.gain or 1)):
        work, threads = entry.workload, entry.core.threads
        places, strides = ("x".join(map(str, axes)) for axes in (work.places, work.strides))
        what = (
            f"{work.kind} {work.dtype}, {work.taps} taps, strides {strides}, {work.copies} copied"
        )
        size = f"{places}, {work.inputs} to {work.outputs}"
        yield f"| {entry.gain} | {what} | {size} | {threads} | {_changes(entry)} |"


def _changes(entry: Entry) -> str:
    before = dataclasses.asdict(analysed(entry.workload, entry.core.core))
    after = dataclasses.asdict(entry.choice)
    changed = [name for name in before if before[name] != after[name]]
    return ", ".join(f"{name} {before[name]} to {after[name]}" for name in changed)


def report(results: list[Result], tuning: Tuning, rounds: int, seconds: float) -> str:
    """Return everything as Markdown."""
    assert tuning.log is not None
    mean = math.exp(statistics.fmean(math.log(result.gain) for result in results))
    return f"""# Tuning: what it gains over the analysis

`--tune {tuning.alternatives}` on {processor()}, kernels of TVM. Both engines are processes of their
own, timed in turn, {rounds} rounds of one run, {seconds:g} s a turn; a figure is the fastest
inference of all rounds. *Otherwise* are the workloads that are not left to the analysis; where
there are none, both engines are the same. Geometric mean of the gains: {mean:.3f}.

| network | precision | threads | workloads | otherwise | analysed (ms) | tuned (ms) | gain |
|---|---|---|---|---|---|---|---|
{chr(10).join(result.row() for result in results)}

## Workloads that gain {_LISTED} or more

As they were timed in their networks, kernel by kernel. Several integers are one word.

| gain | workload | places, words to channels | threads | changed |
|---|---|---|---|---|
{chr(10).join(better(tuning.log))}"""


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", default=_CASES, metavar="NETWORK:PRECISION:THREADS")
    parser.add_argument("--folder", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--tune", type=int, default=8, metavar="N")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each turn")
    parser.add_argument("--keep", type=Path, help="a folder for bundles and the log")
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = arguments.keep or scratch
        tuning = Tuning(arguments.tune, folder / "tuning.jsonl")
        results = []
        for text in arguments.cases:
            name, precision, threads = text.split(":")
            network = Network(name, scratch, arguments.folder)
            case = Case(network, precision, int(threads), folder)
            results.append(measure(case, tuning, arguments.rounds, arguments.seconds))
            print(results[-1].row(), file=sys.stderr, flush=True)
        print(report(results, tuning, arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
