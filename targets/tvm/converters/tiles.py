"""Kernels of our own: one loop nest, whose sums never lie in memory beyond one tile.

TVM's default code computes all sums of a convolution before it does anything with the first of
them: of an integer kernel that would be a tensor four times as large as its output. Here the sums
of a few neighbours are kept in registers, and what becomes of them is written at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from tvm import relax, s_tir, te

from ..schedules.annotations import SCHEDULED
from .call import Call, Expr, Shape

#: TVM has no type hints: a tensor of its tensor expressions, the index of an element, a block and a
#: loop of a schedule.
Tensor: TypeAlias = Any
Index: TypeAlias = Sequence[Any]
Block: TypeAlias = Any
Loop: TypeAlias = Any

#: The most neighbours along the last axis that are computed as one vector, along the axis before
#: it, and of both: 64 sums of 32 bits fill half of 16 registers of 256 bits.
LANES: Final = 16
ROWS: Final = 8
SUMS: Final = 64

#: `OpPatternKind`'s kOpaque: no pass merges the kernel with another, it is one already.
OPAQUE: Final = 8


def emit(
    call: Call,
    name: str,
    arguments: Sequence[Expr | np.ndarray],
    compute: Callable[..., Tensor],
    lanes: int | None = None,
) -> Expr:
    """Return the call of a new kernel.

    Args:
        arguments: expressions, or constants.
        compute: given one tensor for each argument, returns the tensor ``y``. It may be computed
            from one of the name ``sums``, and that from one of the name ``padded``.
        lanes: how many neighbours along the last axis are alike; all of them if not given.
    """
    given = [relax.const(item) if isinstance(item, np.ndarray) else item for item in arguments]
    tensors = [
        te.placeholder(tuple(int(dim) for dim in item.ty.shape), str(item.ty.dtype), f"p{index}")
        for index, item in enumerate(given)
    ]
    result = compute(*tensors)
    function = te.create_prim_func([*tensors, result])
    if call.core is not None:
        schedule = s_tir.Schedule(function)
        _tile(schedule, call.out_shape(), lanes)
        attributes = {"op_pattern": OPAQUE, SCHEDULED: True}
        function = schedule.mod["main"].with_attrs(attributes)
    kernel = call.builder.add_func(function.without_attr("global_symbol"), name)
    return relax.call_tir(kernel, given, relax.TensorType(call.out_shape(), str(result.dtype)))


def at(tensor: Tensor, index: Index) -> Any:
    """Return the element that broadcasting puts at an index of the output."""
    dims = [int(dim) for dim in tensor.shape]
    own = index[len(index) - len(dims) :] if dims else ()
    return tensor(*(0 if dim == 1 else k for dim, k in zip(dims, own, strict=True)))


def _tile(schedule: s_tir.Schedule, shape: Shape, lanes: int | None) -> None:
    if not shape:
        return
    block = schedule.get_sblock("y")
    *outer, last = schedule.get_loops(block)
    sums = _block(schedule, "sums")
    rows = shape[-2] if outer and sums is not None else 1
    height, width = _extents(rows, lanes or shape[-1])
    high, vector = schedule.split(last, [None, width])
    if sums is not None:
        if outer:
            outer[-1], row = schedule.split(outer[-1], [None, height])
            schedule.reorder(outer[-1], high, row, vector)
            schedule.unroll(row)
        _keep(schedule, sums, [*outer, high], len(shape))
    schedule.vectorize(vector)
    padded = _block(schedule, "padded")
    if padded is not None:
        channels = schedule.get_loops(padded)[-1]
        factor = max(_divisors(int(schedule.get(channels).extent), 4 * LANES))
        schedule.vectorize(schedule.split(channels, [None, factor])[1])


def _extents(rows: int, lanes: int) -> tuple[int, int]:
    """Return how many rows and lanes a tile has: the most sums, in the longest vectors."""
    pairs = [
        (height * width, width, height)
        for height in _divisors(rows, ROWS)
        for width in _divisors(lanes, LANES)
        if height * width <= SUMS
    ]
    _, width, height = max(pairs)
    return height, width


def _keep(schedule: s_tir.Schedule, sums: Block, around: list[Loop], rank: int) -> None:
    """Compute the sums of one tile inside the loops `around` its use, in registers."""
    schedule.compute_at(sums, around[-1], preserve_unit_loops=True)
    inner = schedule.get_loops(sums)[len(around) :]
    spatial, summed = inner[:rank], inner[rank:]
    schedule.reorder(*summed, *spatial)
    schedule.vectorize(spatial[-1])
    for loop in spatial[-2:-1]:
        schedule.unroll(loop)
    schedule.decompose_reduction(sums, summed[0])
    schedule.set_scope(sums, 0, "local")


def _block(schedule: s_tir.Schedule, name: str) -> Block | None:
    found = schedule.get_child_blocks(schedule.get_sblock("root"))
    names = [str(schedule.get(item).name_hint) for item in found]
    return found[names.index(name)] if name in names else None


def _divisors(number: int, most: int) -> list[int]:
    """Return the divisors of a number that are not above `most`."""
    return [divisor for divisor in range(1, most + 1) if number % divisor == 0]
