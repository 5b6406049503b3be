"""Operators that read or write where indices say: rows of a table, by their numbers.

Indices of several axes become the number of a row or of an element, so that one gather or scatter
is all that is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from ..call import Call, Converter, NotSaidError, Options, Shape

_NONE: Final = {"fusedActivationFunction": 0}


def gather(call: Call) -> None:
    axis = call.axis(0)
    where = _from_the_front(call, 1, call.shape()[axis])
    options = ("GatherOptions", {"axis": axis, "batchDims": 0})
    call.emit("GATHER", [call.input(), where], None, options)


def gather_nd(call: Call) -> None:
    batch, depth = int(call.attr("batch_dims", 0)), call.shape(1)[-1]
    shape = call.shape()
    sizes = shape[batch : batch + depth]
    indices = _from_the_front(call, 1, np.array(sizes))
    if not batch:
        call.emit("GATHER_ND", [call.input(), _short(call, indices)], None, ("GatherNdOptions", {}))
        return
    # The rows of one batch come after those of the one before.
    count = math.prod(sizes)
    starts = np.arange(math.prod(shape[:batch])).reshape(shape[:batch]) * count
    places = call.shape(1)[:-1]
    starts = np.broadcast_to(starts.reshape(*shape[:batch], *[1] * (len(places) - batch)), places)
    rows = _added(call, _row(call, indices, sizes), starts)
    table = (math.prod(shape[: batch + depth]), *shape[batch + depth :])
    data = call.reshape(call.input(), table)
    call.emit("GATHER", [data, rows], None, ("GatherOptions", {"axis": 0}))


def gather_elements(call: Call) -> None:
    data = call.reshape(call.input(), (math.prod(call.shape()),))
    call.emit("GATHER", [data, _element(call)], None, ("GatherOptions", {"axis": 0}))


def scatter_elements(call: Call) -> None:
    count, places = math.prod(call.shape()), math.prod(call.shape(1))
    found = call.constant(1)
    if found is not None and _replaces(call):
        at = np.indices(call.shape(1))
        at[call.axis(0)] = found.array % call.shape()[call.axis(0)]
        numbers = np.ravel_multi_index(tuple(at), call.shape()).reshape(-1)
        _replace(call, (count, 1), numbers)
        return
    _scatter(call, (count, 1), call.reshape(_element(call), (places,)), (places, 1))


def scatter_nd(call: Call) -> None:
    depth = call.shape(1)[-1]
    sizes, length = call.shape()[:depth], math.prod(call.shape()[depth:])
    places, found = math.prod(call.shape(1)[:-1]), call.constant(1)
    table = (math.prod(sizes), length)
    if found is not None and _replaces(call):
        at = tuple((found.array.reshape(places, depth) % np.array(sizes)).T)
        _replace(call, table, np.ravel_multi_index(at, sizes))
        return
    rows = _row(call, _from_the_front(call, 1, np.array(sizes)), sizes)
    _scatter(call, table, call.reshape(rows, (places,)), (places, length))


def _replaces(call: Call) -> bool:
    return str(call.attr("reduction", "none")) == "none"


def _replace(call: Call, table: Shape, rows: np.ndarray) -> None:
    """Put updates (input 2) in the place of known rows of the data: one gather of both."""
    places = np.arange(table[0])
    places[rows] = table[0] + np.arange(len(rows))
    data = call.reshape(call.input(0), table)
    updates = call.reshape(call.input(2), (len(rows), table[1]))
    both = call.temporary((table[0] + len(rows), table[1]), data, "both")
    fields = {"axis": 0, "fusedActivationFunction": 0}
    call.emit("CONCATENATION", [data, updates], both, ("ConcatenationOptions", fields))
    result = _result(call, table, data)
    where = call.int32(places.tolist(), "places")
    call.emit("GATHER", [both, where], result, ("GatherOptions", {"axis": 0}))
    _finish(call, result)


def _result(call: Call, table: Shape, data: int) -> int:
    """Return a tensor for the whole table: the output, if it has its shape."""
    return call.output() if table == call.out_shape() else call.temporary(table, data, "result")


def _finish(call: Call, result: int) -> None:
    if result != call.output():
        call.reshape(result, call.out_shape(), call.output())


def _scatter(call: Call, table: Shape, rows: int, changed: Shape) -> None:
    """Write the updates (input 2) into the rows of the data (input 0), as a table.

    SCATTER_ND starts from zeros, and adds up what comes to the same place.
    """
    reduction = str(call.attr("reduction", "none"))
    data, updates = call.reshape(call.input(0), table), call.reshape(call.input(2), changed)
    dtype = call.writer.tensors[data].dtype
    if dtype not in ("float32", "int32", "int64"):
        raise NotSaidError(f"SCATTER_ND adds up no {dtype}")
    if reduction in _IN_TURN:
        _update(call, data, rows, updates, _IN_TURN[reduction])
        return
    where = call.reshape(_short(call, rows), (changed[0], 1))
    written = call.temporary(table, data, "written")
    shape = call.int32(table, "table")
    call.emit("SCATTER_ND", [where, updates, shape], written, ("ScatterNdOptions", {}))
    result = _result(call, table, data)
    if reduction == "add":
        call.emit("ADD", [data, written], result, ("AddOptions", _NONE))
    else:
        is_written = _marked(call, where, table[0])
        inputs = [is_written, written, data]
        call.emit("SELECT_V2", inputs, result, ("SelectV2Options", {}))
    _finish(call, result)


#: Reduction -> what combines a row with an update.
_IN_TURN: Final[dict[str, tuple[str, Options]]] = {
    "max": ("MAXIMUM", ("MaximumMinimumOptions", {})),
    "min": ("MINIMUM", ("MaximumMinimumOptions", {})),
    "mul": ("MUL", ("MulOptions", _NONE)),
}

#: How many updates are made one after the other.
_MOST: Final = 64


def _update(call: Call, data: int, rows: int, updates: int, operator: tuple[str, Options]) -> None:
    """Combine rows of a table with updates in turn: the same row may come again."""
    table, (count, length) = call.shape_of(data), call.shape_of(updates)
    if count > _MOST:
        raise NotSaidError(f"{count} updates in turn, and {_MOST} are the most")
    dtype = call.writer.tensors[rows].dtype
    numbers = call.make(np.arange(table[0]).astype(dtype)[:, None], "numbers")
    places = _parts(call, call.reshape(rows, (count, 1)), (1, 1), "place")
    for index, update in enumerate(_parts(call, updates, (1, length), "update")):
        is_meant = call.writer.tensor(f"{call.node.name}/is_meant_{index}", (table[0], 1), "bool")
        call.emit("EQUAL", [numbers, places[index]], is_meant, ("EqualOptions", {}))
        both = call.temporary(table, data, f"both_{index}")
        call.emit(operator[0], [data, update], both, operator[1])
        last = index == count - 1
        made = _result(call, table, data) if last else call.temporary(table, data, f"step_{index}")
        call.emit("SELECT_V2", [is_meant, both, data], made, ("SelectV2Options", {}))
        data = made
    _finish(call, data)


def _parts(call: Call, tensor: int, shape: Shape, name: str) -> list[int]:
    """Split a tensor along its first axis."""
    count = call.shape_of(tensor)[0]
    if count == 1:
        return [tensor]
    parts = [call.temporary(shape, tensor, f"{name}_{index}") for index in range(count)]
    axis = call.make(np.array(0, np.int32), "axis")
    call.emit("SPLIT", [axis, tensor], parts, ("SplitOptions", {"numSplits": count}))
    return parts


def _marked(call: Call, where: int, rows: int) -> int:
    """Return which rows are written, as a column of booleans."""
    ones = call.make(np.ones((call.shape_of(where)[0], 1), np.int32), "ones")
    counts = call.temporary((rows, 1), ones, "counts")
    inputs = [where, ones, call.int32((rows, 1), "column")]
    call.emit("SCATTER_ND", inputs, counts, ("ScatterNdOptions", {}))
    marked = call.writer.tensor(f"{call.node.name}/is_written", (rows, 1), "bool")
    zero = call.make(np.array(0, np.int32), "zero")
    call.emit("GREATER", [counts, zero], marked, ("GreaterOptions", {}))
    return marked


def _from_the_front(call: Call, index: int, size: int | np.ndarray) -> int:
    """Return indices, which may count from the back, counted from the front."""
    found = call.constant(index)
    if found is not None:
        array = np.where(found.array < 0, found.array + size, found.array)
        return call.make(array.astype(np.int32), "indices")
    indices = call.input(index)
    known = call.writer.tensors[indices]
    counted = call.temporary(known.shape, indices, "counted")
    sizes = call.make(np.array(size, known.dtype), "size")
    call.emit("FLOOR_MOD", [indices, sizes], counted, ("FloorModOptions", {}))
    return counted


def _element(call: Call) -> int:
    """Return the numbers of the elements that indices along one axis mean."""
    axis, shape, places = call.axis(0), call.shape(), call.shape(1)
    indices = _from_the_front(call, 1, shape[axis])
    strides = _strides(shape)
    grid = np.indices(places)
    others = [item * stride for item, stride in zip(grid, strides, strict=True)]
    starts = np.sum([item for at, item in enumerate(others) if at != axis] or [0 * grid[0]], axis=0)
    return _added(call, _multiplied(call, indices, np.array(strides[axis])), starts)


def _row(call: Call, indices: int, sizes: Sequence[int]) -> int:
    """Return the numbers of the rows that the last axis of indices means."""
    shape = call.shape_of(indices)
    if len(sizes) == 1:
        return call.reshape(indices, shape[:-1])
    moved = _multiplied(call, indices, np.array(_strides(sizes)))
    rows = call.temporary(shape[:-1], indices, "rows")
    axes = call.int32((len(shape) - 1,), "axes")
    call.emit("SUM", [moved, axes], rows, ("ReducerOptions", {"keepDims": False}))
    return rows


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _multiplied(call: Call, numbers: int, factor: np.ndarray) -> int:
    if (factor == 1).all():
        return numbers
    known = call.writer.tensors[numbers]
    made = call.temporary(known.shape, numbers, "moved")
    other = call.make(factor.astype(known.dtype), "strides")
    call.emit("MUL", [numbers, other], made, ("MulOptions", _NONE))
    return made


def _added(call: Call, numbers: int, starts: np.ndarray) -> int:
    if not starts.any():
        return numbers
    known = call.writer.tensors[numbers]
    made = call.temporary(known.shape, numbers, "places")
    other = call.make(starts.astype(known.dtype), "starts")
    call.emit("ADD", [numbers, other], made, ("AddOptions", _NONE))
    return made


def _short(call: Call, numbers: int) -> int:
    """Return indices as int32, which some kernels want."""
    return call.cast(numbers, "int32", "short")


INDEXING: Final[dict[str, Converter]] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
}
