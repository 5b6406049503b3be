"""GPUs: how far the estimate of the memory of an engine that is built elsewhere is from builders'.

For TensorRT on data-centre cards and Jetson there is an estimate only. TensorRT for RTX plans the
same networks here, for another card, and tells its figures: both stand side by side. Weights of the
networks without a file are random, as memory does not depend on them.

    python benchmarks/gpu_memory.py -o FILE.md
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.quantization.conversion import conversion, preparation
from tapeout.lowering.quantization.scheme import SCHEMES
from tapeout.targets.tensorrt.builder import Request, engine
from tapeout.targets.tensorrt.enterprise import memory
from tapeout.targets.tensorrt.network import onnx_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import architectures

import networks
import support
from quantized import min_max

#: Those without a file.
MADE: Final[Mapping[str, Callable[[], onnx.ModelProto]]] = {
    "resnet_18": architectures.resnet_18,
    "resnet_50": architectures.resnet_50,
    "mobilenet_v2": networks.mobilenet_v2,
    "u_net": architectures.u_net,
    "encoder": architectures.encoder,
}

PRECISIONS: Final = ("fp32", "fp16", "int8")

#: The card that the builder plans for, and one that there is an estimate for only.
PLANNED: Final = "8.9"
ESTIMATED: Final = "8.7"


@dataclasses.dataclass(frozen=True)
class Row:
    """One network in one precision: our bytes, and the builder's."""

    network: str
    precision: str
    ours: memory.Needed
    weights: int
    activations: int

    @property
    def total(self) -> int:
        """What the builder plans, with inputs and outputs."""
        return self.weights + self.activations + self.ours.interface

    @property
    def bare(self) -> float:
        """Our estimate without the workspace, over the builder's figure."""
        return self.ours.total / self.total

    @property
    def whole(self) -> float:
        """Our estimate with the workspace, over the builder's figure."""
        return (self.ours.total + memory.workspace(ESTIMATED)) / self.total


def lowered(path: Path, precision: str) -> ir.Model:
    """Return a network in a precision's numbers, as engines are built from it."""
    if precision == "fp32":
        return canonical("nchw").run(load(path))
    if precision == "fp16":
        model = conversion(load(path), SCHEMES["fp16"], []).converted({})
        return canonical("nchw").run(model)
    model = preparation(SCHEMES["tensorrt"]).run(load(path))
    [given] = model.graph.inputs
    sample = np.random.default_rng(0).random(given.shape.numpy(), np.float32)
    Quantize(min_max(model, SCHEMES["tensorrt"], [{str(given.name): sample}]))(model)
    return canonical("nchw").run(model)


def rows(scratch: Path) -> Iterator[Row]:
    files = {name: support.MODELS / f"{name}.onnx" for name in support.NAMES}
    for name, make in MADE.items():
        files[name] = scratch / f"{name}.onnx"
        onnx.save(make(), files[name])
    for name, path in files.items():
        for precision in PRECISIONS:
            model = lowered(path, precision)
            planned = engine(Request(onnx_of(model), (PLANNED,))).log.memory(1)
            activations = planned.activations[0] + planned.persistent[0]
            [ours] = memory.needed(model)
            yield Row(name, precision, ours, planned.weights, activations)


def report(found: list[Row]) -> str:
    """Return the page: one line for each network and precision, and how far the estimates are."""
    lines = [
        f"| {row.network} | {row.precision} | {row.ours.weights:,} | {row.weights:,} |"
        f" {row.ours.activations:,} | {row.activations:,} | {row.ours.interface:,} |"
        f" {row.total:,} | {row.bare:.2f} | {row.whole:.2f} |"
        for row in found
    ]
    below = sum(row.whole < 1 for row in found)
    return (
        HEAD.format(spare=memory.workspace(ESTIMATED), hopper=memory.workspace("9.0"))
        + "\n".join(lines)
        + FOOT.format(
            count=len(found),
            below=below,
            least=min(row.whole for row in found),
            most=max(row.whole for row in found),
            median=statistics.median(row.whole for row in found),
        )
    )


HEAD = """# GPUs: the estimate of an engine's memory beside what a builder plans

`python benchmarks/gpu_memory.py`. A deferred bundle (runtime `tensorrt`: data-centre cards, Jetson)
has no engine, so its memory is estimated: weights, activations in a static plan, inputs and
outputs, and the workspace that the builder is told it may give to a layer ({spare:,} B, on Hopper
{hopper:,}). TensorRT for RTX 1.7.1 plans the same networks here, for compute capability 8.9, and
tells its figures: weights, and activations with what layers use while they run. That is another
library for another card: the errors on this page are those of the method, and not of the devices
that it is for. Bytes; "planned" is the builder's figure for what stands before it, "io" inputs and
outputs, "in all" the builder's sum with them, "bare" and "whole" our estimate over that sum,
without the workspace and with it.

| network | precision | weights | planned | activations | planned | io | in all | bare | whole |
|---|---|---|---|---|---|---|---|---|---|
"""

FOOT = """

With the workspace the estimate is {least:.2f} to {most:.2f} of the builder's figure, {median:.2f}
in the median, and below it for {below} of {count}. In float, weights agree within 15%, most within
5%, and what the activations lack is one block of 8,192,000 B, mostly, that the builder
keeps where a layer takes a kernel that needs it, so small networks are over-estimated by the
larger workspace. In int8 this builder computes some layers in float, the depthwise convolutions of
mobilenet_v2 among them, with their weights and activations in float: there the estimate is too low
by as much as the workspace does not cover. A memory budget that is tight needs the figure that
`run/build.py` measures on the device.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = report(list(rows(Path(scratch))))
    given.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
