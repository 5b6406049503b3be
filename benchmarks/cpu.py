"""CPU: compile time and latency on this machine, against ONNX Runtime with 1 and 2 threads.

Every model is compiled for `host` and each of its runtimes, then the bundle and ONNX Runtime are
timed in turn, in several rounds of one run, so that a drift of the machine meets all of them.
Prints a Markdown table of medians and ratios, and how far the estimated latency was from the
measured one.

    python benchmarks/cpu.py [--models DIR] [--rounds N] > benchmarks/results/cpu.md
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from tapeout import compiler, runner
from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.data import read_npz
from tapeout.numerics import Vectors

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("digits_cnn", "resnet8_cifar10", "kws_dscnn", "ad_autoencoder", "vww_mobilenet")
RUNTIMES = ("tvm", "tflite")
THREADS = (1, 2)


@dataclasses.dataclass(frozen=True)
class Row:
    """The medians of one model, in seconds."""

    name: str
    runtime: str
    compile_time: float
    ours: float
    estimate: float
    reference: dict[int, float]

    def text(self) -> str:
        peers = [
            f"{self.reference[count] * 1e3:.3f} | {self.reference[count] / self.ours:.3f}"
            for count in THREADS
        ]
        off = self.estimate / self.ours
        return (
            f"| {self.name} | {self.runtime} | {self.compile_time:.2f} | {self.ours * 1e3:.3f} | "
            f"{' | '.join(peers)} | {self.estimate * 1e3:.3f} | {off:.2f} |"
        )


def session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def time_reference(
    peer: onnxruntime.InferenceSession, feeds: dict[str, np.ndarray], runs: int
) -> float:
    """Return the median seconds of one inference."""
    peer.run(None, feeds)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        peer.run(None, feeds)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def first_sample(bundle: Bundle) -> dict[str, np.ndarray]:
    inputs = Vectors.of(read_npz(bundle.directory / "test_vectors.npz")).inputs
    return {item.name: inputs[item.name][: item.shape[0]] for item in bundle.manifest.inputs}


def measure(model: Path, runtime: str, scratch: Path, rounds: int, runs: int) -> Row:
    start = time.perf_counter()
    options = compiler.Options(runtime=runtime, plan={"threads": "1"})
    job = compiler.prepare(model, "host", Budget(), options)
    bundle = compiler.build(job, scratch / f"{model.stem}.{runtime}.bundle").bundle
    compile_time = time.perf_counter() - start
    feeds = first_sample(bundle)
    peers = {count: session(model, count) for count in THREADS}
    ours: list[float] = []
    reference: dict[int, list[float]] = {count: [] for count in THREADS}
    for _ in range(rounds):
        ours.append(runner.bench(bundle, runs).latency["p50"])
        for count, peer in peers.items():
            reference[count].append(time_reference(peer, feeds, runs))
    latency = bundle.usage.latency
    return Row(
        model.stem,
        runtime,
        compile_time,
        statistics.median(ours),
        latency.value if latency else math.nan,
        {count: statistics.median(times) for count, times in reference.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=100)
    arguments = parser.parse_args()
    print(
        "| model | runtime | compile s | tapeout ms | ORT 1 thread ms | ratio | ORT 2 threads ms "
        "| ratio | estimate ms | estimate / measured |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        rows = [
            measure(
                arguments.models / f"{name}.onnx",
                runtime,
                Path(scratch),
                arguments.rounds,
                arguments.runs,
            )
            for name in NAMES
            for runtime in RUNTIMES
        ]
    for row in rows:
        print(row.text(), flush=True)
    for runtime, count in itertools.product(RUNTIMES, THREADS):
        ratio = statistics.geometric_mean(
            row.reference[count] / row.ours for row in rows if row.runtime == runtime
        )
        print(f"\nGeometric mean of {runtime} against ONNX Runtime, {count} thread(s): {ratio:.3f}")
    print(
        "\nA ratio over 1 means that tapeout, on one thread, is the faster one. All times are "
        "medians on this machine; the compile time includes the import of the compiler and the "
        "self-check."
    )


if __name__ == "__main__":
    main()
