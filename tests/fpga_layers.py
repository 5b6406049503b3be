"""Layers one by one, each as a design of its own, and what synthesis made of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

from fpga_networks import Builder

from tapeout.profiles.fpga_schema import Family
from tapeout.targets.fpga.elaboration.elaborate import connect
from tapeout.targets.fpga.hardware.design import Design, Folding
from tapeout.targets.fpga.hardware.memories import MEMORIES
from tapeout.targets.fpga.hardware.resources import Cost
from tapeout.targets.fpga.network.chains import chained
from tapeout.targets.fpga.network.graph import Network

#: What `benchmarks/fpga_costs.py` wrote.
RESULTS: Final = Path(__file__).parents[1] / "benchmarks" / "results" / "fpga_costs.jsonl"


@dataclasses.dataclass(frozen=True)
class Sample:
    """A layer and its folding; `kind` is a method of `Builder`, or `chain`: of three products."""

    kind: str
    height: int
    width: int
    channels: int
    out: int
    kernel: int
    stride: int
    pe: int
    simd: int

    @property
    def network(self) -> Network:
        builder = Builder(self.height, self.width, self.channels)
        match self.kind:
            case "conv":
                builder.conv("input", self.out, self.kernel, self.stride)
            case "depthwise":
                builder.depthwise("input", self.kernel, self.stride)
            case "add":
                builder.add("input", "input")
            case "mean":
                builder.mean("input")
            case "max_pool":
                builder.max_pool("input", self.kernel, self.stride)
            case "chain":
                builder.conv(builder.conv(builder.conv("input", self.out), self.out), self.out)
                return chained(builder.network)
        return builder.network

    def design(self, family: Family) -> Design:
        """Return the layer's engine, without FIFOs."""
        network = self.network
        folding = {network.layers[0].name: Folding(self.pe, self.simd)}
        return connect(network, folding, MEMORIES[family], {})


@dataclasses.dataclass(frozen=True)
class Measured:
    """What synthesis makes of a layer."""

    sample: Sample
    family: Family
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_line(cls, line: str) -> Measured:
        data = json.loads(line)
        return cls(Sample(**data["sample"]), data["family"], Cost(**data["cost"]))


def measured() -> list[Measured]:
    """Return all that was measured."""
    return [Measured.from_line(line) for line in RESULTS.read_text(encoding="ascii").splitlines()]
