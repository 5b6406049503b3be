"""One model with symbolic dimensions, out of static ones: they are the same but for some numbers.

The model is lowered at a few sizes (`probes`), always by the same passes. Where a whole number in a
constant differs (the target of a Reshape, the end of a Slice) it is found as a function of the
dimensions (`fitting`) and computed in the graph; all else has to be equal.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import ModelError, Problem, UsageError
from ..matching import array_of, is_op, shape_of
from .comparing import Sighting, Spot, compare, shapes_of
from .fitting import Fitting, Seen
from .probes import probes, sizes_text
from .ranges import Ranges, Shape, Shapes, Sizes
from .writing import Writer

#: Lowers the model at single shapes of its inputs.
Lower = Callable[[Shapes], ir.Model]

#: The key of `ir.Model.meta` under which a static model has its `Dynamic`.
_KEY: Final = "tapeout.dynamic"


@dataclasses.dataclass(frozen=True)
class Dynamic:
    """What stands for a static model at all shapes.

    Attributes:
        model: the same nodes, with symbolic dimensions at inputs and outputs.
        ranges: what sizes they may have.
        steps: by dimension, what its sizes must be multiples of, where that is not 1.
        source: gives what `model` is held to: the model in the same numbers, imported at one shape.
    """

    model: ir.Model
    ranges: Ranges
    steps: dict[str, int]
    source: Lower

    @functools.cached_property
    def largest(self) -> tuple[ir.Model, ...]:
        """The source at the largest shapes of each profile."""
        return tuple(
            self.source({name: item.max for name, item in profile.items()})
            for profile in self.ranges.profiles
        )

    def interface(self, profile: int) -> list[tuple[Shape, ir.DataType]]:
        """Return the largest shapes of all inputs and outputs in one profile, and their dtypes."""
        sizes: dict[object, int] = {
            item.name: item.intervals[profile][2] for item in self.ranges.dimensions
        }
        found = []
        for value in (*self.model.graph.inputs, *self.model.graph.outputs):
            dims = [
                dim if isinstance(dim, int) else sizes.get(dim.value) for dim in value.shape or ()
            ]
            known = tuple(dim for dim in dims if dim is not None)
            if len(known) < len(dims):  # an output that follows from what varies
                known = shapes_of(self.largest[profile])[str(value.name)]
            found.append((known, value.dtype or ir.DataType.FLOAT))
        return found


def attach(model: ir.Model, dynamic: Dynamic) -> None:
    """Note on a static lowered model what stands for it at all shapes."""
    model.meta[_KEY] = dynamic


def dynamic_of(model: ir.Model) -> Dynamic | None:
    """Return what stands for a lowered model at all shapes; None if its shapes are static."""
    found = model.meta.get(_KEY)
    return found if isinstance(found, Dynamic) else None


def generalize(lower: Lower, ranges: Ranges) -> Dynamic:
    """Return one model for all sizes in the ranges.

    First of any sizes; where these do not work out (a network that halves a picture five times may
    take multiples of 32 only), of multiples of what all sizes that were asked for are multiples of.
    Where the file has no names for the dimensions, these may be independent, or have to be equal.

    Raises:
        ModelError: the model cannot be said for all sizes at once: every finding.
    """
    tied = ranges.tied()
    choices = (ranges,) if tied == ranges else (ranges, tied)
    *attempts, last = ((some, steps) for some in choices for steps in _steps(some))
    for some, steps in attempts:
        try:
            return _Generalizer(lower, some, steps).result()
        except ModelError:
            continue
    return _Generalizer(lower, *last).result()


def _steps(ranges: Ranges) -> list[tuple[int, ...]]:
    """Return what sizes may be multiples of: of anything; all but batches of more; all of more."""
    leading = {dims[0] for dims in ranges.inputs.values() if dims}
    steps = tuple(item.step for item in ranges.dimensions)
    inner = tuple(1 if item.name in leading else item.step for item in ranges.dimensions)
    return list(dict.fromkeys([(1,) * len(steps), inner, steps]))


class _Generalizer:
    """Looks at the model at the probes, then rewrites the first of these models."""

    def __init__(self, lower: Lower, ranges: Ranges, steps: Sequence[int]) -> None:
        self._ranges = ranges
        self._steps = steps
        self._names = [dimension.name for dimension in ranges.dimensions]
        self._probes: list[dict[str, int]] = probes(ranges, steps)
        self._lower = lower
        self._model = self._lowered(self._probes[0])
        self._base = shapes_of(self._model)
        self._others = [self._seen_at(sizes) for sizes in self._probes[1:]]
        problems = [problem for other in self._others for problem in other.problems]
        if problems:
            raise _refused(list(dict.fromkeys(problems)))

    def _lowered(self, sizes: Sizes) -> ir.Model:
        """Return the model at single sizes; an error says that it is one of these only."""
        try:
            return self._lower(self._ranges.shapes(sizes))
        except (ModelError, UsageError) as error:
            where = f"{error.summary}, where {sizes_text(sizes)}"
            raise ModelError(where, error.problems) from error

    def _seen_at(self, sizes: Sizes) -> Sighting:
        base = self._probes[0]
        changed = [name for name in self._names if sizes[name] != base[name]]
        cause = f"{', '.join(changed)} ({sizes_text(base)} or {sizes_text(sizes)})"
        return compare(self._model, self._lowered(sizes), cause)

    def result(self) -> Dynamic:
        inner: dict[Seen, tuple[ir.Value, int]] = {}
        steps = dict(zip(self._names, self._steps, strict=True))
        fitting = Fitting(self._probes, inner, steps)
        writer = Writer(self._model, self._ranges, fitting, self._dims)
        problems: list[Problem] = []
        for node in tuple(self._model.graph):
            for index, value in enumerate(node.inputs):
                key = str(node.name), index
                if value is not None and any(key in other.constants for other in self._others):
                    problems += self._settle(writer, node, index, value)
            for value in node.outputs:
                for axis, dims in enumerate(self._dims(value)):
                    if len(set(dims)) > 1:
                        inner.setdefault(dims, (value, axis))
        if problems:
            raise _refused(problems)
        self._name_dimensions()
        kept = {name: step for name, step in steps.items() if step > 1}
        return Dynamic(self._model, self._ranges, kept, self._lower)

    def _settle(self, writer: Writer, node: ir.Node, index: int, value: ir.Value) -> list[Problem]:
        """Let a node compute a constant that differs from probe to probe."""
        first = array_of(value)
        if first is None:
            return []
        key = str(node.name), index
        arrays = [first, *(other.constants.get(key, first) for other in self._others)]
        if is_op(node, "Reshape") and index == 1:
            return writer.reshape(node, arrays)
        if len({array.shape for array in arrays}) > 1:
            return writer.table(node, index, arrays, lambda: self._at_most.get(key))
        return writer.numbers(node, index, arrays)

    @functools.cached_property
    def _at_most(self) -> dict[Spot, np.ndarray]:
        """The constants that differ at the largest sizes."""
        sizes = {name: max(self._seen(name)) for name in self._names}
        largest = {item.name: max(item.most, sizes[item.name]) for item in self._ranges.dimensions}
        return self._seen_at(largest).constants

    def _dims(self, value: ir.Value) -> tuple[Seen, ...]:
        """Return each dimension of a value as it was at the probes."""
        name = str(value.name)
        if name not in self._base:
            return tuple((dim,) * len(self._probes) for dim in shape_of(value) or ())
        rows = [self._base[name], *(other.shapes.get(name, ()) for other in self._others)]
        return tuple(zip(*rows, strict=True)) if len({len(row) for row in rows}) == 1 else ()

    def _name_dimensions(self) -> None:
        """Give inputs their names of dimensions; of other values, leave open what varies."""
        named = {seen: name for name in self._names for seen in [self._seen(name)]}
        for value in [
            *self._model.graph.inputs,
            *(value for node in self._model.graph for value in node.outputs),
        ]:
            if value.name in self._base:
                value.shape = ir.Shape(
                    [
                        dims[0] if len(set(dims)) == 1 else named.get(dims)
                        for dims in self._dims(value)
                    ]
                )

    def _seen(self, name: str) -> Seen:
        return tuple(sizes[name] for sizes in self._probes)


def _refused(problems: Sequence[Problem]) -> ModelError:
    return ModelError("the model cannot be compiled for a range of shapes", problems)
