"""int8 accuracy on real data: ours, ONNX Runtime's quantizer, and the official int8 models.

Each set is split at random, in several ways: a third calibrates ours and ONNX Runtime's, the rest
is evaluated. The figure is the SQNR of the outputs against the float model, in dB, measured with
ONNX Runtime (the official models: with LiteRT, which needs the package ``ai-edge-litert``). The
official models saw other calibration data; they are evaluated on the same rest.

    python benchmarks/quantization.py [--models DIR] [--splits N] -o FILE.md
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime import quantization as peer
from onnxruntime.quantization.shape_inference import quant_pre_process

from tapeout import quantizer
from tapeout.lowering.quantization.sqnr import sqnr

ROOT = Path(__file__).resolve().parents[1]

METHODS = {
    "min-max": peer.CalibrationMethod.MinMax,
    "entropy": peer.CalibrationMethod.Entropy,
    "percentile": peer.CalibrationMethod.Percentile,
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One model with its data: file and array, and what the model's input is of it."""

    name: str
    data: str
    array: str
    scale: float = 1.0

    def samples(self, folder: Path) -> np.ndarray:
        with np.load(folder / self.data) as arrays:
            return (arrays[self.array] * np.float32(self.scale)).astype(np.float32)


TASKS = (
    Task("resnet8_cifar10", "photos.npz", "crops32"),
    Task("vww_mobilenet", "photos.npz", "crops96", 1 / 255),
    Task("ad_autoencoder", "toycar.npz", "windows"),
)


@dataclasses.dataclass
class Result:
    """What one quantizer reached: dB for each split, the file's bytes, and with what setting."""

    values: list[float]
    size: int
    setting: str = ""

    def text(self) -> str:
        each = ", ".join(f"{value:.1f}" for value in self.values)
        return f"{statistics.mean(self.values):.2f} ({each})"


def in_onnx_runtime(path: Path, samples: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: sample[None]})[0] for sample in samples])


def in_litert(path: Path, samples: np.ndarray) -> np.ndarray:
    """Run an official model: int8 in, int8 out."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    [entry], [result] = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = entry["quantization"]
    outputs = []
    for sample in samples:
        integers = np.clip(np.rint(sample / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], integers[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result["index"]).astype(np.float32))
    scale, zero = result["quantization"]
    return (np.concatenate(outputs) - np.float32(zero)) * np.float32(scale)


class Reader(peer.CalibrationDataReader):  # type: ignore[misc]  # the package has no types
    def __init__(self, name: str, samples: np.ndarray) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = iter({name: item[None]} for item in samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def by_onnx_runtime(
    model: Path, calibration: np.ndarray, scratch: Path, method: str, per_channel: bool
) -> Path:
    prepared, output = scratch / "prepared.onnx", scratch / f"{method}-{per_channel}.onnx"
    quant_pre_process(str(model), str(prepared))
    name = onnxruntime.InferenceSession(str(model)).get_inputs()[0].name
    peer.quantize_static(
        str(prepared),
        str(output),
        Reader(name, calibration),
        quant_format=peer.QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=peer.QuantType.QInt8,
        weight_type=peer.QuantType.QInt8,
        calibrate_method=METHODS[method],
    )
    return output


def by_us(model: Path, calibration: np.ndarray, scratch: Path, scheme: str) -> Path:
    data, output = scratch / "calibration.npz", scratch / f"{scheme}.onnx"
    np.savez(data, samples=calibration)
    options = quantizer.QuantizeOptions(scheme=scheme, calibration=f"{data}:samples")
    quantizer.quantize(model, output, options, force=True)
    return output


def measure(task: Task, folder: Path, splits: int) -> dict[str, Result]:
    model, official = (
        folder / f"{task.name}.onnx",
        folder / "mlperf_tiny_int8" / f"{task.name}.tflite",
    )
    samples = task.samples(folder)
    expected = in_onnx_runtime(model, samples)
    theirs = in_litert(official, samples)
    found: dict[str, Result] = {}

    def note(name: str, value: float, size: int) -> None:
        found.setdefault(name, Result([], size)).values.append(value)

    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(samples))
        chosen, rest = order[: len(samples) // 3], np.sort(order[len(samples) // 3 :])

        def judged(path: Path, rest: np.ndarray = rest) -> float:
            return sqnr(expected[rest], in_onnx_runtime(path, samples[rest]))

        note("official int8", sqnr(expected[rest], theirs[rest]), official.stat().st_size)
        with tempfile.TemporaryDirectory() as name:
            scratch = Path(name)
            for method in METHODS:
                for channels, label in ((True, "per channel"), (False, "per tensor")):
                    path = by_onnx_runtime(model, samples[chosen], scratch, method, channels)
                    note(f"ONNX Runtime, {label}, {method}", judged(path), path.stat().st_size)
            for scheme in ("int8", "int8-per-tensor", "tflite"):
                path = by_us(model, samples[chosen], scratch, scheme)
                note(f"tapeout, {scheme}", judged(path), path.stat().st_size)
    found["float"] = Result([], model.stat().st_size)
    return found


def best(found: dict[str, Result], wanted: Callable[[str], bool]) -> float:
    return max(statistics.mean(item.values) for name, item in found.items() if wanted(name))


def section(task: Task, found: dict[str, Result]) -> str:
    """Return what was found for one model as Markdown."""
    size = found.pop("float").size
    lines = [f"## {task.name}", "", f"The float model has {size:,} bytes.", ""]
    lines += ["| quantizer | SQNR | bytes of the file |", "|---|---|---|"]
    lines += [f"| {name} | {item.text()} | {item.size:,} |" for name, item in found.items()]
    ours = best(found, lambda name: name == "tapeout, int8")
    others = best(found, lambda name: not name.startswith("tapeout"))
    return "\n".join([*lines, "", f"int8 is {ours - others:+.2f} dB from the best of the others."])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--splits", type=int, default=4)
    # ONNX Runtime's quantizer prints to stdout, too.
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    head = (
        "# int8: SQNR at the outputs on data not calibrated with (dB, measured)\n\n"
        f"`python benchmarks/quantization.py --splits {arguments.splits}`: the mean of the splits, "
        "and each; a third of the samples calibrates, the rest is evaluated."
    )
    parts = [head]
    parts += [section(task, measure(task, arguments.models, arguments.splits)) for task in TASKS]
    arguments.output.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
