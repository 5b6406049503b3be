"""Which loops of a scheduled kernel the threads share.

A nest of loops is cut at the outermost of them that fall into even shares, and not at all where it
takes less time than waking the other threads and waiting for them, and than fetching what another
one has in its cache. Where a tensor is depends on the kernels that write and read it: see
`network`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final, TypeAlias

import numpy as np
import tvm_ffi
from tvm import s_tir, sym, tirx
from tvm.ir import Call

from .core import Core
from .loops import SPATIAL, with_body
from .shares import EVEN, REACHED, evenness, is_worth_sharing

#: TVM has no type hints.
Statement: TypeAlias = Any
Loop: TypeAlias = Any
Realized: TypeAlias = Any

#: Cycles of an operation on a vector, and so many operations make a function: a polynomial.
_OPERATION: Final = 0.5
_FUNCTION: Final = 20

#: Calls that are one instruction, or none.
_INSTRUCTIONS: Final = ("call_llvm_pure_intrin", "fabs", "nearbyint", "reinterpret")

#: The call that computes one of two.
_CHOICE: Final = "if_then_else"

#: What costs no operation: numbers that are there.
_NOTHING: Final = (tirx.IntImm, tirx.FloatImm, tirx.Var)


#: A kernel's parameters -> whether each thread handles its own part, which is in its cache then, or
#: one thread all; others: neither is known.
Parts: TypeAlias = dict[int, bool]


def parallelized(
    function: tirx.PrimFunc, core: Core, parts: Mapping[int, bool] | None = None
) -> tuple[tirx.PrimFunc, Parts]:
    """Return a scheduled kernel with outer loops that threads share, where they gain from it.

    Args:
        parts: as those kernels do that write its inputs and read its results.

    Returns:
        The kernel, and how it handles its parameters.
    """
    root = function.body
    if core.threads == 1 or not isinstance(root, s_tir.SBlockRealize):
        return function, {}
    block, core = root.block, core.of_dtype(str(function.params[-1].dtype))
    numbers = {tensor: k for k, tensor in enumerate(function.params)}
    given = {function.params[k]: is_part for k, is_part in (parts or {}).items()}
    kernel = _Kernel(core, _touched(block.body) + Counter(function.params), given)
    body = kernel.shared(block.body)
    whole = s_tir.SBlockRealize(root.iter_values, root.predicate, with_body(block, body))
    found = {numbers[item]: part for item, part in kernel.parts.items() if item in numbers}
    return function.with_body(whole), found


class _Kernel:
    """One kernel.

    Attributes:
        core: one of those that it runs on.
        touched: how many of its blocks, and callers, read or write each tensor.
        parts: tensors -> whether those who had them last took a part each, or one of them all.
    """

    def __init__(self, core: Core, touched: Counter[Any], parts: dict[Any, bool]) -> None:
        self.core = core
        self.touched = touched
        self.parts = parts

    def shared(self, statement: Statement) -> Statement:
        """Return a statement with loops that threads share."""
        if isinstance(statement, tirx.SeqStmt):
            return tirx.SeqStmt([self.shared(part) for part in statement.seq])
        nest = _nest(statement)
        if nest and all(_rounds(loop) == 1 for loop in nest):
            return _around(nest, self.shared(nest[-1].body))
        chosen = nest[: self._count(nest)]
        rounds, threads = math.prod(map(_rounds, chosen)), self.core.threads
        items = _blocks(statement)
        read = {region.source for item in items for region in item.block.reads}
        every = read | {region.source for item in items for region in item.block.writes}
        cut = _cut(items, chosen)
        # What has to move if this is shared, and what if it is not.
        moved = _size({item for item in read if self.parts.get(item) is False})
        moved -= _size({item for item in cut if self.parts.get(item)})
        alone = max(cycles(statement, self.core), self._summed(statement) / self.core.near)
        is_shared = is_worth_sharing(alone, rounds, threads, (1 - 1 / threads) * moved)
        for item in every - cut:
            self.parts.pop(item, None)
        self.parts |= dict.fromkeys(cut if is_shared else every, is_shared)
        return _fused(chosen, chosen[-1].body) if is_shared else statement

    def _summed(self, statement: Statement) -> int:
        """Return the bytes of what a statement's sums are made of: all of it is read."""
        items = [item for item in _blocks(statement) if not _is_spatial(item)]
        read = {region.source for item in items for region in item.block.reads}
        return _size(read - {region.source for item in items for region in item.block.writes})

    def _count(self, nest: Sequence[Loop]) -> int:
        """Return how many of the outermost loops to share: the fewest that are even enough."""
        found, best, rounds = 0, 1 / self.core.threads, 1
        for count, loop in enumerate(nest, 1):
            if best >= EVEN or (_rounds(loop) > 1 and not self._is_independent(loop)):
                break
            rounds *= _rounds(loop)
            if evenness(rounds, self.core.threads) > best:
                found, best = count, evenness(rounds, self.core.threads)
        return found

    def _is_independent(self, loop: Loop) -> bool:
        """Whether no round of a loop needs what another makes, or makes the same."""
        inside = _touched(loop)
        for realized in _blocks(loop):
            axes = zip(realized.iter_values, realized.block.iter_vars, strict=True)
            kinds = {int(axis.iter_type) for value, axis in axes if _uses(value, loop.loop_var)}
            remains = any(
                self.touched[region.source] > inside[region.source]
                for region in realized.block.writes
            )
            if kinds - {SPATIAL} or (remains and not kinds):
                return False
        return True


def cycles(statement: Statement, core: Core) -> float:
    """Return about how long a core takes for a scheduled statement, all it needs in its caches."""
    match statement:
        case tirx.For():
            vectors = int(statement.kind) == tirx.ForKind.VECTORIZED
            rounds = core.vectors(_rounds(statement)) if vectors else _rounds(statement)
            return rounds * cycles(statement.body, core)
        case tirx.SeqStmt():
            return sum(cycles(part, core) for part in statement.seq)
        case tirx.IfThenElse():
            return cycles(statement.then_case, core)
        case s_tir.SBlockRealize():
            inside = cycles(statement.block.body, core)
            return inside if _is_spatial(statement) or not inside else 1 / (REACHED * core.units)
        case tirx.BufferStore():
            return _OPERATION * (1 + _operations(statement.value))
    return 1.0


def _is_spatial(realized: Realized) -> bool:
    return all(int(axis.iter_type) == SPATIAL for axis in realized.block.iter_vars)


def _size(tensors: Set[Any]) -> int:
    """Return the bytes of tensors."""
    return sum(
        math.prod(map(int, tensor.shape)) * np.dtype(str(tensor.dtype)).itemsize
        for tensor in tensors
    )


def _operations(value: Any) -> float:
    """Return how many operations make a vector, without the arithmetic of its indices."""
    found = 0.0

    def note(node: Any) -> tvm_ffi.WalkResult | None:
        nonlocal found
        dtype = str(getattr(getattr(node, "ty", None), "dtype", ""))
        if dtype in ("", "int64", "bool") or isinstance(node, _NOTHING):
            return None
        name = str(node.op.name).rpartition(".")[2] if isinstance(node, Call) else None
        if name == _CHOICE:
            found += _choice(node)
            return tvm_ffi.WalkResult.SKIP
        is_function = name is not None and name not in _INSTRUCTIONS
        found += _FUNCTION if is_function else 1
        return None

    tvm_ffi.structural_walk(value, (object, note), order="pre")
    return found


def _choice(value: Any) -> float:
    """Return how many operations a choice takes of several, of which one is computed.

    Of the conditions, which are a comparison and a jump each, the usual vector meets half. Numbers
    are what pads have, of which there are few.
    """
    conditions, sides = 0, []
    while isinstance(value, Call) and str(value.op.name).endswith(_CHOICE):
        _, side, value = value.args
        conditions += 1
        sides.append(side)
    counts = [_operations(side) for side in (*sides, value) if not isinstance(side, _NOTHING)]
    return conditions + math.fsum(counts) / max(len(counts), 1)


def _rounds(loop: Loop) -> int:
    """Return how often a loop runs; as often as first where that depends on those around it."""
    extent = loop.extent
    if not isinstance(extent, tirx.IntImm):
        first = tvm_ffi.structural_map(extent, (tirx.Var, lambda var: tirx.const(0, var.ty.dtype)))
        extent = sym.Analyzer().simplify(first)
    return int(extent)


def _nest(statement: Statement) -> list[Loop]:
    """Return the loops that run one inside the other with nothing between, the outermost first.

    A loop that does not always run as often as another one is no part of a nest with it.
    """
    found: list[Loop] = []
    while (
        isinstance(statement, tirx.For)
        and int(statement.kind) == tirx.ForKind.SERIAL
        and isinstance(statement.extent, tirx.IntImm)
    ):
        found.append(statement)
        statement = statement.body
    return found


def _around(nest: Sequence[Loop], body: Statement) -> Statement:
    """Return loops with another body."""
    for loop in reversed(nest):
        body = tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body)
    return body


def _fused(nest: Sequence[Loop], body: Statement) -> Statement:
    """Return loops as one that threads share."""
    dtype = str(nest[0].loop_var.ty.dtype)
    shared = tirx.Var("shared", dtype)
    places, rounds = {}, 1
    for loop in reversed(nest):
        place = tirx.floordiv(shared, rounds) if rounds > 1 else shared
        rounds *= _rounds(loop)
        places[loop.loop_var] = place if loop is nest[0] else tirx.floormod(place, _rounds(loop))
    body = tvm_ffi.structural_map(body, (tirx.Var, lambda var: places.get(var, var)))
    first, extent = tirx.const(0, dtype), tirx.const(rounds, dtype)
    return tirx.For(shared, first, extent, tirx.ForKind.PARALLEL, body)


def _blocks(statement: Statement) -> list[Realized]:
    """Return the blocks of a statement, without those inside of others."""
    found: list[Realized] = []

    def note(realized: Realized) -> tvm_ffi.WalkResult:
        found.append(realized)
        return tvm_ffi.WalkResult.SKIP

    tvm_ffi.structural_walk(statement, (s_tir.SBlockRealize, note), order="pre")
    return found


def _cut(items: Sequence[Realized], chosen: Sequence[Loop]) -> set[Any]:
    """Return the tensors of which each round of some loops takes other rows than the rest.

    Kernels that cut their tensors at the outermost axis find there what they wrote themselves.
    """
    found = set()
    for item in items:
        axes = zip(item.iter_values, item.block.iter_vars, strict=True)
        own = [axis.var for value, axis in axes if any(_uses(value, k.loop_var) for k in chosen)]
        for region in (*item.block.reads, *item.block.writes):
            sizes = zip(region.region, region.source.shape, strict=True)
            outermost = next((part.min for part, size in sizes if int(size) > 1), None)
            if outermost is not None and any(_uses(outermost, axis) for axis in own):
                found.add(region.source)
    return found


def _touched(statement: Statement) -> Counter[Any]:
    """Return how many blocks of a statement read or write each tensor."""
    return Counter(
        region.source
        for realized in _blocks(statement)
        for region in (*realized.block.reads, *realized.block.writes)
    )


def _uses(value: Any, variable: Any) -> bool:
    found: list[bool] = []
    note = (tirx.Var, lambda var: found.append(var.same_as(variable)))
    tvm_ffi.structural_walk(value, note)
    return any(found)
