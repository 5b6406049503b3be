"""Real networks on an FPGA, all the way to a bitstream: what each takes, and how fast it is.

Every design is proven in the simulator on real samples before it is built; a layout that was built
before comes out of the user's cache.

    python benchmarks/fpga.py [--device ulx3s-85f] [--only NAME ...] [-o FILE.md]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from tapeout.budget import Budget
from tapeout.bundle import Bundle
from tapeout.compiler import Options, build, prepare
from tapeout.errors import BudgetError
from tapeout.profiles import catalog
from tapeout.units import format_seconds

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))  # where the networks and their samples are named

import support  # noqa: E402 - found by the line above

HEADER: Final = """# Networks on an FPGA

`python benchmarks/fpga.py --device {device}`: {title}, at {clock:g} MHz.

- asked: the latency budget; the smallest folding that keeps it is taken, without one the fastest
- samples: of real data that came out of the simulated Verilog bit for bit, under random stalls
- LUT, FF, mult, BRAM: of the whole board's design, links and all, after place and route (exact);
  in brackets what the folding was chosen by: the core's own, exact but for LUT and FF, which are
  those of synthesis within 15 % (a tenth more LUTs are the ends of carry chains, added in placing)
- fmax: of nextpnr; the design runs at the clock above, which it must reach
- latency: first number in to last one out; interval: one frame to the next; both are cycles that
  the simulator confirmed, at the clock
- a line without fmax ends at its proven Verilog (`--plan flow=rtl`): it was not placed

{table}

Published results on other FPGAs, of other networks for the same tasks, trained with the few bits
that they compute in (MLPerf Tiny, open division): hls4ml's ResNet (RN07) on a Pynq-Z2 27.3 ms,
FINN's CNV-W1A1 1.51 ms, FINN's KWS-W3A3 17.5 us, hls4ml's AD08 19.0 us. Ours are the reference
networks of the closed division, in int8, quantized after training.
"""

COLUMNS: Final = (
    "network", "asked", "samples", "LUT", "FF", "mult", "BRAM", "fmax MHz", "latency", "interval",
    "frames/s", "bitstream KiB",
)  # fmt: skip


def rows(name: str, device: str) -> Iterator[str]:
    """Yield the line of a network."""
    path = support.MODELS / f"{name}.onnx"
    [entry] = onnx.load(path, load_external_data=False).graph.input
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "samples.npz"
        np.savez(data, **{entry.name: support.real_inputs(name, 24)})
        latency = support.FPGA_LATENCIES.get(name)
        options = Options("int8", "fpga", calibration=str(data), plan=_plan(latency))
        budget = Budget(latency=latency)
        job = prepare(path, device, budget, options, lambda line: print(f"  {line}", flush=True))
        try:
            bundle = build(job, Path(scratch) / "bundle").bundle
        except BudgetError as error:
            reasons = "; ".join(str(problem) for problem in error.problems[-1:])
            yield f"| {name} | {error.summary}: {reasons} |{'|' * (len(COLUMNS) - 2)}"
            return
        asked = "-" if latency is None else format_seconds(latency)
        yield f"| {name} | {asked} | {' | '.join(cells(bundle, job.profile))} |"


def _plan(latency: float | None) -> dict[str, str]:
    """Return the options of a plan: only what has a budget is placed."""
    return {"flow": "rtl"} if latency is None else {}


def cells(bundle: Bundle, profile: Any) -> Iterator[str]:
    """Yield what is told of one design."""
    report = bundle.manifest.report
    proof, made = report["proof"], report.get("implementation")
    clock = profile.fpga.clock.value
    yield str(proof["samples"])
    for figure in ("luts", "flip_flops", "multipliers", "blocks"):
        chosen = sum(row[figure] for row in report["engines"])
        yield f"({chosen:,})" if made is None else f"{made['cost'][figure]:,} ({chosen:,})"
    yield "-" if made is None else f"{made['hertz'] / 1e6:.1f}"
    yield f"{proof['latency'] / clock * 1e6:,.1f} us"
    yield f"{proof['interval'] / clock * 1e6:,.1f} us"
    yield f"{clock / proof['interval']:,.0f}"
    yield "-" if made is None else f"{bundle.engine.stat().st_size / 1024:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="ulx3s-85f")
    parser.add_argument("--only", nargs="+", choices=support.NAMES, default=support.NAMES)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name in arguments.only:
        for line in rows(name, arguments.device):
            print(line, flush=True)
            lines.append(line)
    profile = catalog.load(arguments.device)
    text = HEADER.format(
        device=arguments.device,
        title=profile.title,
        clock=profile.fpga.clock.value / 1e6 if profile.fpga else 0,
        table="\n".join(lines),
    )
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
