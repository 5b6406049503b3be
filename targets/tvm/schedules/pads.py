"""Sums over windows that are partly outside of an image: what is outside is skipped.

Where a kernel reads an image without copying it first, each number of a window may be a pad. Beside
each other, rows of a tile are written out, so that TVM knows at which columns that is so. For rows
of the image it is asked once for all that is multiplied with a row of the window.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Call

from .annotations import DEPTHWISE
from .loops import SPATIAL, with_body

#: TVM has no type hints: an expression.
Expr: TypeAlias = Any

_CHOICE: Final = "if_then_else"


def without_rows_outside(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a scheduled kernel that skips terms of sums for rows that are pads, which are zero."""

    def skipping(realized: s_tir.SBlockRealize) -> s_tir.SBlockRealize:
        block = realized.block
        summed = [axis.var for axis in block.iter_vars if int(axis.iter_type) != SPATIAL]
        tests: list[Expr] = []
        if DEPTHWISE not in block.annotations or len(summed) < 2:
            return realized

        def asked_before(choice: Call) -> Expr:
            if not str(choice.op.name).endswith(_CHOICE) or not _is_zero(choice.args[2]):
                return choice
            known = [test for test in _all_of(choice.args[0]) if _is_of_row(test, summed)]
            tests.extend(known)
            kept = [test for test in _all_of(choice.args[0]) if not _is_of_row(test, summed)]
            return tirx.if_then_else(tirx.all(*kept), *choice.args[1:]) if kept else choice.args[1]

        body = tvm_ffi.structural_map(block.body, (Call, asked_before))
        if not tests:
            return realized
        places = {
            axis.var: value
            for axis, value in zip(block.iter_vars, realized.iter_values, strict=True)
        }
        asked = tvm_ffi.structural_map(
            tirx.all(*tests), (tirx.Var, lambda var: places.get(var, var))
        )
        predicate = tirx.all(realized.predicate, asked)
        return s_tir.SBlockRealize(realized.iter_values, predicate, with_body(block, body))

    return tvm_ffi.structural_map(function, (s_tir.SBlockRealize, skipping))


def _is_zero(value: Expr) -> bool:
    return isinstance(value, tirx.FloatImm) and float(value.value) == 0


def _all_of(test: Expr) -> list[Expr]:
    """Return the tests that all have to hold."""
    return [*_all_of(test.a), *_all_of(test.b)] if isinstance(test, tirx.And) else [test]


def _is_of_row(test: Expr, summed: list[tirx.Var]) -> bool:
    """Whether a test is the same for a whole row of the window."""
    used: list[tirx.Var] = []
    tvm_ffi.structural_walk(test, (tirx.Var, used.append))
    return not any(var.same_as(summed[-1]) for var in used)
