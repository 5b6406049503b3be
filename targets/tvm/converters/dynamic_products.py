"""Matrix products of two computed operands, as `schedules` makes them fast.

As `products`, but that the kernel packs the second operand, too, and reads both through the
transposes that made them:

    panels (batch..., tiles, blocks, 1, depth, lanes)   the second operand, tile by tile
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from tvm import relax, te, tirx

from ..schedules.arithmetic import FLOATS
from .call import Call, Expr, Shape, core_of
from .products import FUSABLE, POINT, Plan
from .storage import Storage
from .tiles import Index, Tensor

op = relax.op

#: Rows for which the second operand is worth packing.
_LEAST_ROWS: Final = 4


@dataclasses.dataclass(frozen=True)
class _Operand:
    """A matrix (batch..., rows, columns), and the expression whose axes, in an order, it is."""

    source: Expr
    order: Shape

    @classmethod
    def of(cls, call: Call, expression: relax.Var) -> _Operand:
        """Return an operand, without the transpose that made it."""
        rank = len(expression.ty.shape)
        made = call.builder.lookup_binding(expression)
        if isinstance(made, relax.Call) and str(made.op.name) == "relax.permute_dims":
            axes = made.attrs.axes
            order = range(rank)[::-1] if axes is None else (int(axis) % rank for axis in axes)
            return cls(made.args[0], tuple(order))
        return cls(expression, tuple(range(rank)))

    @property
    def shape(self) -> Shape:
        dims = [int(dim) for dim in self.source.ty.shape]
        return tuple(dims[axis] for axis in self.order)

    def read(self, tensor: Tensor, outer: Index, row: Any, column: Any) -> Any:
        """Return one element for a place in a batch, whose leading axes broadcast."""
        *batch, _, _ = self.shape
        own = outer[len(outer) - len(batch) :]
        index = [*(0 if dim == 1 else k for dim, k in zip(batch, own, strict=True)), row, column]
        return tensor(*(index[self.order.index(axis)] for axis in range(len(index))))


def is_worth(call: Call) -> bool:
    """Whether a node's product of two matrices, or of batches, has enough rows to pack for."""
    known = call.core is not None and call.out_dtype() in FLOATS
    return known and min(call.rank(0), call.rank(1)) > 1 and call.out_shape()[-2] >= _LEAST_ROWS


def dynamic_product(call: Call, a: Expr, b: Expr, out: Shape) -> Expr:
    """Return numpy's matmul of two matrices of floats, or of batches.

    Args:
        a: (batch..., M, K).
        b: (batch..., K, N); the axes of the batches broadcast.
        out: (batch..., M, N).
    """
    left, right = _Operand.of(call, call.emit(a)), _Operand.of(call, call.emit(b))
    *batch, rows, columns = out
    depth = left.shape[-1]
    dtype = call.out_dtype()
    shape, storage = (*batch, rows, depth), Storage(FLOATS[dtype], dtype)
    weight = (1, depth, columns)
    plan = Plan.of(POINT, weight, shape, out, storage, core_of(call), kind="dynamic")

    def compute(x: Tensor, y: Tensor) -> Tensor:
        panels = _panels(plan, batch, columns, lambda *index: right.read(y, *index))
        return plan.compute(
            lambda *index: left.read(x, index[:-2], *index[-2:]),
            lambda outer, *index: panels(*outer, *index),
        )

    return call.builder.emit_te(
        compute,
        left.source,
        right.source,
        primfunc_name_hint="product",
        primfunc_attrs={"op_pattern": FUSABLE},
    )


def _panels(plan: Plan, batch: Sequence[int], columns: int, read: Any) -> Tensor:
    """Return the second operand in the order in which tiles use it, zeros outside."""
    tile, depth = plan.tile, plan.blocks.depth
    spare = plan.tiles * tile.channels != columns or tile.lanes != tile.channels

    def element(*index: Any) -> Any:
        *outer, at, block, _, inner, lane = index
        column = at * tile.channels + lane
        value = read(outer, block * depth + inner, column)
        if not spare:
            return value
        inside = tirx.all(lane < tile.channels, column < columns)
        return tirx.if_then_else(tirx.likely(inside), value, tirx.const(0.0, plan.storage.dtype))

    shape = (*batch, plan.tiles, plan.count, 1, depth, tile.lanes)
    return te.compute(shape, element, name="panels")
