"""The report of what was measured on CPUs: one table for each precision and number of threads."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from cpu_contenders import OURS, PEERS, Case, Prepared
from turns import Timed

from tapeout.profiles import catalog

_PACKAGES: Final = (
    "apache-tvm",
    "onnxruntime",
    "ai-edge-litert",
    "openvino",
    "iree-base-compiler",
    "iree-base-runtime",
)


@dataclasses.dataclass(frozen=True)
class Result:
    """What came out of one case.

    Attributes:
        timed: by contender.
        prepared: what the contenders were timed on, and what making it took.
        out: why the others did not take part.
    """

    case: Case
    timed: Mapping[str, Timed]
    prepared: Mapping[str, Prepared]
    out: Mapping[str, str]

    @property
    def best_peer(self) -> str | None:
        """The fastest peer's name; None if none took part."""
        peers = [name for name in PEERS if name in self.timed]
        return min(peers, key=lambda name: self.timed[name].least, default=None)

    def ratio(self, ours: str, peer: str | None) -> float | None:
        """Return how many times as long a peer takes; None if one of them did not take part."""
        if peer is None or not {ours, peer} <= self.timed.keys():
            return None
        return self.timed[peer].least / self.timed[ours].least

    def summary(self) -> str:
        """Return one line of progress."""
        times = ", ".join(
            f"{name} {_milliseconds(item.least)}" for name, item in self.timed.items()
        )
        case = self.case
        out = "".join(f"; {name}: {reason[:100]}" for name, reason in self.out.items())
        return f"{case.network.name} {case.precision} {case.threads}: {times}{out}"

    def row(self) -> str:
        times = [
            _milliseconds(self.timed[name].least) if name in self.timed else "-"
            for name in (*OURS, *PEERS)
        ]
        chosen = self.prepared["auto"].runtime if "auto" in self.timed else "-"
        best = self.best_peer
        ratios = [_factor(self.ratio(ours, best)) for ours in OURS]
        return f"| {' | '.join([self.case.network.name, *times, chosen, best or '-', *ratios])} |"


def report(results: Sequence[Result], rounds: int, seconds: float) -> str:
    """Return everything as Markdown."""
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.case.precision, result.case.threads), []).append(result)
    parts = [
        "# CPU: against ONNX Runtime, LiteRT, OpenVINO and IREE",
        _method(rounds, seconds),
        _unrest(results),
        _summary(results, groups),
        *(_section(*group, found) for group, found in groups.items()),
        _arithmetic(results),
        _compilation(results),
        _left_out(results),
    ]
    return "\n\n".join(part for part in parts if part)


def _summary(results: Sequence[Result], groups: Mapping[tuple[str, int], Sequence[Result]]) -> str:
    """Return the geometric means of the ratios: of each precision, and each number of threads."""
    rows = []
    for precision in dict.fromkeys(precision for precision, _ in groups):
        known = {
            str(threads): found for (name, threads), found in groups.items() if name == precision
        }
        if len(known) > 1:
            known["all"] = [result for result in results if result.case.precision == precision]
        for (threads, found), ours in itertools.product(known.items(), OURS):
            means = [_mean([result.ratio(ours, result.best_peer) for result in found])]
            means += [_mean([result.ratio(ours, peer) for result in found]) for peer in PEERS]
            rows.append(f"| {precision} | {threads} | {ours} | {' | '.join(means)} |")
    head = ["precision", "threads", "", "best peer", *PEERS]
    return f"## Geometric means of the ratios\n\n{table(head, rows)}"


def _section(precision: str, threads: int, results: Sequence[Result]) -> str:
    """Return the milliseconds of each network."""
    head = ["network", *OURS, *PEERS, "auto is", "best peer", *(f"{name} ratio" for name in OURS)]
    rows = table(head, [result.row() for result in results])
    return f"## {precision}, {threads} thread{'s' if threads > 1 else ''} (ms)\n\n{rows}"


def _mean(ratios: Sequence[float | None]) -> str:
    """Return the geometric mean, and of how many where it is not of all."""
    known = [ratio for ratio in ratios if ratio is not None]
    if not known:
        return "-"
    of = f" ({len(known)} of {len(ratios)})" if len(known) < len(ratios) else ""
    return f"{statistics.geometric_mean(known):.3f}{of}"


def _arithmetic(results: Sequence[Result]) -> str:
    """Return how long the multiply-adds take at the machine's peak, and who takes how much more."""
    host = catalog.load(catalog.HOST)
    peaks = {"fp32": host.peak("float32"), "int8": host.peak("int8")}
    if host.cpu is None or None in peaks.values():
        return ""
    rows = []
    for result in results:
        case = result.case
        peak = (peaks[case.precision] or 0) / 2 * case.threads / host.cpu.cores.value
        least = case.network.macs / peak
        factors = [
            f"{result.timed[name].least / least:.2f}" if name in result.timed else "-"
            for name in ("tvm", *PEERS)
        ]
        macs = f"{case.network.macs / 1e6:.2f}"
        head = [case.network.name, case.precision, str(case.threads), macs, _milliseconds(least)]
        rows.append(f"| {' | '.join([*head, *factors])} |")
    head = ["network", "precision", "threads", "million", "ms at peak", "tvm", *PEERS]
    fast, faster = (f"{(peak or 0) / 1e9:.0f}" for peak in peaks.values())
    return f"""\
## Against the peak

The multiply-adds of each network, how long they take at the peak of the profile `host` ({fast}
Gflop/s, in int8 {faster} Gop/s, on all cores), and how many times as long each engine takes: less
than 1 where there are fewer multiplications (Winograd). So many times as fast can an engine at most
be that computes them all.

{table(head, rows)}"""


def _compilation(results: Sequence[Result]) -> str:
    rows = [
        f"| {result.case.network.name} | {result.case.precision} | {result.case.threads} "
        f"| {made.seconds:.1f} | {_milliseconds(made.estimate)} "
        f"| {made.estimate / result.timed['tvm'].least:.2f} |"
        for result in results
        if "tvm" in result.timed
        for made in [result.prepared["tvm"]]
        if made.estimate is not None
    ]
    if not rows:
        return ""
    head = ["tvm", "precision", "threads", "compile s", "estimate ms", "estimate / measured"]
    text = "Compiling includes the conversion to int8 and the check of the numbers."
    return f"## Compilation\n\n{text}\n\n{table(head, rows)}"


def _left_out(results: Sequence[Result]) -> str:
    cases: dict[tuple[str, str], list[str]] = {}
    for result in results:
        case = result.case
        for name, reason in result.out.items():
            what = f"{case.network.name} {case.precision} {case.threads}"
            cases.setdefault((name, " ".join(reason.split())), []).append(what)
    lines = [f"- {name}: {reason}: {', '.join(what)}" for (name, reason), what in cases.items()]
    return "## Left out\n\n" + "\n".join(lines) if lines else ""


def table(head: Sequence[str], rows: Sequence[str]) -> str:
    """Return rows, each a line of cells between bars, under a head."""
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows])


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:#.4g}".rstrip(".")


def _factor(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


def _unrest(results: Sequence[Result]) -> str:
    found = [timed.unrest for result in results for timed in result.timed.values()]
    if not found:
        return ""
    return (
        f"How restless the machine was: the best inference of the usual turn took "
        f"{statistics.median(found):.1%} more than the best of all, and in the worst case "
        f"{max(found):.1%}."
    )


def _method(rounds: int, seconds: float) -> str:
    return f"""\
On {processor()}. Each engine is a process of its own, pinned to as many cores as it has
threads. They are timed in turn, {rounds} rounds of one run, {seconds:g} s a turn; a figure is the
fastest inference of all rounds, without setting inputs and copying outputs, called by the engine's
own Python package. A ratio over 1 means that ours is the faster one. Outputs were compared with
those of ONNX Runtime in float32 before.

`tvm` is ours without any tuning, `tvm, AVX2` the same for the profile `x86-64-v3`, while its peers
use all that the machine has; `auto` is the runtime that we choose by ourselves, as `auto is` says.
LiteRT runs our TFLite file with XNNPACK. OpenVINO computes in float32, not bfloat16. In int8
OpenVINO and IREE are given our network with QuantizeLinear and DequantizeLinear, ONNX Runtime what
its own quantizer makes of the network in float, with unsigned activations, which are its fastest.

{packages()}"""


def processor() -> str:
    """Return the name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def packages() -> str:
    """Return a sentence with the version of each runtime."""
    return f"Packages: {', '.join(f'{package} {_version(package)}' for package in _PACKAGES)}."


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "is not installed"
