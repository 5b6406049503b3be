"""The figures of targets/tflite/cost.py: how near each kind of operator comes to the peak.

Every step of real networks is a TFLite file of its own, timed on LiteRT with XNNPACK, one thread.
A kind's efficiency is the arithmetic of all its steps over their time and the peak; the time of a
step is that of its file less what starting the interpreter takes.

    python benchmarks/tflite_layers.py [--models DIR] [--rounds N]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
from litert_timing import timed_in_turn
from mobile import GENERATED, REAL, ROOT, architectures, candidate, processor

from tapeout.errors import ModelError
from tapeout.lowering.analysis import program
from tapeout.lowering.analysis.costs import work_of
from tapeout.lowering.analysis.operators import Kind, kind_of
from tapeout.planner import Candidate
from tapeout.profiles import catalog
from tapeout.targets.base import Precision
from tapeout.targets.tflite import cost
from tapeout.targets.tflite.lower import to_tflite

NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    **GENERATED,
    "efficient_net": architectures.efficient_net,
    "u_net": architectures.u_net,
    "encoder": architectures.encoder,
}


@dataclasses.dataclass
class Layer:
    """One step: its arithmetic, and the bytes that it reads and writes."""

    kind: Kind
    dtype: str
    ops: int
    moved: int
    file: bytes
    seconds: float = 0.0


def layers(found: Candidate) -> Iterator[Layer]:
    """Yield the steps of a lowered model, each as a file of its own."""
    graph = found.model.graph
    for step in program.of(found.model, found.target.sharing).steps:
        if not step.writes:
            continue
        works = [work_of(node)[0] for node in step.nodes]
        ops = sum(2 * work.macs + work.ops for work in works)
        inside = {value for node in step.nodes for value in node.outputs}
        outer = [v for node in step.nodes for v in node.inputs if v is not None and v not in inside]
        inputs = list(dict.fromkeys(filter(None, map(_entry, outer))))
        if not inputs:
            continue
        part = ir.convenience.extract(graph, inputs, list(step.nodes[-1].outputs))
        model = ir.Model(part, ir_version=found.model.ir_version)
        model.opset_imports.update(found.model.opset_imports)
        try:
            file = to_tflite(model)
        except ModelError as error:  # what integers mean is said outside of the step
            print(error, file=sys.stderr)
            continue
        yield Layer(kind_of(step.main), step.dtype, ops, step.moved, file)


def _entry(value: ir.Value) -> ir.Value | None:
    """Return what stands for an input: the integers behind it; None for a constant."""
    node = value.producer()
    if node is not None and node.op_type == "DequantizeLinear":
        value = node.inputs[0] or value
    return None if value.is_initializer() else value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    found: list[Layer] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for model, make in NETWORKS.items():
            onnx.save(make(), scratch / f"{model}.onnx")
        paths = [arguments.models / f"{model}.onnx" for model in REAL]
        paths += [scratch / f"{model}.onnx" for model in NETWORKS]
        for path in paths:
            for precision in precisions:
                kept = {item.file: item for item in layers(candidate(path, scratch, precision))}
                for item in kept.values():
                    item.seconds = timed_in_turn([item.file], arguments.rounds)[0].least
                found += kept.values()
                print(path.stem, precision, len(kept), file=sys.stderr, flush=True)
    print(table(found))


def table(found: list[Layer]) -> str:
    """Return what every kind reaches in every dtype, as Markdown."""
    machine = cost.machine_of(catalog.load(catalog.HOST), 1)
    start = min(item.seconds for item in found)
    lines = [
        f"On {processor()}, one thread. Starting the interpreter takes {start * 1e6:.2f} us.",
        "",
        "| dtype | kind | layers | ms | 10^9 operations/s | of the peak | GB/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for dtype, kind in sorted({(item.dtype, item.kind) for item in found}):
        chosen = [item for item in found if (item.dtype, item.kind) == (dtype, kind)]
        seconds = sum(item.seconds - start for item in chosen)
        if seconds:
            rate = sum(item.ops for item in chosen) / seconds
            bandwidth = sum(item.moved for item in chosen) / seconds
            lines.append(
                f"| {dtype} | {kind} | {len(chosen)} | {seconds * 1e3:.3f} | {rate / 1e9:.2f} "
                f"| {rate / machine.peak(dtype):.3f} | {bandwidth / 1e9:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
