"""Tensors side by side, and other kernels that compute something else from some channel on.

TVM computes a vector number by number whose numbers are not all on one side of such a border. Here
vectors end at borders, and what stands for all of a vector is asked once for it.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import tvm_ffi
from tvm import s_tir, tirx

from .annotations import VECTOR
from .core import Core
from .loops import SPATIAL, longest_vector, with_body

#: TVM has no type hints.
Expr: TypeAlias = Any


def with_borders(function: tirx.PrimFunc, core: Core) -> tirx.PrimFunc:
    """Return a kernel without schedule whose blocks say how long vectors are between borders."""

    def divided(block: s_tir.SBlock) -> s_tir.SBlock:
        axes = [axis for axis in block.iter_vars if int(axis.iter_type) == SPATIAL]
        borders = (
            _borders(block.body, axes[-1].var) if len(axes) == len(block.iter_vars) > 0 else []
        )
        if not borders:
            return block
        width = longest_vector(math.gcd(int(axes[-1].dom.extent), *borders), core.lanes)
        return _asking_once(block, axes[-1].var, width) if width > 1 else block

    return tvm_ffi.structural_map(function, (s_tir.SBlock, divided))


def _borders(body: Any, axis: tirx.Var) -> list[int]:
    """Return what an axis is compared with: at and beyond it, and before it."""
    found: list[int] = []

    def beyond(node: tirx.LE) -> None:
        if axis.same_as(node.b) and isinstance(node.a, tirx.IntImm):
            found.append(int(node.a))

    def before(node: tirx.LT) -> None:
        if axis.same_as(node.a) and isinstance(node.b, tirx.IntImm):
            found.append(int(node.b))

    tvm_ffi.structural_walk(body, [(tirx.LE, beyond), (tirx.LT, before)])
    return found


def _asking_once(block: s_tir.SBlock, axis: tirx.Var, width: int) -> s_tir.SBlock:
    """Return a block that compares where a vector starts, as it is on one side of all borders."""
    start = tirx.floordiv(axis, width) * width

    def beyond(node: tirx.LE) -> Expr:
        return tirx.LE(node.a, start) if axis.same_as(node.b) else node

    def before(node: tirx.LT) -> Expr:
        return tirx.LT(start, node.b) if axis.same_as(node.a) else node

    body = tvm_ffi.structural_map(block.body, [(tirx.LE, beyond), (tirx.LT, before)])
    return with_body(block, body, **{VECTOR: width})
