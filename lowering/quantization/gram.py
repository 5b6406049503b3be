"""Moments of the inputs of linear nodes: means and Gram matrices, gathered batch by batch."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from .. import workers
from ..analysis.probe import Batches, Probe
from ..matching import is_op
from .linear import Linear, Windows
from .parameters import Parameters
from .scheme import PASSING

#: Positions for each column of a Gram matrix: enough to tell its directions apart.
_POSITIONS_PER_COLUMN = 16
_LEAST_POSITIONS = 4096

#: The most columns of one Gram matrix: where a node sums more, correlations are only kept inside
#: parts of that many, so that memory stays bounded.
MOST_COLUMNS = 4608

#: Elements of inputs that wait to be multiplied at once: as many as stay in a core's own cache,
#: but several times those of the product, which is read and written each time.
_WAITING = (1 << 17, 1 << 20)
_PER_PRODUCT = 4

#: Numbers of a row below which numpy's pairwise sum takes its time.
_SHORT = 256

#: Columns of a small matrix.
_SMALL = 64

#: Numbers of one batch from which on several threads gather moments.
_PARALLEL = 1 << 16

#: Bytes of Gram matrices that are gathered in one run over the data; more take several runs.
_BYTES = 768 << 20

#: Columns from which on no two Gram matrices are worked on at a time.
_LARGE = 2048

Result = TypeVar("Result")


@dataclasses.dataclass(eq=False)
class Moments:
    """Of the inputs that one linear node multiplies, float and as quantized.

    Attributes:
        mean: float64 (groups, columns): of the float inputs.
        quantized: float64 (groups, columns): the mean of the quantized inputs.
        covariance: float32 (groups × parts, columns of a part, the same): of the quantized inputs,
            in multiples of `unit`.
        unit: so that squares stay in the range of float32.
    """

    mean: np.ndarray
    quantized: np.ndarray
    covariance: np.ndarray
    unit: float = 1.0

    @property
    def parts(self) -> int:
        return len(self.covariance) // len(self.mean)

    def gram(self, *, about_mean: bool) -> np.ndarray:
        """Return the float64 Gram matrices, per position: about the mean, or about zero."""
        gram = self.covariance.astype(np.float64)
        gram *= self.unit**2
        if not about_mean:
            mean = self.quantized.reshape(len(gram), -1)
            gram += mean[:, :, None] * mean[:, None, :]
        return gram


def moments(
    model: ir.Model,
    linears: Sequence[Linear],
    activations: Mapping[str, Parameters],
    batches: Batches,
) -> Iterator[tuple[Linear, Moments]]:
    """Yield every linear node with the moments of its inputs, of one run the largest first.

    The float model runs; each input is quantized by itself. Positions are drawn from all
    batches alike.

    Args:
        linears: nodes of the main graph that are matrices.
        activations: parameters of values, by name. An input without any takes those of the value
            that it is a view of, or else stays float.
        batches: at least one.

    Raises:
        ModelError: ONNX Runtime does not take the model or a batch.
    """
    waiting = list(linears)
    while waiting:
        bytes_ = 0
        run: list[Linear] = []
        while waiting and (not run or bytes_ + _gram_bytes(waiting[0]) <= _BYTES):
            bytes_ += _gram_bytes(waiting[0])
            run.append(waiting.pop(0))
        gatherers = [_Gatherer(linear, activations, len(batches)) for linear in run]
        probe = Probe(model, [gatherer.name for gatherer in gatherers])
        with workers.pool() as threads:
            for index, values in enumerate(probe.stream(batches)):
                size = sum(array.size for array in values.values())
                each = threads.map if size >= _PARALLEL else map
                inputs = [values[gatherer.name] for gatherer in gatherers]
                for _ in each(_Gatherer.add, gatherers, inputs, itertools.repeat(index)):
                    pass  # an error is raised here
        del probe
        found = sorted(zip(run, gatherers, strict=True), key=_work)
        gatherers.clear()
        while found:
            linear, gatherer = found.pop()
            yield linear, gatherer.result()


def for_each(
    model: ir.Model,
    linears: Sequence[Linear],
    activations: Mapping[str, Parameters],
    batches: Batches,
    work: Callable[[Linear, Moments], Result],
) -> list[Result]:
    """Return what `work` gives for every linear node and its `moments`, on all processors."""
    one_large = threading.Lock()  # since it takes much memory

    def done(item: tuple[Linear, Moments]) -> Result:
        linear, seen = item
        with one_large if linear.columns > _LARGE else contextlib.nullcontext():
            return work(linear, seen)

    with workers.pool() as threads:
        return list(workers.ahead(threads, done, moments(model, linears, activations, batches)))


def parts_of(columns: int) -> int:
    """Return into how many equal parts a number of columns is cut, each `MOST_COLUMNS` at most."""
    least = -(-columns // MOST_COLUMNS)
    return next(parts for parts in range(least, columns + 1) if columns % parts == 0)


def _work(item: tuple[Linear, _Gatherer]) -> int:
    """Return how much there is to do with the moments: the largest alone, last, would wait."""
    return item[0].weight.size * item[0].columns


def _gram_bytes(linear: Linear) -> int:
    return 4 * linear.groups * linear.columns**2 // parts_of(linear.columns)


class _Gatherer:
    """Gathers the moments of one node's inputs."""

    def __init__(self, linear: Linear, activations: Mapping[str, Parameters], batches: int) -> None:
        groups, columns = linear.groups, linear.columns
        positions = max(_LEAST_POSITIONS, _POSITIONS_PER_COLUMN * columns)
        self.name = str(linear.node.inputs[0].name) if linear.node.inputs[0] is not None else ""
        self._parameters = parameters_of(linear.node.inputs[0], activations)
        self._windows = Windows(linear, math.ceil(positions / batches))
        self._parts = parts_of(columns)
        self._positions = 0
        self._sums = np.zeros((2, groups, columns))  # float; quantized, less the shift
        self._shift: np.ndarray | None = None
        self._unit = 1.0 if self._parameters is None else float(self._parameters.scale)
        width = columns // self._parts
        self._gram = np.zeros((groups * self._parts, width, width), np.float32)
        self._waiting: list[np.ndarray] = []
        self._most_waiting = int(np.clip(_PER_PRODUCT * self._gram.size, *_WAITING))

    def add(self, x: np.ndarray, index: int) -> None:
        self._waiting.append(self._windows.of(x, index))
        if sum(item.size for item in self._waiting) >= self._most_waiting:
            self._multiply()

    def _multiply(self) -> None:
        if not self._waiting:
            return
        alone = len(self._waiting) == 1
        inputs = self._waiting[0] if alone else np.concatenate(self._waiting, axis=2)
        self._waiting.clear()
        self._positions += inputs.shape[2]
        self._sums[0] += _summed(inputs)
        if self._parameters is not None:
            # Integers: float32 holds them and, but for a few digits, the sums of their squares.
            inputs = self._parameters.steps(inputs)
        else:
            inputs = self._centered(inputs)
        self._sums[1] += _summed(inputs)
        parts = inputs.reshape(len(self._gram), -1, inputs.shape[2])
        # Of the same matrix twice BLAS computes one half, but slowly where that is small.
        other = parts if parts.shape[1] > _SMALL else parts.copy()
        self._gram += parts @ other.transpose(0, 2, 1)

    def _centered(self, inputs: np.ndarray) -> np.ndarray:
        """Return numbers about one, and about zero, as the first ones say."""
        if self._shift is None:
            _, exponent = math.frexp(float(np.abs(inputs).max(initial=0.0)))
            self._unit = math.ldexp(1.0, min(max(exponent, -120), 120))
            self._shift = inputs.mean(axis=2, keepdims=True) / np.float32(self._unit)
        scaled = inputs * np.float32(1 / self._unit)
        scaled -= self._shift
        return scaled

    def result(self) -> Moments:
        self._multiply()
        mean, off = self._sums / self._positions
        shift = 0.0 if self._shift is None else self._shift[:, :, 0]
        near = off.reshape(len(self._gram), -1).astype(np.float32)
        self._gram /= np.float32(self._positions)
        self._gram -= near[:, :, None] * near[:, None, :]
        return Moments(mean, (off + shift) * self._unit, self._gram, self._unit)


def _summed(inputs: np.ndarray) -> np.ndarray:
    """Return the sums over the last axis, float32."""
    if inputs.shape[2] < _SHORT:
        return np.asarray(np.einsum("gkp->gk", inputs))
    return np.asarray(inputs.sum(axis=2))


def parameters_of(
    value: ir.Value | None, activations: Mapping[str, Parameters]
) -> Parameters | None:
    """Return the parameters of a value, or of the one that it is a view of; None: it is float."""
    while value is not None and value.name not in activations:
        producer = value.producer()
        value = producer.inputs[0] if producer is not None and is_op(producer, *PASSING) else None
    return None if value is None else activations[str(value.name)]
