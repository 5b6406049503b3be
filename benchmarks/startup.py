"""CPU: how long a network takes to load, against other runtimes, and how long to compile.

Each load happens in a process of its own that has imported the runtime before, in turn with the
others: see startup_load.py. Peers are optional, as in cpu.py.

    python benchmarks/startup.py [--processes N] [--compiles N] > benchmarks/results/startup.md
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from cpu_contenders import OURS, PEERS, Case, Contender, LeftOutError
from cpu_networks import ROOT, Network, architectures
from cpu_table import packages, processor, table

from tapeout import compiler
from tapeout.budget import Budget
from tapeout.job import Options
from tapeout.profiles import catalog

#: Networks with 13, 45 and 97 MiB of weights.
_LOADED: Final = ("mobilenet_v2", "resnet_18", "resnet_50")

_CONTENDERS: Final[Mapping[str, Contender]] = {"ours": OURS["tvm"], **PEERS}

#: So many different convolutions.
_WORKLOADS: Final = (5, 10, 20, 40)

#: The stage that checks an engine, and is no part of making it.
_CHECK: Final = "running the test vectors"

_TEXT: Final = """# CPU: start-up and compilation

On {processor}, {cores} cores. {packages}

## Start-up

One thread, float32, milliseconds. Each load happens in a fresh process that has imported the
runtime and NumPy before, all in turn; the best of {processes} is told. The files were read before:
they come from the system's cache. *Load* is from the files to an engine with its inputs set: for us
the manifest, the library, the weights; for ONNX Runtime a session, for LiteRT an interpreter with
its tensors allocated (it reads our TFLite file). *First* is the first inference, in which memory is
touched for the first time, *later* the best of the next five.

{loads}

## Compilation of ResNet-50

Seconds, without any tuning, the best of {compiles}. To check an engine, {check} in it and in ONNX
Runtime and timing it, comes afterwards, and is no part of the sum.

{stages}

## Compilation by the number of distinct workloads

Chains of 3x3 convolutions over 14x14 images, no two with the same numbers of channels: 16 and 24,
24 and 32, ... Seconds of the same stages, one thread, the best of {compiles}. The line that fits
best is {start:.2f} s + {slope:.3f} s for each convolution.

{growth}"""


def load(contender: Contender, file: Path, inputs: Path) -> list[float]:
    """Return the milliseconds that startup_load.py measures in a process of its own."""
    program = Path(__file__).with_name("startup_load.py")
    command = [sys.executable, program, contender.engine.__name__, file, inputs]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return [float(number) for number in json.loads(done.stdout)]


def loads(network: Network, processes: int) -> list[str]:
    """Return a row of a table for each contender: the best of several loads."""
    files: dict[str, Path] = {}
    for name, contender in _CONTENDERS.items():
        try:
            files[name] = contender.prepare(Case(network, "fp32", 1)).file
        except LeftOutError as reason:
            print(f"{name} is left out: {reason}", file=sys.stderr)
    inputs = network.folder / "inputs.npz"
    np.savez(inputs, **network.feeds)
    found: dict[str, list[list[float]]] = {name: [] for name in files}
    for _ in range(processes):
        for name, file in files.items():
            found[name].append(load(_CONTENDERS[name], file, inputs))
    return [
        f"| {network.name} | {name} | "
        + " | ".join(f"{min(column):.2f}" for column in zip(*rows, strict=True))
        + " |"
        for name, rows in found.items()
    ]


def stages(model: Path, output: Path, threads: int) -> dict[str, float]:
    """Compile a network for this machine; return the seconds of each stage by its name."""
    begun: list[tuple[str, float]] = []

    def progress(line: str) -> None:
        begun.append((line.partition(" (")[0], time.perf_counter()))

    options = Options("fp32", "tvm", plan={"threads": str(threads)})
    job = compiler.prepare(model, catalog.HOST, Budget(), options, progress)
    compiler.build(job, output, force=True)
    progress("")
    return {name: later - start for (name, start), (_, later) in itertools.pairwise(begun)}


def best_stages(model: Path, folder: Path, threads: int, compiles: int) -> dict[str, float]:
    """Return the least seconds of each stage among several compilations."""
    runs = [stages(model, folder / "compiled.bundle", threads) for _ in range(compiles)]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def total(found: Mapping[str, float]) -> float:
    return sum(seconds for name, seconds in found.items() if name != _CHECK)


def distinct(count: int) -> onnx.ModelProto:
    """Return a chain of 3x3 convolutions, each with other numbers of channels."""
    net = architectures.Net("distinct", (1, 16, 14, 14))
    x = "image"
    for k in range(count):
        x = net.conv(x, (16 + 8 * k, 24 + 8 * k), 3)
    return net.model(net.classes(x, 16 + 8 * count, 10), 1, 10)


def stage_rows(found: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the stages of compilations, a column each, and their sum."""
    rows = {name: [run[name] for run in found] for name in found[0] if name != _CHECK}
    rows["all"] = list(map(total, found))
    return [
        f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |"
        for name, cells in rows.items()
    ]


def measured(folder: Path, processes: int, compiles: int) -> str:
    """Measure everything; return the report."""
    networks = [Network(name, folder, ROOT) for name in _LOADED]
    loaded = [row for network in networks for row in loads(network, processes)]
    threads = sorted({1, len(os.sched_getaffinity(0))})
    large = [best_stages(networks[-1].file, folder, count, compiles) for count in threads]
    seconds: dict[int, float] = {}
    for count in _WORKLOADS:
        file = folder / f"distinct{count}.onnx"
        onnx.save(distinct(count), file)
        seconds[count] = total(best_stages(file, folder, 1, compiles))
    slope, start = np.polyfit(list(seconds), list(seconds.values()), 1)
    growth = [
        f"| {count} | {found:.2f} | {start + slope * count:.2f} |"
        for count, found in seconds.items()
    ]
    return _TEXT.format(
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        packages=packages(),
        processes=processes,
        compiles=compiles,
        check=_CHECK,
        loads=table(["network", "", "load", "first", "later"], loaded),
        stages=table(
            ["stage", *(f"for {count} thread{'s' * (count > 1)}" for count in threads)],
            stage_rows(large),
        ),
        start=start,
        slope=slope,
        growth=table(["convolutions", "seconds", "the line"], growth),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=7, help="that load each network")
    parser.add_argument("--compiles", type=int, default=3, help="of each network")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(measured(Path(scratch), arguments.processes, arguments.compiles))


if __name__ == "__main__":
    main()
