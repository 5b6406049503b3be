"""A network in fewer bits, whatever device it is for: convert, hold to the accuracy, measure, save.

import -> canonical, in float -> scheme -> (nodes back to float until the accuracy holds) -> file
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from . import numerics
from .bundle import Tensor
from .data import Data, pieces, read_data, stack
from .errors import ModelError, Problem, UsageError
from .lowering.analysis.tensors import constant_bytes
from .lowering.importers.onnx import load
from .lowering.matching import nodes_of
from .lowering.pipeline import Pipeline
from .lowering.quantization.contract import Measured, Outcome, within
from .lowering.quantization.conversion import Conversion, Sparse, conversion, preparation
from .lowering.quantization.report import Row, rows
from .lowering.quantization.scheme import SCHEMES, AnyScheme, SparseScheme
from .lowering.quantization.sensitivity import sensitivity
from .lowering.quantization.sqnr import of_outputs
from .lowering.reference import Arrays, Reference
from .lowering.run_time import written_out
from .numerics import Accuracy
from .targets.base import Progress
from .version import VERSION

#: What one protobuf file can hold; a larger model would need files beside it.
_LARGEST_FILE = (2 << 30) - 1


@dataclasses.dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize.

    Attributes:
        scheme: a name of SCHEMES; or two, joined by a comma, of which the first is sparse.
        method: how ranges are found: ``auto``, ``minmax``, ``percentile``, ``entropy``, ``mse``.
        calibration: ``FILE.npz[:KEY]`` of inputs; needed by the integer schemes.
        evaluation: ``FILE.npz[:KEY]`` of inputs, and labels for the accuracy.
        accuracy_drop: fraction of top-1 that may go; needs labels.
        shapes: static input shapes, by input name.
        report: measure what each node costs alone.
    """

    scheme: str = "int8"
    method: str = "auto"
    calibration: str | None = None
    evaluation: str | None = None
    accuracy_drop: float | None = None
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    report: bool = False


@dataclasses.dataclass(frozen=True)
class Quantized:
    """What `quantize` wrote, and what is known of it.

    Attributes:
        size, source_size: bytes of the constants: of the file written, and of the float model.
        sqnr: dB at the outputs over all samples of the evaluation (else calibration) data,
            measured; infinite where nothing differs, None if there were no samples.
        accuracy, source_accuracy: top-1 on the labelled data, measured with ONNX Runtime.
        kept, dense: the nodes that stay in float, and those whose weights stay dense, and why.
        rows: what was done to each node.
    """

    output: Path
    scheme: str
    passes: str
    size: int
    source_size: int
    sqnr: float | None
    samples: int
    accuracy: Accuracy | None
    source_accuracy: Accuracy | None
    kept: Mapping[str, str]
    dense: Mapping[str, str]
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Converted:
    """A model in one scheme, with the passes that lead there from the imported one.

    Attributes:
        first: what was done before, if its weights are sparse and its numbers shorter.
    """

    conversion: Conversion
    outcome: Outcome
    pipeline: Pipeline
    first: Converted | None = None

    @property
    def scheme(self) -> str:
        """The names of the schemes, in their order."""
        before = f"{self.first.scheme}," if self.first is not None else ""
        return before + self.conversion.scheme.name

    @property
    def in_float(self) -> dict[str, str]:
        """The nodes that stay in float, with the reason."""
        return {} if isinstance(self.conversion, Sparse) else self._kept

    @property
    def dense(self) -> dict[str, str]:
        """The nodes whose weights stay dense in a sparse network, with the reason."""
        if isinstance(self.conversion, Sparse):
            return self._kept
        return self.first.dense if self.first is not None else {}

    @property
    def _kept(self) -> dict[str, str]:
        return {**self.conversion.fixed, **self.outcome.kept}


class Converter:
    """Converts one imported model to schemes; the same scheme only once.

    Args:
        model: as imported, in float; it is left as it is.
        samples: to calibrate with.
        labelled: to measure the accuracy on, where `limit` asks for it.
        limit: the fraction of accuracy that may go; None: as much as it takes.
        method: how ranges are found.
    """

    def __init__(
        self,
        model: ir.Model,
        inputs: Sequence[Tensor],
        samples: Data | None,
        labelled: Data | None,
        limit: float | None,
        method: str = "auto",
        progress: Progress = lambda _: None,
    ) -> None:
        self._source = self._model = model
        self._inputs = inputs
        self._labelled = labelled
        self._limit = limit
        self._method = method
        self._progress = progress
        self._found: dict[str, Converted] = {}
        self.batches = pieces(samples.feeds, inputs) if samples is not None else []

    def to(self, scheme: str, *, costs: bool = False) -> Converted:
        """Return the model in a scheme.

        Args:
            scheme: of a name that `require_known` lets pass.
            costs: measure what each node costs alone.

        Raises:
            UsageError: the scheme needs samples, or they are not fit; there is no such method.
            ModelError: the model is quantized already, or nothing of it can be converted.
            BudgetError: the accuracy cannot be held.
        """
        if scheme not in self._found:
            first, _, then = scheme.partition(",")
            if then:
                self._found[scheme] = self._both(self.to(first), then, costs)
            else:
                self._found[scheme] = self._converted(SCHEMES[first], costs)
        return self._found[scheme]

    def _both(self, first: Converted, then: str, costs: bool) -> Converted:
        """Go on from a converted model; the accuracy is held against the imported one's."""
        rest = copy.copy(self)
        rest._model, rest._found = first.outcome.model, {}
        found = rest.to(then, costs=costs)
        return dataclasses.replace(found, pipeline=first.pipeline + found.pipeline, first=first)

    def _converted(self, scheme: AnyScheme, costs: bool) -> Converted:
        self._progress(f"converting to {scheme.name}")
        found = conversion(self._model, scheme, self.batches, self._method)
        if not found.nodes:
            raise ModelError(
                f"the model has nothing that {scheme.name} would change",
                [Problem("", scheme.summary)]
                + [Problem(f"node {name!r}", why) for name, why in found.fixed.items()],
            )
        alone = None
        if costs and self.batches:
            self._progress("measuring what each node costs")
            alone = sensitivity(found.model, found.nodes, found.alone, self.batches)
        if self._limit is None:
            outcome = Outcome(found.converted({}), {}, None, alone)
        else:
            self._progress("holding it to the accuracy")
            outcome = within(found, self._limit, self._measured, self.batches, alone)
        return Converted(found, outcome, preparation(scheme) + found.passes(outcome.kept))

    @functools.cached_property
    def _evaluation(self) -> tuple[list[Arrays], np.ndarray]:
        """The labelled data in pieces, and the labels; raises UsageError if there are none."""
        if self._labelled is None or self._labelled.labels is None:
            raise UsageError("an accuracy budget needs data with labels: give --eval FILE.npz")
        return pieces(self._labelled.feeds, self._inputs), self._labelled.labels

    def outputs(self, model: ir.Model) -> list[Arrays]:
        """Return what a model gives for each piece of the labelled data."""
        cut, _ = self._evaluation
        reference = Reference(model)
        return [reference.run(piece) for piece in cut]

    @functools.cached_property
    def source_outputs(self) -> list[Arrays]:
        """The float model's outputs for each piece of the labelled data."""
        return self.outputs(self._source)

    def accuracy(self, outputs: Sequence[Arrays]) -> Accuracy:
        """Return the top-1 of outputs for the labelled data."""
        _, labels = self._evaluation
        return numerics.top1(stack(outputs), labels)

    @functools.cached_property
    def source_accuracy(self) -> Accuracy:
        """The float model's top-1 on the labelled data."""
        return self.accuracy(self.source_outputs)

    def _measured(self, model: ir.Model) -> Measured:
        outputs = self.outputs(model)
        return Measured(self.source_accuracy.share - self.accuracy(outputs).share, outputs)


def require_known(scheme: str) -> None:
    """Raise UsageError unless it is a name of SCHEMES, or two and the first is sparse."""
    names = scheme.split(",")
    if unknown := [name for name in names if name not in SCHEMES]:
        known = [Problem(item.name, item.summary) for item in SCHEMES.values()]
        raise UsageError(f"there is no scheme {unknown[0]!r}; there are:", known)
    sparse = [isinstance(SCHEMES[name], SparseScheme) for name in names]
    if sparse not in ([True], [False], [True, False]):
        raise UsageError(
            f"the schemes {scheme!r} do not go together",
            [Problem("--scheme", "joins two", "name a sparse one, a comma, and one of numbers")],
        )


def quantize(
    model: str | Path,
    output: str | Path,
    options: QuantizeOptions | None = None,
    *,
    force: bool = False,
    progress: Progress = lambda _: None,
) -> Quantized:
    """Write a model as an ONNX file in the numbers of a scheme.

    Integers stand between QuantizeLinear and DequantizeLinear, so that every runtime that takes
    ONNX can run the file, and compilers find their integer kernels.

    Args:
        force: replace a file that is there already.

    Raises:
        TapeoutError: the subclass says which exit code the command line would give.
    """
    options, path = options or QuantizeOptions(), Path(output)
    require_known(options.scheme)
    _require_writable(path, force)
    progress(f"importing {Path(model).name}")
    imported = load(Path(model), options.shapes)
    inputs = tuple(Tensor.of(value) for value in imported.graph.inputs)
    samples = (
        read_data(options.calibration, inputs, labelled=False) if options.calibration else None
    )
    labelled = read_data(options.evaluation, inputs) if options.evaluation else None
    limit = options.accuracy_drop
    converter = Converter(imported, inputs, samples, labelled, limit, options.method, progress)
    if limit is not None:
        progress("measuring the accuracy in float")
        _ = converter.source_accuracy  # before the long work: it may lack labels
    found = converter.to(options.scheme, costs=options.report)
    result = found.outcome.model
    progress("measuring")
    sqnr: float | None
    accuracy = None
    if labelled is not None and labelled.labels is not None:
        measured = found.outcome.measured
        outputs = measured.outputs if measured is not None else converter.outputs(result)
        accuracy = converter.accuracy(outputs)
        sqnr, count = of_outputs(zip(converter.source_outputs, outputs, strict=True)), len(outputs)
    else:
        sqnr, count = _sqnr(imported, result, labelled or samples, inputs)
    _save(written_out(result), path)
    return Quantized(
        output=path,
        scheme=options.scheme,
        passes=str(found.pipeline),
        size=constant_bytes(result),
        source_size=constant_bytes((found.first or found).conversion.model),
        sqnr=sqnr,
        samples=count,
        accuracy=accuracy,
        source_accuracy=None if accuracy is None else converter.source_accuracy,
        kept=found.in_float,
        dense=found.dense,
        rows=tuple(rows(found.conversion, found.outcome)),
    )


def _sqnr(
    source: ir.Model, result: ir.Model, data: Data | None, inputs: Sequence[Tensor]
) -> tuple[float | None, int]:
    """Run both models on all samples, piece by piece; return the SQNR and how many pieces."""
    if data is None:
        return None, 0
    reference, actual = Reference(source), Reference(result)
    cut = pieces(data.feeds, inputs)
    return of_outputs((reference.run(piece), actual.run(piece)) for piece in cut), len(cut)


def _require_writable(path: Path, force: bool) -> None:
    """Refuse early what could only fail after minutes of work."""
    if path.suffix != ".onnx":
        raise UsageError(f"{path} is no name for the result", [Problem("-o", "ends in .onnx")])
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}", [Problem(str(path.parent), "is no folder")])
    if path.is_dir() or (path.exists() and not force):
        raise UsageError(f"{path} is there already", [Problem("", "give --force to replace it")])


def _plain(model: ir.Model) -> ir.Model:
    """Return a copy, which shares the constants, without the notes that passes leave."""
    model = model.clone()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    values = [*model.graph.initializers.values()]
    for node in nodes_of(model):
        node.metadata_props.clear()
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
    return model


def _save(model: ir.Model, path: Path) -> None:
    """Write the model whole or not at all; the same model gives the same bytes."""
    model.producer_name, model.producer_version = "tapeout", VERSION
    size = constant_bytes(model)
    if size > _LARGEST_FILE:
        raise ModelError(
            f"{path.name} would be too large for one file",
            [Problem("constants", f"have {size} bytes, a file holds {_LARGEST_FILE}")],
        )
    proto = ir.to_proto(_plain(model))
    constants = {item.name for item in proto.graph.initializer}
    for index in reversed(range(len(proto.graph.value_info))):
        if proto.graph.value_info[index].name in constants:
            del proto.graph.value_info[index]  # says again what the constant says
    content: bytes = proto.SerializeToString(deterministic=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
