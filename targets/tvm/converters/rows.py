"""Sums along the last axis, and what is made of each row with them, as `schedules` makes them fast.

The numbers of a row are summed in lanes: each sums every so many-th number, and in the end the
halves of the lanes are added until one is left. So the order of a sum is not that of the numbers,
and its error is smaller. A kernel reads a row as often as it needs, while it is in the cache; half
precision as it is stored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from tvm import te, tirx

from ..schedules.annotations import ROW
from ..schedules.core import LATENCY, Core
from .call import Call, Expr, Shape, as_stored, core_of, reshaped
from .products import FUSABLE
from .tiles import Index, Tensor

#: What gives the number of a row (by the index of the row) at a place.
Read: TypeAlias = Callable[[Index, Any], Any]

#: What combines two numbers, and the number that changes no other.
Combine: TypeAlias = tuple[Callable[[Any, Any], Any], float]

SUM: Final[Combine] = (lambda a, b: a + b, 0.0)
LARGEST: Final[Combine] = (lambda a, b: tirx.max(a, b), -np.inf)
SMALLEST: Final[Combine] = (lambda a, b: tirx.min(a, b), np.inf)


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a kernel: axes before the last, and how many numbers each has."""

    outer: Shape
    count: int
    core: Core

    def each(self, value: Callable[[Index], Any], name: str) -> Tensor:
        """Return one number for each row."""
        return te.compute(
            (*self.outer, 1), lambda *index: value(index[:-1]), name=name, attrs={ROW: 1}
        )

    def all(self, value: Read, name: str) -> Tensor:
        """Return all numbers of the rows."""
        return te.compute(
            (*self.outer, self.count),
            lambda *index: value(index[:-1], index[-1]),
            name=name,
            attrs={ROW: 1},
        )

    def combined(self, value: Read, combine: Combine, name: str) -> Callable[[Index], Any]:
        """Return what gives the sum of a row, or its largest number."""
        join, start = combine
        first = tirx.const(start, "float32")
        reducer = te.comm_reducer(join, lambda _: first, name=name)
        lanes = _lanes(self.count, self.core)
        whole, rest = divmod(self.count, lanes)

        def lane(*index: Any) -> Any:
            step = te.reduce_axis((0, whole), "step")
            return reducer(value(index[:-1], step * lanes + index[-1]), axis=[step])

        def left_over(*index: Any) -> Any:
            step = te.reduce_axis((0, rest), "step")
            return reducer(value(index[:-1], whole * lanes + step), axis=[step])

        part = te.compute((*self.outer, lanes), lane, name=f"{name}_lanes", attrs={ROW: 1})
        for half in (2**k for k in reversed(range(lanes.bit_length() - 1))):
            part = self._halved(part, half, join, f"{name}_{half}")
        if not rest:
            return lambda row: part(*row, 0)
        tail = te.compute((*self.outer, 1), left_over, name=f"{name}_rest", attrs={ROW: 1})
        return lambda row: join(part(*row, 0), tail(*row, 0))

    def _halved(self, part: Tensor, lanes: int, join: Callable[[Any, Any], Any], name: str) -> Any:
        def half(*index: Any) -> Any:
            *row, lane = index
            return join(part(*row, lane), part(*row, lane + lanes))

        return te.compute((*self.outer, lanes), half, name=name, attrs={ROW: 1})


def _lanes(count: int, core: Core) -> int:
    """Return in how many lanes a row is summed: enough to keep the units busy, few left over."""
    found = 1
    while 2 * found <= min(count, LATENCY * core.lanes):
        found *= 2
    while found > core.lanes and count % found >= core.lanes:
        found //= 2
    return found


def emit_rows(
    call: Call,
    name: str,
    arguments: Sequence[Expr],
    axes: int,
    compute: Callable[..., Tensor],
) -> Expr:
    """Return the call of a kernel over rows.

    Args:
        arguments: expressions; the first has the rows.
        axes: of the first argument that make up a row: its last ones. They are given as one.
        compute: given the rows and what reads each argument as float32, returns the kernel's last
            tensor.
    """
    data, *others = (call.emit(as_stored(item)) for item in arguments)
    shape = tuple(int(dim) for dim in data.ty.shape)
    outer, inner = shape[: len(shape) - axes], shape[len(shape) - axes :]
    rows = Rows(outer, int(np.prod(inner, dtype="int64")), core_of(call))
    if axes != 1:
        data = call.emit(reshaped(data, (*outer, rows.count)))
    return call.builder.emit_te(
        lambda *tensors: compute(rows, *map(_in_single, tensors)),
        data,
        *others,
        primfunc_name_hint=name,
        primfunc_attrs={"op_pattern": FUSABLE},
    )


def _in_single(tensor: Tensor) -> Tensor:
    """Return what reads the numbers of a tensor as float32."""
    if str(tensor.dtype) == "float32":
        return tensor
    return lambda *index: tensor(*index).astype("float32")


def takes(call: Call, axes: Sequence[int]) -> bool:
    """Whether input 0 is of float32, and axes are its last and have several numbers."""
    shape, rank = call.shape(), call.rank()
    last = sorted(axes) == list(range(rank - len(axes), rank)) and bool(axes)
    count = int(np.prod([shape[axis] for axis in axes], dtype="int64"))
    return call.core is not None and call.dtype() == "float32" and last and count > 1


def reduction(call: Call, x: Expr, axes: int, combine: Combine) -> Expr:
    """Return the sums, or largest numbers, of rows of the last so many axes, which stay as one."""

    def compute(rows: Rows, data: Tensor) -> Tensor:
        total = rows.combined(lambda row, k: data(*row, k), combine, "total")
        return rows.each(total, "y")

    return emit_rows(call, "row", [x], axes, compute)


def softmax(call: Call, x: Expr) -> Expr:
    """Return the softmax along the last axis."""

    def compute(rows: Rows, data: Tensor) -> Tensor:
        peak = rows.combined(lambda row, k: data(*row, k), LARGEST, "peak")
        largest = rows.each(peak, "largest")
        exps = rows.all(lambda row, k: tirx.exp(data(*row, k) - largest(*row, 0)), "exps")
        total = rows.combined(lambda row, k: exps(*row, k), SUM, "total")
        inverse = rows.each(lambda row: tirx.const(1.0, "float32") / total(row), "inverse")
        return rows.all(lambda row, k: exps(*row, k) * inverse(*row, 0), "y")

    return emit_rows(call, "softmax", [x], 1, compute)


def normalization(
    call: Call,
    x: Expr,
    axes: int,
    epsilon: float,
    others: Sequence[Expr] = (),
    finish: Callable[..., Any] | None = None,
) -> Expr:
    """Return (x - mean) / sqrt(variance + epsilon) of rows of the last so many axes, as one axis.

    Args:
        others: more tensors.
        finish: given a number of the result, its row and place, and the other tensors, returns
            what is to be made of it.
    """

    def compute(rows: Rows, data: Tensor, *tensors: Tensor) -> Tensor:
        share = tirx.const(1.0 / rows.count, "float32")
        total = rows.combined(lambda row, k: data(*row, k), SUM, "total")
        mean = rows.each(lambda row: total(row) * share, "mean")

        def square(row: Index, k: Any) -> Any:
            return (data(*row, k) - mean(*row, 0)) * (data(*row, k) - mean(*row, 0))

        squares = rows.combined(square, SUM, "squares")
        inverse = rows.each(
            lambda row: (
                tirx.const(1.0, "float32")
                / tirx.sqrt(squares(row) * share + tirx.const(epsilon, "float32"))
            ),
            "inverse",
        )

        def element(row: Index, k: Any) -> Any:
            value = (data(*row, k) - mean(*row, 0)) * inverse(*row, 0)
            return finish(value, row, k, *tensors) if finish else value

        return rows.all(element, "y")

    return emit_rows(call, "normalization", [x, *others], axes, compute)
