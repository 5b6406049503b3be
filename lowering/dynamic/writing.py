"""Numbers that depend on dimensions, written into the graph: read off with Shape, then computed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import lcm
from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import Problem
from ..editing import Editor
from ..rules.places import place
from .comparing import is_same
from .fitting import Affine, Expression, Fitting, Inner, Product, Seen
from .ranges import Ranges

_INT64: Final = ir.DataType.INT64

#: In the target of a Reshape: as in the input, and what is left.
_COPY, _REST = 0, -1


class Writer:
    """Writes into one model; the same number is computed once.

    Args:
        dims: returns each dimension of a value as it was at the probes.
    """

    def __init__(
        self,
        model: ir.Model,
        ranges: Ranges,
        fitting: Fitting,
        dims: Callable[[ir.Value], tuple[Seen, ...]],
    ) -> None:
        self._edit = Editor(model)
        self._fitting = fitting
        self._dims = dims
        self._known: dict[Hashable, ir.Value] = {}
        values = {str(value.name): value for value in model.graph.inputs}
        self._places = {
            dim: (values[name], axis)
            for name, row in reversed(list(ranges.inputs.items()))
            for axis, dim in reversed(list(enumerate(row)))
            if isinstance(dim, str)
        }

    def reshape(self, node: ir.Node, arrays: Sequence[np.ndarray]) -> list[Problem]:
        """Let a Reshape to a shape that varies copy dimensions, infer one, or compute them."""
        source = node.inputs[0]
        before = self._dims(source) if source is not None else ()
        copies = not node.attributes.get_int("allowzero", 0)
        target: list[int | Expression | None] = []
        for axis, seen in enumerate(_elements(arrays)):
            if len(set(seen)) == 1:
                target.append(seen[0])
            elif copies and axis < len(before) and before[axis] == seen:
                target.append(_COPY)
            else:
                target.append(self._fitting.fit(seen))
        unsettled = [axis for axis, item in enumerate(target) if item is None]
        computed = [axis for axis, item in enumerate(target) if not isinstance(item, int)]
        if len(unsettled) > 1:
            return [self._unknown(node, 1, arrays)]
        if computed:
            target[(unsettled or computed)[-1]] = _REST
        parts = [item for item in target if item is not None]
        self._edit.set_input(node, 1, self._vector(node, parts))
        return []

    def table(
        self,
        node: ir.Node,
        index: int,
        arrays: Sequence[np.ndarray],
        at_most: Callable[[], np.ndarray | None],
    ) -> list[Problem]:
        """Let a node read a constant whose shape varies: one number repeated, or part of a table.

        A table of positions or a causal mask is the beginning, along every axis, of the same at
        the largest sizes, which `at_most` returns.
        """
        shape = self._fitted([np.array(array.shape) for array in arrays])
        if len({array.ndim for array in arrays}) > 1 or shape is None:
            return [self._unknown(node, index, arrays)]
        if all(
            is_same(array, np.broadcast_to(arrays[0].flat[:1], array.shape)) for array in arrays
        ):
            number = self._edit.constant(node, "number", arrays[0].reshape(-1)[:1])
            value = self._insert(node, "Expand", [number, self._vector(node, shape)], number)
        else:
            most = at_most()
            if most is None or not all(_begins(most, array) for array in arrays):
                return [self._unknown(node, index, arrays)]
            axes = [axis for axis, part in enumerate(shape) if not isinstance(part, int)]
            table = self._edit.constant(node, "table", most)
            starts = self._edit.constant(node, "starts", np.zeros(len(axes), np.int64))
            ends = self._vector(node, [shape[axis] for axis in axes])
            along = self._edit.constant(node, "axes", np.array(axes, np.int64))
            value = self._insert(node, "Slice", [table, starts, ends, along], table)
        self._edit.set_input(node, index, value)
        return []

    def _insert(
        self, node: ir.Node, op: str, inputs: Sequence[ir.Value], like: ir.Value
    ) -> ir.Value:
        return self._edit.insert(node, op, inputs, name=op.lower(), dtype=like.dtype, shape=None)

    def _fitted(self, arrays: Sequence[np.ndarray]) -> list[int | Expression] | None:
        """Return a number or a function for each element; None if there is none for some."""
        parts: list[int | Expression] = []
        for seen in _elements(arrays):
            found = seen[0] if len(set(seen)) == 1 else self._fitting.fit(seen)
            if found is None:
                return None
            parts.append(found)
        return parts

    def numbers(self, node: ir.Node, index: int, arrays: Sequence[np.ndarray]) -> list[Problem]:
        """Let a node read whole numbers that vary as it computes them."""
        first = arrays[0]
        parts = self._fitted(arrays) if first.dtype.kind in "iu" else None
        if parts is None:
            return [self._unknown(node, index, arrays)]
        value = self._vector(node, parts)
        if first.ndim != 1:
            shape = self._edit.constant(node, "shape", np.array(first.shape, np.int64))
            value = self._edit.insert(
                node, "Reshape", [value, shape], name="shaped", dtype=_INT64, shape=first.shape
            )
        dtype = ir.DataType.from_numpy(first.dtype)
        if dtype != _INT64:
            value = self._edit.insert(
                node, "Cast", [value], {"to": dtype.value},
                name="cast", dtype=dtype, shape=first.shape,
            )  # fmt: skip
        self._edit.set_input(node, index, value)
        return []

    def _unknown(self, node: ir.Node, index: int, arrays: Sequence[np.ndarray]) -> Problem:
        """Say which constant cannot be computed, and on which dimensions it depends."""
        value = node.inputs[index]
        probes = self._fitting.probes
        on = [
            name for name, array in zip(probes[0], arrays[1:], strict=False)
            if not is_same(array, arrays[0])
        ] or list(probes[0])  # fmt: skip
        shapes = dict.fromkeys(str(list(array.shape)) for array in arrays)
        kind = "numbers" if arrays[0].dtype.kind == "f" else "integers"
        what = (
            f"its constant {str(value.name if value else '')!r} holds {kind} of shape "
            f"{' or '.join(shapes)} that depend on {', '.join(on)}"
        )
        fix = f"give {' and '.join(on)} one size, or export the model so that it computes them"
        return Problem(place(node), what, fix)

    def _vector(self, node: ir.Node, parts: Sequence[int | Expression]) -> ir.Value:
        """Return a vector of numbers; neighbours that are constant are one constant."""
        pieces: list[ir.Value] = []
        pending: list[int] = []

        def settle() -> None:
            if pending:
                pieces.append(self._edit.constant(node, "sizes", np.array(pending, np.int64)))
                pending.clear()

        for part in parts:
            if isinstance(part, int):
                pending.append(part)
            else:
                settle()
                pieces.append(self._number(node, part))
        settle()
        if len(pieces) == 1:
            return pieces[0]
        return self._edit.insert(
            node, "Concat", pieces, {"axis": 0}, name="shape", dtype=_INT64, shape=[len(parts)]
        )

    def _number(self, node: ir.Node, found: Expression) -> ir.Value:
        """Return a vector of the one number that a function gives."""
        if isinstance(found, Inner):
            return self._scaled(node, self._dim(node, found.value, found.axis), found.factor)
        if found not in self._known:
            self._known[found] = (
                self._product(node, found)
                if isinstance(found, Product)
                else self._affine(node, found)
            )
        return self._known[found]

    def _product(self, node: ir.Node, found: Product) -> ir.Value:
        result, *others = [self._dim(node, *self._places[name]) for name in found.names]
        for other in others:
            result = self._binary(node, "Mul", result, other)
        return self._scaled(node, result, found.factor)

    def _affine(self, node: ir.Node, found: Affine) -> ir.Value:
        """Write (a x + b y + ... + c) / d in whole numbers."""
        divisor = lcm(*(factor.denominator for _, factor in found.terms))
        offset = int(found.offset * divisor)
        result: ir.Value | None = None
        for name, factor in found.terms:
            term = self._scaled(node, self._dim(node, *self._places[name]), int(factor * divisor))
            result = term if result is None else self._binary(node, "Add", result, term)
        if result is None:
            return self._edit.constant(node, "size", np.array([offset], np.int64))
        if offset:
            result = self._binary(node, "Add", result, offset)
        return result if divisor == 1 else self._binary(node, "Div", result, divisor)

    def _scaled(self, node: ir.Node, value: ir.Value, factor: int) -> ir.Value:
        return value if factor == 1 else self._binary(node, "Mul", value, factor)

    def _binary(self, node: ir.Node, op: str, value: ir.Value, other: ir.Value | int) -> ir.Value:
        if isinstance(other, int):
            other = self._edit.constant(node, "number", np.array([other], np.int64))
        return self._edit.insert(node, op, [value, other], name=op.lower(), dtype=_INT64, shape=[1])

    def _dim(self, node: ir.Node, value: ir.Value, axis: int) -> ir.Value:
        """Return a dimension of a value as a vector."""
        key = value.name, axis
        if key not in self._known:
            attributes = {"start": axis, "end": axis + 1}
            self._known[key] = self._edit.insert(
                node, "Shape", [value], attributes, name="size", dtype=_INT64, shape=[1]
            )
        return self._known[key]


def _begins(most: np.ndarray, array: np.ndarray) -> bool:
    """Whether an array is the beginning of a larger one along every axis."""
    return is_same(most[tuple(slice(size) for size in array.shape)], array)


def _elements(arrays: Sequence[np.ndarray]) -> list[Seen]:
    """Return each element as it was at the probes."""
    rows = (array.reshape(-1).tolist() for array in arrays)
    return [tuple(int(number) for number in column) for column in zip(*rows, strict=True)]
