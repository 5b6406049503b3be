"""Exporting a network to HLS: write the project, run its C simulation, compare, and only then keep.

hls4ml is known to compute some networks wrongly without a word, and to end the whole process where
its C++ asserts: so it runs in a process of its own, and what its simulation computes on samples
must be what ONNX Runtime does.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir as ir

from ....errors import ModelError, Problem, UsageError, VerificationError
from ....lowering.canonical import canonical
from ....lowering.matching import array_of, is_op, shape_of
from ....lowering.quantization.sqnr import sqnr
from ....lowering.reference import Reference
from ...base import Progress
from ...tool import must
from . import environment
from .constraints import unsupported
from .network import written

_CONVERTER: Final = Path(__file__).resolve().with_name("converter.py")

#: What is written beside the project: how it was made, and how near its numbers are.
REPORT: Final = "tapeout.json"

#: Decibels between the simulation's numbers and ONNX Runtime's, at least, of every output.
_NEAR: Final = 30.0

_TIMEOUT: Final = 3600.0  # seconds; compiling a large network's C++ takes minutes


@dataclasses.dataclass(frozen=True)
class Order:
    """What is asked of hls4ml.

    Attributes:
        backend: as hls4ml calls it.
        part: as the vendor's tools call it.
        clock_period: nanoseconds.
        fraction: bits of every number behind the point; those before it follow from the samples.
        reuse: how many products each multiplier computes in turn.
    """

    backend: str
    part: str
    clock_period: float
    fraction: int = 14
    reuse: int = 1


@dataclasses.dataclass(frozen=True)
class Report:
    """How a project was made.

    Attributes:
        precision: of every number, in the notation of HLS.
        samples: how many were compared.
        sqnr: decibels by output of the project.
        host: what is left to compute of an output, by its name in the model.
        versions: of the packages that made it.
    """

    order: Order
    precision: str
    samples: int
    sqnr: Mapping[str, float]
    host: Mapping[str, str]
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it; a ratio that is infinite is null."""
        ratios = {
            name: ratio if math.isfinite(ratio) else None for name, ratio in self.sqnr.items()
        }
        return dataclasses.asdict(self) | {"sqnr": ratios}


def export(
    model: ir.Model,
    samples: Mapping[str, np.ndarray],
    order: Order,
    folder: Path,
    progress: Progress = lambda _: None,
) -> Report:
    """Write a model as an HLS project.

    Args:
        model: as imported, of static shape.
        samples: by input, [samples, ...]: the model's own batch is the first dimension's unit.
        folder: to write; it must not exist.

    Raises:
        MissingToolError: hls4ml's environment or the C++ compiler is not there.
        ModelError: operators that hls4ml does not take, or computes wrongly: all of them.
        UsageError: the folder exists.
        VerificationError: the simulation's numbers are not the model's.
    """
    python = environment.python()
    if folder.exists():
        raise UsageError(f"{folder} exists already", [Problem("output", "name another folder")])
    lowered = canonical("nhwc").run(model)
    left = _left_to_host(lowered)
    if problems := unsupported(lowered):
        raise ModelError("the network cannot be exported by hls4ml", problems)
    frames = _frames(lowered, samples)
    wanted, most = _computed(lowered, frames)
    integer = 2 + max(0, math.ceil(math.log2(most))) if most > 0 else 2  # a sign, and one spare
    with tempfile.TemporaryDirectory(prefix="tapeout-hls-") as scratch:
        work = Path(scratch)
        onnx.save(written(lowered), work / "model.onnx")
        np.savez(work / "frames.npz", *frames.values())
        request = dataclasses.asdict(order) | {
            "width": integer + order.fraction,
            "integer": integer,
        }
        (work / "request.json").write_text(json.dumps(request), encoding="utf-8")
        progress(f"exporting with hls4ml for {order.backend}, and compiling its C simulation")
        _convert(python, work)
        with np.load(work / "results.npz") as arrays:
            found = dict(zip(wanted, (arrays[name] for name in arrays.files), strict=True))
        versions = json.loads((work / "versions.json").read_text(encoding="utf-8"))
        precision = f"ap_fixed<{integer + order.fraction},{integer}>"
        near = _nearness(wanted, found, precision)
        count = len(next(iter(frames.values())))
        report = Report(order, precision, count, near, left, versions)
        text = json.dumps(report.to_json(), indent=1, sort_keys=True, allow_nan=False)
        (work / "project" / REPORT).write_text(text + "\n", encoding="utf-8")
        shutil.copytree(work / "project", folder, ignore=shutil.ignore_patterns("*.so"))
    return report


def _left_to_host(model: ir.Model) -> dict[str, str]:
    """Take each Softmax off the end: hls4ml's, of tables, is 25 dB from the right numbers.

    Returns: operator by the name of the output that it made.
    """
    found = {}
    for index, value in enumerate(model.graph.outputs):
        node = value.producer()
        if node is not None and is_op(node, "Softmax") and not value.uses():
            found[str(value.name)] = node.op_type
            source = node.inputs[0]
            if source is None:
                continue
            model.graph.outputs[index] = source
            model.graph.remove(node, safe=True)
    return found


def _frames(model: ir.Model, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the samples by input, each of the shape that the model has behind the first."""
    found = {}
    for value in model.graph.inputs:
        shape = shape_of(value) or ()
        found[str(value.name)] = samples[str(value.name)].reshape(-1, *shape[1:])
    return found


def _computed(
    model: ir.Model, frames: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], float]:
    """Return what ONNX Runtime gives for each output, and the largest number of all on the way."""
    outputs = [str(value.name) for value in model.graph.outputs]
    watched = model.clone()
    real = [
        value
        for node in watched.graph
        for value in node.outputs
        if value.dtype == ir.DataType.FLOAT and not value.is_graph_output()
    ]
    watched.graph.outputs.extend(real)
    runtime, rows = Reference(watched), []
    constants = [array_of(value) for value in model.graph.initializers.values()]
    most = max((_largest(item) for item in constants if item is not None), default=0.0)
    for index in range(len(next(iter(frames.values())))):
        given = {name: array[index : index + 1] for name, array in frames.items()}
        values = runtime.run(given)
        most = max(most, *map(_largest, (*values.values(), *given.values())))
        rows.append([values[name] for name in outputs])
    columns = zip(*rows, strict=True)
    return dict(zip(outputs, map(np.concatenate, columns), strict=True)), most


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0)) if array.dtype.kind == "f" else 0.0


def _convert(python: Path, work: Path) -> None:
    """Run hls4ml in a folder with a request, isolated from this process's modules."""
    command = [str(python), "-I", "-B", str(_CONVERTER)]
    must("hls4ml", command, work, _TIMEOUT)


def _nearness(
    wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], precision: str
) -> dict[str, float]:
    """Return the decibels of each output; raises VerificationError if any is not near."""
    near = {name: sqnr(array, found[name].reshape(array.shape)) for name, array in wanted.items()}
    problems = [
        Problem(name, f"{ratio:.1f} dB from ONNX Runtime's numbers, {_NEAR:g} are the least", fix)
        for name, ratio in near.items()
        for fix in ("more bits behind the point may help",)
        if ratio < _NEAR
    ]
    if problems:
        raise VerificationError(
            f"what hls4ml made computes something else in {precision}", problems
        )
    return near
