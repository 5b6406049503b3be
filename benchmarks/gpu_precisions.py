"""What each precision of the GPU targets costs in accuracy, on real data.

Each set of data is split at random, in several ways: a third calibrates, the rest is evaluated. The
figure is the SQNR of the outputs against the float model, in dB, of the very network that goes into
the builder, computed by ONNX Runtime. TF32 stores float32 and rounds the factors of sums to 10 bits
of mantissa; here nodes before every product do so. Beside it stands ONNX Runtime's own
quantizer, with symmetric activations as TensorRT wants them, by the best of its three methods.

    python benchmarks/gpu_precisions.py [--models DIR] [--splits N] -o FILE.md
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir
import onnxruntime
from onnxruntime import quantization as peer
from onnxruntime.quantization.shape_inference import quant_pre_process
from quantization import METHODS, ROOT, Reader, Task, in_onnx_runtime

from tapeout.bundle import Tensor
from tapeout.data import Data
from tapeout.errors import ModelError
from tapeout.lowering.analysis.tensors import constant_bytes
from tapeout.lowering.canonical import canonical
from tapeout.lowering.editing import Editor
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.matching import is_op, shape_of
from tapeout.lowering.quantization.scheme import LINEAR
from tapeout.lowering.quantization.sqnr import sqnr
from tapeout.lowering.reference import Reference
from tapeout.quantizer import Converter
from tapeout.targets.tensorrt.capabilities import PRECISIONS, RTX, scheme

TASKS: Final = (
    Task("resnet8_cifar10", "photos.npz", "crops32"),
    Task("vww_mobilenet", "photos.npz", "crops96", 1 / 255),
    Task("ad_autoencoder", "toycar.npz", "windows"),
    Task("digits_cnn", "digits.npz", "test"),
)

#: Times this, less what that is more than the number, leaves 11 bits of a float32's 24, rounded:
#: 10 of mantissa, as TF32 has (Dekker, "A Floating-Point Technique for Extending the Available
#: Precision", 1971, section 5).
SPLITTER: Final = 2.0**13 + 1


def _split(edit: Editor, node: ir.Node, value: ir.Value) -> ir.Value:
    """Round what a node reads."""

    def inserted(operator: str, left: ir.Value, right: ir.Value) -> ir.Value:
        dtype, shape = value.dtype, shape_of(value)
        return edit.insert(node, operator, [left, right], name="tf32", dtype=dtype, shape=shape)

    splitter = edit.constant(node, "splitter", np.array(SPLITTER, np.float32), value.dtype)
    large = inserted("Mul", value, splitter)
    return inserted("Sub", large, inserted("Sub", large, value))


def tf32(model: ir.Model) -> ir.Model:
    """Return a copy in which the factors of sums are rounded as TF32 does."""
    model = model.clone()
    edit = Editor(model)
    for node in list(model.graph):
        if not is_op(node, *LINEAR):
            continue
        for index, value in enumerate(node.inputs[:2]):
            edit.set_input(node, index, _split(edit, node, value))
    return model


def outputs(model: ir.Model, samples: np.ndarray) -> np.ndarray:
    reference = Reference(model)
    name = reference.inputs[0]
    each = (next(iter(reference.run({name: sample[None]}).values())) for sample in samples)
    return np.concatenate(list(each))


def networks(path: Path, calibration: np.ndarray) -> Iterator[tuple[str, ir.Model]]:
    """Yield the network of each precision as the builder gets it."""
    imported = load(path)
    inputs = tuple(map(Tensor.of, imported.graph.inputs))
    data = Data({inputs[0].name: calibration}, None)
    converter = Converter(imported, inputs, data, None, None)
    for precision in PRECISIONS:
        name = scheme(precision, RTX)
        try:
            found = imported if name is None else converter.to(name).outcome.model
        except ModelError:
            continue  # nothing of it is in this precision
        yield precision, canonical("nchw").run(found.clone())


def by_onnx_runtime(
    model: Path, calibration: np.ndarray, scratch: Path
) -> Iterator[tuple[str, Path]]:
    prepared = scratch / "prepared.onnx"
    quant_pre_process(str(model), str(prepared))
    name = onnxruntime.InferenceSession(str(model)).get_inputs()[0].name
    for method, calibrate in METHODS.items():
        output = scratch / f"{method}.onnx"
        peer.quantize_static(
            str(prepared),
            str(output),
            Reader(name, calibration),
            quant_format=peer.QuantFormat.QDQ,
            per_channel=True,
            activation_type=peer.QuantType.QInt8,
            weight_type=peer.QuantType.QInt8,
            calibrate_method=calibrate,
            extra_options={"ActivationSymmetric": True},
        )
        yield method, output


def measure(task: Task, folder: Path, splits: int) -> dict[str, tuple[list[float], int]]:
    """Return the dB of each split, and the bytes of the constants, by precision."""
    path, samples = folder / f"{task.name}.onnx", task.samples(folder)
    expected = in_onnx_runtime(path, samples)
    found: dict[str, tuple[list[float], int]] = {}
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(samples))
        chosen, rest = order[: len(samples) // 3], np.sort(order[len(samples) // 3 :])
        for precision, model in networks(path, samples[chosen]):
            actual = outputs(tf32(model) if precision == "tf32" else model, samples[rest])
            value = sqnr(expected[rest], actual)
            found.setdefault(precision, ([], constant_bytes(model)))[0].append(value)
        with tempfile.TemporaryDirectory() as scratch:
            for method, file in by_onnx_runtime(path, samples[chosen], Path(scratch)):
                value = sqnr(expected[rest], in_onnx_runtime(file, samples[rest]))
                name = f"int8, ONNX Runtime, {method}"
                found.setdefault(name, ([], file.stat().st_size))[0].append(value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=ROOT / "shared" / "models")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("-o", type=Path, required=True)
    arguments = parser.parse_args()
    lines = [
        "# Accuracy of the GPU precisions",
        "",
        f"`python benchmarks/gpu_precisions.py --splits {arguments.splits} -o FILE.md`",
        "",
        "SQNR in dB at the outputs of what goes into the builder of TensorRT-RTX, against the",
        "float model, computed by ONNX Runtime on real data that was not calibrated with: the mean",
        "and each split. Precisions that a network has nothing for are left out.",
        "",
        "| model | precision | dB | bytes |",
        "|---|---|---|---|",
    ]
    for task in TASKS:
        for name, (values, size) in measure(task, arguments.models, arguments.splits).items():
            each = ", ".join(f"{value:.1f}" for value in values)
            mean = statistics.mean(values)
            lines.append(f"| {task.name} | {name} | {mean:.1f} ({each}) | {size:,} |")
    arguments.o.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
