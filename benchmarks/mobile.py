"""Phones: compile time and memory beside onnx2tf, latency on LiteRT, and how far the estimate is.

onnx2tf is installed into an environment of its own (2.6 GB, pinned in onnx2tf.txt). Whatever is
compared is measured in turn, in several rounds of one run, so that a drift of the machine meets
all of it. The networks with random weights are those of the tests.

    python benchmarks/mobile.py [--models DIR] [--rounds N] -o FILE.md
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx2tf_peer
from litert_timing import Timed, timed_in_turn
from processes import Cost, cost_of

from tapeout import compiler
from tapeout.budget import Budget
from tapeout.job import Options
from tapeout.planner import Candidate
from tapeout.profiles import catalog
from tapeout.targets.base import Io, Precision
from tapeout.targets.tflite.lower import to_tflite

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))  # where the networks are generated

import architectures  # noqa: E402 - found by the line above

import networks  # noqa: E402 - as is this

GENERATED: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "mobilenet_v2": networks.mobilenet_v2,
    "resnet_18": architectures.resnet_18,
}
OFFICIAL = ("resnet8_cifar10", "kws_dscnn", "ad_autoencoder", "vww_mobilenet")
REAL = ("digits_cnn", *OFFICIAL)

#: The conversion alone, which is what onnx2tf does: from file to file, in a process of its own.
CONVERT = """
import sys
from pathlib import Path
from tapeout.lowering.importers import load
from tapeout.targets.tflite.lower import to_tflite
from tapeout.targets.tflite.pipeline import pipeline
Path(sys.argv[2]).write_bytes(to_tflite(pipeline().run(load(Path(sys.argv[1])))))
"""

#: Samples that fix the ranges of int8; the latency does not depend on them.
CALIBRATION = 4


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What one way from ONNX to TFLite cost: the median of its runs."""

    name: str
    costs: list[Cost]

    def median(self, field: str) -> float:
        return statistics.median(getattr(cost, field) for cost in self.costs)

    def row(self, model: str, theirs: Conversion) -> str:
        figures = {name: self.median(name) for name in ("wall", "cpu", "peak")}
        ratios = {name: theirs.median(name) / value for name, value in figures.items()}
        return (
            f"| {model} | {self.name} | {len(self.costs)} "
            f"| {figures['wall']:.2f} | {figures['cpu']:.2f} | {figures['peak'] / 2**20:.0f} "
            f"| {ratios['wall']:.0f} | {ratios['cpu']:.0f} | {ratios['peak']:.1f} |"
        )


def conversions(model: Path, environment: Path, scratch: Path, rounds: int) -> list[Conversion]:
    """Convert a model both ways, in turn; the files are ours.tflite and theirs.tflite."""
    theirs = Conversion("onnx2tf", [])
    ours = Conversion("tapeout, the conversion", [])
    whole = Conversion("`tapeout compile`, checked", [])
    program = [sys.executable, "-c", CONVERT, str(model), "ours.tflite"]
    command = [sys.executable, "-m", "tapeout", "compile", str(model), "--device", "host"]
    command += ["--runtime", "tflite", "--precision", "fp32", "--force", "-o", "whole.bundle"]
    cost_of(program, scratch)  # bytecode and file caches are warm in all that follows
    for _ in range(rounds):
        for _ in range(3):
            ours.costs.append(cost_of(program, scratch))
        output = scratch / "theirs.tflite"
        theirs.costs.append(onnx2tf_peer.convert(environment, model, ["image"], output, scratch))
        whole.costs.append(cost_of(command, scratch))
    return [theirs, ours, whole]


def candidate(model: Path, scratch: Path, precision: Precision, io: Io = "auto") -> Candidate:
    """Return a model as it is written for one thread of this machine, with its estimate."""
    [given] = compiler.prepare(model, catalog.HOST, Budget(), Options()).inputs
    samples, shape = scratch / "samples.npz", given.shape
    numbers = np.random.default_rng(0).random((CALIBRATION * shape[0], *shape[1:]), np.float32)
    np.savez(samples, **{given.name: numbers})
    calibration = str(samples) if precision == "int8" else None
    options = Options(precision, "tflite", calibration=calibration, io=io)
    found = compiler.plan(compiler.prepare(model, catalog.HOST, Budget(), options))
    return next(item for item in found if dict(item.plan.options).get("threads") == 1)


def estimates(model: Path, scratch: Path, rounds: int) -> list[str]:
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    rows = []
    for precision in precisions:
        found = candidate(model, scratch, precision)
        [timed] = timed_in_turn([to_tflite(found.model)], rounds)
        latency = found.usage.latency
        if latency is None:
            raise RuntimeError(f"{model.stem} has no estimate")
        ratio = latency.value / timed.least
        rows.append(
            f"| {model.stem} | {precision} | {latency.value * 1e3:.3f} | {timed.least * 1e3:.3f} "
            f"| {timed.median * 1e3:.3f} | {ratio:.2f} |"
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def latency_row(name: str, theirs: Timed, ours: Timed) -> str:
    ratios = [first / second for first, second in zip(theirs.times, ours.times, strict=True)]
    return (
        f"| {name} | {theirs.median * 1e3:.3f} | {ours.median * 1e3:.3f} "
        f"| {statistics.median(ratios):.3f} | {theirs.least / ours.least:.3f} |"
    )


def table(head: str, rows: list[str]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, "|" + "---|" * columns, *rows])


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--environment", type=Path, default=ROOT / "build" / "onnx2tf")
    parser.add_argument("--rounds", type=int, default=1, help="conversions with onnx2tf, each")
    parser.add_argument("--repeats", type=int, default=100, help="rounds of inferences")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    onnx2tf_peer.install(arguments.environment)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    load = f"{os.getloadavg()[0]:.1f} running processes on {os.cpu_count()} cores before it began"
    with tempfile.TemporaryDirectory() as name:
        parts = report(arguments, Path(name))
    head = f"# Phones: TFLite\n\n`python benchmarks/mobile.py` on {processor()}, {load}."
    arguments.output.write_text("\n\n".join([head, *parts]) + "\n")


def report(arguments: argparse.Namespace, scratch: Path) -> list[str]:
    integer_rows, float_rows = [], []
    for name in OFFICIAL:
        official = arguments.models / "mlperf_tiny_int8" / f"{name}.tflite"
        ours = candidate(arguments.models / f"{name}.onnx", scratch, "int8", "int8")
        files = [official.read_bytes(), to_tflite(ours.model)]
        integer_rows.append(latency_row(name, *timed_in_turn(files, arguments.repeats)))
    for name, make in GENERATED.items():
        onnx.save(make(), scratch / f"{name}.onnx")
    paths = [arguments.models / f"{name}.onnx" for name in REAL]
    paths += [scratch / f"{name}.onnx" for name in GENERATED]
    estimated = [row for path in paths for row in estimates(path, scratch, arguments.repeats)]
    converted: list[str] = []
    for name in GENERATED:
        model = scratch / f"{name}.onnx"
        ways = conversions(model, arguments.environment, scratch, arguments.rounds)
        converted += [way.row(name, ways[0]) for way in ways]
        print("\n".join(converted[-3:]), file=sys.stderr, flush=True)
        files = [(scratch / f"{who}.tflite").read_bytes() for who in ("theirs", "ours")]
        float_rows.append(latency_row(name, *timed_in_turn(files, arguments.repeats)))
    return [
        CONVERSION_TEXT,
        table(
            "| model | way | runs | s | CPU s | peak MiB | time / | CPU time / | memory / |",
            converted,
        ),
        LATENCY_TEXT,
        table("| float32 | onnx2tf ms | tapeout ms | ratio | ratio of least |", float_rows),
        table("| int8 | official ms | tapeout ms | ratio | ratio of least |", integer_rows),
        ESTIMATE_TEXT,
        table(
            "| model | precision | estimate ms | least ms | median ms | estimate / least |",
            estimated,
        ),
    ]


CONVERSION_TEXT = """## From file to file

Each run is a process of its own; its memory is the sum of the resident sizes of all its processes,
looked at every 10 ms. Medians of the runs. The last three columns say how many times as much
onnx2tf took. Neither checks the numbers of what it writes, but `tapeout compile`, which runs it
beside ONNX Runtime, and measures its arena and its latency. onnx2tf writes a SavedModel and a
float16 file, too, which cannot be turned off. Both keep the channels-first input of the model."""

LATENCY_TEXT = """## Latency of what was written

LiteRT with XNNPACK on one thread of this machine, in one process: its processor time, which other
work on the machine does not count into. One inference, or as many as take 1 ms, of each file in
turn; medians. The ratio is the median of those of neighbours, and over 1 means that ours is the
faster file. The official files are those of MLPerf Tiny; both sides take and give int8."""

ESTIMATE_TEXT = """## The estimate

The roofline model with the figures of targets/tflite/cost.py against LiteRT on one thread of this
machine, in processor time: the least of all rounds, and the median of them."""


if __name__ == "__main__":
    main()
