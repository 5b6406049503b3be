"""What 2:4 sparse weights cost: of magnitude alone, fitted again, and chosen by surgery.

Half of the samples of each set, drawn at random, calibrate; the others are evaluated. The figure is
the SQNR of the outputs against the dense float model, in dB, measured with ONNX Runtime. No network
is trained again. Keyword spotting has no real data here: its inputs are uniform.

    python benchmarks/sparsity.py [--models DIR] -o FILE.md
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from tapeout.lowering.analysis.probe import Batches
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.quantization.conversion import Sparse, conversion
from tapeout.lowering.quantization.linear import Linear
from tapeout.lowering.quantization.scheme import SCHEMES
from tapeout.lowering.quantization.sparsity import fours
from tapeout.lowering.quantization.sqnr import of_outputs
from tapeout.lowering.reference import Reference

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Task:
    """One model with its data: file, arrays of samples, and what the model's input is of them."""

    name: str
    data: str = ""
    arrays: tuple[str, ...] = ()
    scale: float = 1.0
    labels: str = ""

    def samples(self, folder: Path, shape: Sequence[int]) -> np.ndarray:
        if not self.data:
            low, high = (-128 - 83) * 0.5847, (127 - 83) * 0.5847
            return np.random.default_rng(0).uniform(low, high, (90, *shape[1:])).astype(np.float32)
        with np.load(folder / self.data) as found:
            joined = np.concatenate([found[name] for name in self.arrays])
        return (joined * np.float32(self.scale)).astype(np.float32)


TASKS = (
    Task("digits_cnn", "digits.npz", ("test",), labels="labels"),
    Task("resnet8_cifar10", "photos.npz", ("crops32",)),
    Task("kws_dscnn"),
    Task("ad_autoencoder", "toycar.npz", ("windows",)),
    Task("vww_mobilenet", "photos.npz", ("crops96",), 1 / 255),
)

HEADER = """# 2:4 sparse weights

SQNR at the outputs against the dense float model, dB; weights are pruned without any training. Half
of the samples, drawn at random, calibrate; the other half is evaluated. Made by
`python benchmarks/sparsity.py -o benchmarks/results/sparsity.md`.

- magnitude: the two smaller weights of every four are zero, nothing else
- fitted: `sparse-2:4`: those that are left are fitted again, by least squares of the node's outputs
- surgery: `sparse-2:4-surgery`: those that the others best make up for are zero; fitted, too
- int8: `tensorrt`, dense; and after `sparse-2:4`, where pruned weights stay zero

In brackets: top-1 of the samples with labels. What is gained in time is not known: no GPU ran them,
and TensorRT-RTX 1.7.1 writes the same engine whether it may take sparse kernels or not.

| network | nodes | magnitude | fitted | surgery | int8 dense | int8 sparse | seconds |
|---|---|---|---|---|---|---|---|
"""


def magnitude(found: Sparse) -> ir.Model:
    """Return the model with the smaller weights of every four zero, and nothing else."""
    model = found.model.clone()
    for node in model.graph:
        weight = node.inputs[1] if node.name in found.nodes else None
        if weight is not None:
            linear = Linear.of(node)
            [matrix] = linear.matrix(linear.weight)
            sizes = fours(linear, np.abs(matrix))
            larger = (sizes > np.sort(sizes, axis=1)[:, 1:2]).reshape(matrix.shape)
            left = linear.like_weight(np.where(larger, matrix, 0)[None])
            weight.const_value = ir.Tensor(np.ascontiguousarray(left.astype(np.float32)))
    return model


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The samples that nothing was calibrated with, and what the dense model makes of them."""

    wanted: Sequence[dict[str, np.ndarray]]
    batches: Batches
    labels: np.ndarray | None

    def text(self, model: ir.Model) -> str:
        reference = Reference(model)
        outputs = [reference.run(batch) for batch in self.batches]
        figure = f"{of_outputs(zip(self.wanted, outputs, strict=True)):.2f}"
        return figure if self.labels is None else f"{figure} ({self._top1(outputs):.1%})"

    def _top1(self, outputs: Iterable[dict[str, np.ndarray]]) -> float:
        best = [next(iter(item.values())).argmax() for item in outputs]
        return float((np.array(best) == self.labels).mean())


def row(task: Task, folder: Path) -> str:
    model = load(folder / f"{task.name}.onnx")
    [entry] = model.graph.inputs
    shape = [int(size) for size in entry.shape or ()]
    samples = task.samples(folder, shape)
    order = np.random.default_rng(1).permutation(len(samples))
    batches = [{str(entry.name): samples[index].reshape(shape)} for index in order]
    half = len(batches) // 2
    seen, unseen = batches[:half], batches[half:]
    labels = None
    if task.labels:
        with np.load(folder / task.data) as found:
            labels = found[task.labels][order[half:]]
    reference = Reference(model)
    evaluation = Evaluation([dict(reference.run(batch)) for batch in unseen], unseen, labels)
    start = time.perf_counter()
    sparse = conversion(model, SCHEMES["sparse-2:4"], seen)
    seconds = time.perf_counter() - start
    assert isinstance(sparse, Sparse)
    pruned = sparse.converted({})
    models = (
        magnitude(sparse),
        pruned,
        conversion(model, SCHEMES["sparse-2:4-surgery"], seen).converted({}),
        conversion(model, SCHEMES["tensorrt"], seen).converted({}),
        conversion(pruned, SCHEMES["tensorrt"], seen).converted({}),
    )
    count = f"{len(sparse.nodes)} of {len(sparse.nodes) + len(sparse.fixed)}"
    cells = (task.name, count, *map(evaluation.text, models), f"{seconds:.1f}")
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [row(task, arguments.models) for task in TASKS]
    arguments.output.write_text(HEADER + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
