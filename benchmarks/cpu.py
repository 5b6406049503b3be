"""CPU: latency on this machine against ONNX Runtime, LiteRT, OpenVINO and IREE.

Every network is compiled for `host`, for TVM without any tuning and for whichever runtime is the
fastest, and all engines are timed in turn, in several rounds of one run: see turns.py. The peers
are packages of their own (pip install -r benchmarks/cpu_peers.txt); one that is missing is left
out, and the report says so.

    python benchmarks/cpu.py [--models NAME...] [--precision fp32 int8] [--threads 1 2]
        [--rounds N] [--quick] > benchmarks/results/cpu.md
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from cpu_contenders import OURS, PEERS, Case, LeftOutError, Prepared
from cpu_networks import NAMES, ROOT, Network
from cpu_table import Result, report
from turns import Job, in_turn, loaded

#: How far outputs may be from those of ONNX Runtime in float32, as a share of their norm: an engine
#: that computes something else is not compared.
_FAR: Final = {"fp32": 1e-3, "int8": 0.5}


class Turnstile:
    """A file's lock, taken alone for timing and with others for all else."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @contextlib.contextmanager
    def __call__(self, *, alone: bool) -> Iterator[None]:
        if self._path is None:
            yield
            return
        with self._path.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield


def prepared(case: Case, turnstile: Turnstile) -> tuple[dict[str, Prepared], dict[str, str]]:
    """Return what the contenders are timed on, and why those do not take part that do not."""
    found: dict[str, Prepared] = {}
    out: dict[str, str] = {}
    for name, contender in {**OURS, **PEERS}.items():
        try:
            with turnstile(alone=False):
                found[name] = contender.prepare(case)
        except LeftOutError as reason:
            out[name] = str(reason)
    return found, out


def expected(network: Network) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(network.file, providers=["CPUExecutionProvider"])
    return list(session.run(None, network.feeds))


def distance(outputs: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """Return the norm of the difference as a share of the wanted norm."""
    apart = sum(float(np.sum((a - b) ** 2)) for a, b in zip(outputs, wanted, strict=True))
    return float(np.sqrt(apart / sum(float(np.sum(array**2)) for array in wanted)))


def measure(case: Case, rounds: int, seconds: float, turnstile: Turnstile) -> Result:
    """Time all contenders of a case."""
    with contextlib.ExitStack() as stack:
        files, out = prepared(case, turnstile)
        with turnstile(alone=False):
            contenders, feeds = {**OURS, **PEERS}, case.network.feeds
            jobs = {
                name: Job(contenders[name].engine, item.file, case.threads, feeds)
                for name, item in files.items()
            }
            workers, failed = stack.enter_context(loaded(jobs))
            wanted = expected(case.network)
        out |= failed
        for name, worker in list(workers.items()):
            if not (apart := distance(worker.timed.outputs, wanted)) < _FAR[case.precision]:
                out[name] = f"its outputs are {apart:.2g} of their norm off"
                del workers[name]
        with turnstile(alone=True):
            in_turn(list(workers.values()), rounds, seconds)
    return Result(case, {name: item.timed for name, item in workers.items()}, files, out)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--folder", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--precision", nargs="+", choices=list(_FAR), default=list(_FAR))
    parser.add_argument("--threads", nargs="+", type=int, choices=(1, 2), default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each turn")
    parser.add_argument("--quick", action="store_true", help="5 rounds of turns of 0.03 s")
    parser.add_argument("--lock", type=Path, help="a file to hold the lock (flock) of when timing")
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    rounds, seconds = (5, 0.03) if arguments.quick else (arguments.rounds, arguments.seconds)
    turnstile = Turnstile(arguments.lock)
    results: list[Result] = []
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as scratch:
            network = Network(name, Path(scratch), arguments.folder)
            for precision in arguments.precision:
                for threads in arguments.threads:
                    case = Case(network, precision, threads)
                    results.append(measure(case, rounds, seconds, turnstile))
                    print(results[-1].summary(), file=sys.stderr, flush=True)
    print(report(results, rounds, seconds))


if __name__ == "__main__":
    main()
