"""What numbers the values of a model take on the user's samples.

The samples stream through ONNX Runtime, batch by batch; of every value statistics are kept, not the
numbers, so that memory does not grow with the number of samples.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import Problem, UsageError
from .. import workers
from ..matching import shape_of
from .histogram import Histogram
from .probe import Batches, Probe

#: Grids on which stored images and counts lie: k, k / 127, k / 128, k / 255, k / 256.
#: The exact step is needed: rounding to another of the same fineness costs as much as no grid.
_STEPS: Final = (1 / 256, 1 / 255, 1 / 128, 1 / 127, 1.0)

#: How far a number may lie from its grid, in steps: the rounding of float32.
_OFF_GRID: Final = 1e-3

#: The most numbers of one sample that a histogram takes; of more it takes every k-th.
_SAMPLED: Final = 1 << 15

#: How many numbers of one value are held back until statistics are taken of them, since each
#: taking costs some microseconds whatever their number.
_HELD: Final = 1 << 16

#: Numbers of one batch from which on several threads gather statistics.
_PARALLEL: Final = 1 << 18

#: The most samples that a message lists.
_LISTED: Final = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of one value over all samples.

    Attributes:
        histogram: of its numbers; where one sample (an index of axis 0) has more than 2^15 of
            them, of every k-th number of each sample, k the least for which they are no more than
            2^15 and that has no divisor in common with the length of a sample.
        minimum, maximum: over all numbers, exact; 0 where there are none.
        count: how many numbers there were.
        largest: the largest magnitude of each index of axis 1 (the channels of NCHW), exact;
            float64, of shape (channels,). None for a value of rank 0 or 1.
        step: of a graph input, the finest of the known grids (multiples of 1, 1/127, 1/128, 1/255,
            1/256) on which all numbers lie and of which they span, with zero, at least one step and
            at most 255; None if there is none or all numbers are the same, and for other values.
            An image scaled to k / 127.5 - 1 lies on none, as zero lies between two of its numbers.
    """

    histogram: Histogram
    minimum: float
    maximum: float
    count: int
    largest: np.ndarray | None = None
    step: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """What is known of a model's values.

    Attributes:
        samples: how many samples were run.
        values: the statistics of each value that was asked for, in the order of the request.
        digest: SHA-256 of the inputs' names, dtypes, shapes and numbers, as hexadecimal digits.
    """

    samples: int
    values: Mapping[str, Statistics]
    digest: str


def calibrate(
    model: ir.Model, batches: Batches, names: Iterable[str], *, histograms: bool = True
) -> Calibration:
    """Run the samples through a model and return statistics of some of its values.

    Args:
        model: any stage of the IR that ONNX Runtime can run; it is not changed.
        batches: inputs by name, each of the input's static shape, whose first dimension is the
            batch.
        names: the values: inputs of the graph or outputs of nodes of the main graph, of numbers,
            which are taken as float32.
        histograms: whether they are wanted; else they stay empty, which is faster.

    Raises:
        UsageError: there are no samples; an input is missing, is none of the model's, or has
            another shape or dtype; an input holds NaN or infinities; a value becomes NaN or
            infinite. All inputs and samples are named; of the values, the first of each sample.
        ModelError: ONNX Runtime cannot run the model.
        KeyError: the main graph has no such value.
    """
    samples = _count(batches)
    if not samples:
        raise UsageError(
            "there are no samples to calibrate with", [Problem("", "the data is empty")]
        )
    _require_fitting_inputs(model, batches)
    _require_finite_inputs(batches)
    inputs = {str(value.name) for value in model.graph.inputs}
    probe = Probe(model, tuple(names))
    collectors = {
        name: _Collector(grid=name in inputs, counting=histograms) for name in probe.names
    }
    failed: dict[str, list[int]] = {}
    with workers.pool() as threads:
        for index, found in enumerate(probe.stream(batches)):
            size = sum(array.size for array in found.values())
            each = threads.map if size >= _PARALLEL else map
            taken = [*each(_Collector.take, collectors.values(), found.values())]
            wrong = next((name for name, good in zip(found, taken, strict=True) if not good), "")
            if wrong:
                failed.setdefault(wrong, []).append(index)
    if failed:
        size = samples // len(batches)
        raise UsageError(
            "the model cannot be calibrated: its values leave the range of numbers",
            [
                Problem(
                    _described(model, name),
                    f"becomes NaN or infinite on {_samples(_of_batches(indices, size))}",
                    "leave these samples out, or mend the model",
                )
                for name, indices in failed.items()
            ],
        )
    return Calibration(
        samples, {name: item.statistics() for name, item in collectors.items()}, _digest(batches)
    )


class _Collector:
    """Gathers the statistics of one value; small arrays are held back and taken together."""

    def __init__(self, *, grid: bool, counting: bool) -> None:
        self._histogram = Histogram()
        self._counting = counting
        self._steps: tuple[float, ...] = _STEPS if grid else ()
        self._held: list[np.ndarray] = []
        self._size = 0
        self._count = 0
        self._largest: np.ndarray | None = None

    def take(self, array: np.ndarray) -> bool:
        """Take the numbers of one batch; returns False, and takes none, if one is not finite."""
        array = np.asarray(array, np.float32, order="C")
        if not array.size:
            return True
        if array.size < _HELD:
            if not np.isfinite(array).all():
                return False
            self._held.append(array)
            self._size += array.size
            if self._size >= _HELD:
                self._flush()
            return True
        low, high, channels = _extremes(array)
        if not (math.isfinite(low) and math.isfinite(high)):
            return False
        self._add(array, low, high, channels)
        return True

    def statistics(self) -> Statistics:
        self._flush()
        low, high = self._histogram.minimum, self._histogram.maximum
        if not self._count:
            low = high = 0.0
        return Statistics(
            histogram=self._histogram,
            minimum=low,
            maximum=high,
            count=self._count,
            largest=self._largest,
            step=next(self._grids(low, high), None) if low < high else None,
        )

    def _grids(self, low: float, high: float) -> Iterator[float]:
        """Yield the grids that are left and that the numbers reach, the finest first."""
        largest = max(-low, high)
        return (step for step in self._steps if largest > step * (1 - _OFF_GRID))

    def _flush(self) -> None:
        if self._held:
            whole = np.stack(self._held) if not self._held[0].ndim else np.concatenate(self._held)
            self._held, self._size = [], 0
            self._add(whole, *_extremes(whole))

    def _add(self, array: np.ndarray, low: float, high: float, largest: np.ndarray | None) -> None:
        self._count += array.size
        self._histogram.cover(low, high)
        if self._counting:
            self._histogram.add(_thinned(array))
        span = max(self._histogram.maximum, 0.0) - min(self._histogram.minimum, 0.0)
        steps = [step for step in self._steps if span / step <= 255 + _OFF_GRID]
        self._steps = tuple(step for step in steps if _lies_on(array, step))
        if largest is not None:
            self._largest = (
                np.maximum(self._largest, largest) if self._largest is not None else largest
            )


def _extremes(array: np.ndarray) -> tuple[float, float, np.ndarray | None]:
    """Return the least and the greatest number, and the largest magnitude of each channel.

    NaN and infinity come through.
    """
    if array.ndim < 2:
        return float(array.min()), float(array.max()), None
    lows, highs = (_over_channels(function, array) for function in (np.minimum, np.maximum))
    return float(lows.min()), float(highs.max()), np.maximum(-lows, highs).astype(np.float64)


#: From this length on, reducing the last axis alone is faster than the first axis first.
_ROW: Final = 32


def _over_channels(function: np.ufunc, array: np.ndarray) -> np.ndarray:
    rows = array.reshape(*array.shape[:2], -1)
    first, second = (2, 0) if rows.shape[2] >= _ROW else (0, 1)
    found: np.ndarray = function.reduce(function.reduce(rows, axis=first), axis=second)
    return found


def _thinned(array: np.ndarray) -> np.ndarray:
    """Return the numbers that a histogram takes, evenly from each sample."""
    rows = array.reshape(array.shape[0] if array.ndim else 1, -1)
    step = -(-rows.shape[1] // _SAMPLED)
    while step > 1 and math.gcd(step, rows.shape[1]) > 1:
        step += 1
    return rows[:, ::step]


def _lies_on(array: np.ndarray, step: float) -> bool:
    """Whether all numbers are multiples of a step; a few thousand of them mostly say no."""
    flat = array.reshape(-1)
    for part in (flat[:4096], flat[4096:]):
        places = part / np.float32(step)
        if (np.abs(places - np.rint(places)) > _OFF_GRID).any():
            return False
    return True


def _count(batches: Batches) -> int:
    """Return how many samples there are: the first dimensions of the first input, together."""
    firsts = [next(iter(batch.values())) for batch in batches if batch]
    return sum(len(array) if array.ndim else 1 for array in firsts)


def _digest(batches: Batches) -> str:
    found = hashlib.sha256()
    for batch in batches:
        for name, array in sorted(batch.items()):
            found.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _require_fitting_inputs(model: ir.Model, batches: Batches) -> None:
    """Raise UsageError with every input that is missing, unknown or of another shape or dtype."""
    wanted = {str(value.name): value for value in model.graph.inputs}
    failed: dict[tuple[str, str], list[int]] = {}
    for index, batch in enumerate(batches):
        for name in dict.fromkeys((*wanted, *batch)):
            what = _misfit(batch.get(name), wanted.get(name))
            if what:
                failed.setdefault((name, what), []).append(index)
    if failed:
        raise UsageError(
            "the calibration data does not fit the model's inputs",
            [
                Problem(
                    f"input {name!r}",
                    what
                    if len(places) == len(batches)
                    else f"{what} in {len(places)} of {len(batches)} batches, from {places[0]} on",
                    f"the inputs are: {', '.join(map(_signature, wanted.values()))}",
                )
                for (name, what), places in failed.items()
            ],
        )


def _misfit(array: np.ndarray | None, value: ir.Value | None) -> str:
    """Return what is wrong with the array for an input; nothing if it fits."""
    if value is None:
        return "is none of the model's"
    if array is None:
        return "is missing"
    if array.shape != shape_of(value):
        return f"has shape {array.shape}"
    if value.dtype is not None and array.dtype != value.dtype.numpy():
        return f"has dtype {array.dtype}"
    return ""


def _signature(value: ir.Value) -> str:
    dtype = value.dtype.numpy() if value.dtype is not None else "of any dtype"
    return f"{value.name!r} {dtype} {shape_of(value)}"


def _require_finite_inputs(batches: Batches) -> None:
    """Raise UsageError with every input that holds NaN or infinities, and in which samples."""
    failed: dict[str, list[int]] = {}
    seen = dict.fromkeys((name for batch in batches for name in batch), 0)
    for batch in batches:
        for name, array in batch.items():
            rows = array.reshape(array.shape[0] if array.ndim else 1, -1)
            if array.dtype.kind not in "biu":  # bfloat16 is of no numpy kind
                places = np.flatnonzero(~np.isfinite(rows).all(axis=1)) + seen[name]
                if places.size:
                    failed.setdefault(name, []).extend(places.tolist())
            seen[name] += rows.shape[0]
    if failed:
        raise UsageError(
            "the calibration data is not all numbers",
            [
                Problem(
                    f"input {name!r}",
                    f"holds NaN or infinite values in {_samples(places)}",
                    "leave these samples out",
                )
                for name, places in failed.items()
            ],
        )


def _of_batches(indices: Sequence[int], size: int) -> list[int]:
    return [index * size + place for index in indices for place in range(size)]


def _samples(places: Sequence[int]) -> str:
    """Return samples by number, counted from 0, as words."""
    listed = ", ".join(map(str, places[:_LISTED]))
    more = f" and {len(places) - _LISTED} more" if len(places) > _LISTED else ""
    return f"sample{'s' if len(places) > 1 else ''} {listed}{more}, counted from 0"


def _described(model: ir.Model, name: str) -> str:
    for node in model.graph:
        if any(value.name == name for value in node.outputs):
            return f"value {name!r} of {node.op_type} {node.name!r}"
    return f"input {name!r}"
