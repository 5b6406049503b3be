"""FPGAs: what engines take of a device after synthesis, next to what is counted from their Verilog.

Each line of the file is one layer with one folding, synthesized alone. What engines say that they
take (`targets/fpga/engines/costs.py`) was fitted to it, and a test holds the one to the other.
Lines that are there already are kept.

    python benchmarks/fpga_costs.py -o benchmarks/results/fpga_costs.jsonl
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

from tapeout.profiles.fpga_schema import Family
from tapeout.targets.fpga.elaboration import verilog
from tapeout.targets.fpga.implementation import implement

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from fpga_layers import Measured, Sample

#: Shapes as they stand in MLPerf Tiny's networks: kind, height, width, channels in and out, kernel,
#: stride, PE, SIMD.
SAMPLES: Final = (
    Sample("conv", 8, 8, 1, 16, 3, 1, 16, 1),
    Sample("conv", 8, 8, 32, 32, 3, 1, 2, 16),
    Sample("conv", 32, 32, 3, 16, 3, 1, 4, 3),
    Sample("conv", 32, 32, 16, 16, 3, 1, 4, 8),
    Sample("conv", 16, 16, 32, 64, 3, 2, 4, 4),
    Sample("conv", 16, 16, 32, 64, 1, 2, 1, 1),
    Sample("conv", 8, 8, 64, 64, 3, 1, 4, 8),
    Sample("conv", 25, 5, 64, 64, 1, 1, 1, 16),
    Sample("conv", 25, 5, 64, 64, 1, 1, 4, 4),
    Sample("conv", 25, 5, 64, 64, 1, 1, 8, 4),
    Sample("conv", 1, 1, 128, 128, 1, 1, 1, 8),
    Sample("conv", 1, 1, 128, 640, 1, 1, 5, 8),
    Sample("conv", 1, 1, 64, 10, 1, 1, 1, 4),
    Sample("depthwise", 25, 5, 64, 64, 3, 1, 4, 1),
    Sample("depthwise", 8, 8, 16, 16, 3, 1, 8, 1),
    Sample("depthwise", 48, 48, 16, 16, 3, 2, 2, 1),
    Sample("depthwise", 6, 6, 128, 128, 3, 1, 1, 1),
    Sample("depthwise", 8, 8, 16, 16, 3, 1, 16, 1),
    Sample("add", 8, 8, 64, 64, 1, 1, 1, 1),
    Sample("add", 8, 8, 64, 64, 1, 1, 4, 1),
    Sample("add", 8, 8, 64, 64, 1, 1, 8, 1),
    Sample("mean", 8, 8, 64, 64, 1, 1, 1, 1),
    Sample("mean", 8, 8, 64, 64, 1, 1, 4, 1),
    Sample("mean", 8, 8, 64, 64, 1, 1, 8, 1),
    Sample("max_pool", 16, 16, 16, 16, 2, 2, 1, 1),
    Sample("max_pool", 16, 16, 16, 16, 2, 2, 4, 1),
    Sample("max_pool", 16, 16, 32, 32, 3, 2, 8, 1),
    Sample("chain", 1, 1, 128, 128, 1, 1, 2, 16),
    Sample("chain", 1, 1, 128, 128, 1, 1, 8, 8),
    Sample("chain", 1, 1, 640, 128, 1, 1, 4, 8),
)


def measured(sample: Sample, family: Family) -> Measured:
    """Return what synthesis makes of a layer, alone but for what brings one input to both sides."""
    sources = verilog.sources(sample.design(family))
    found = implement.synthesize(family, sources, verilog.CORE, lambda _: None)
    return Measured(sample, family, found)


def known(path: Path) -> Iterator[Measured]:
    """Yield what a file holds."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return map(Measured.from_line, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--family", choices=get_args(Family), default="ecp5")
    parser.add_argument("--every", type=int, default=1, help="take one sample of so many")
    arguments = parser.parse_args()
    there = {(item.sample, item.family) for item in known(arguments.output)}
    for sample in SAMPLES[:: arguments.every]:
        if (sample, arguments.family) in there:
            continue
        line = measured(sample, arguments.family)
        print(sample, dataclasses.astuple(line.cost))
        with arguments.output.open("a", encoding="ascii") as file:
            file.write(json.dumps(line.to_json()) + "\n")


if __name__ == "__main__":
    main()
