"""Which kernels may write their result over an input that nobody reads again, and where it pays.

An input may be overwritten if each of its elements is read for the very element of the result that
takes its place, and for no other: after scheduling, in the only block that writes the result, at
the same indices, by loops that run the block once for each element. What a kernel adds last to the
sums of a convolution is such an input, and what functions of one number are applied to.

Such a kernel gets one argument for both, so that its arguments are still apart from each other, as
TVM tells LLVM that they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import tvm_ffi
from tvm import s_tir, sym, tirx
from tvm.ir import Range
from tvm.ir.expr import TensorLoad
from tvm.sym.iter_affine_map import IterMapLevel

from ...lowering.analysis import arena
from .schedules.loops import SPATIAL

#: TVM has no type hints.
Tensor: TypeAlias = Any
Realized: TypeAlias = Any

Kernel = TypeVar("Kernel")


@dataclasses.dataclass
class Chain:
    """Tensors that are in one place, each written over the one before it.

    Attributes:
        over: the number of a call that writes over what it reads -> which of its arguments.
    """

    tensors: list[arena.Interval]
    over: dict[int, int] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.tensors[0].size

    @property
    def first(self) -> int:
        return self.tensors[0].first

    @property
    def last(self) -> int:
        return self.tensors[-1].last


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where intermediate tensors are.

    Attributes:
        offsets: of each tensor, in their order.
        size: bytes of all.
        over: as of a `Chain`.
    """

    offsets: tuple[int, ...]
    size: int
    over: Mapping[int, int]


def plan(
    tensors: Sequence[arena.Interval],
    calls: Sequence[tuple[Kernel, Sequence[object]]],
    functions: Mapping[Kernel, tirx.PrimFunc],
    alignment: int,
) -> Plan:
    """Return where intermediate tensors are: some over others only if all then take less.

    Args:
        calls: kernels and their arguments, the last of which is the result.
        functions: the kernels, scheduled.
    """
    apart = arena.plan(tensors, alignment)
    chains = _chains(tensors, calls, functions)
    if arena.lower_bound(chains, alignment) < apart.size:
        found = arena.plan(chains, alignment)
        if found.size < apart.size:
            placed = {
                id(tensor): offset
                for chain, offset in zip(chains, found.offsets, strict=True)
                for tensor in chain.tensors
            }
            over = {number: at for chain in chains for number, at in chain.over.items()}
            return Plan(tuple(placed[id(item)] for item in tensors), found.size, over)
    return Plan(apart.offsets, apart.size, {})


def _chains(
    tensors: Sequence[arena.Interval],
    calls: Sequence[tuple[Kernel, Sequence[object]]],
    functions: Mapping[Kernel, tirx.PrimFunc],
) -> list[Chain]:
    """Return the tensors in chains that are as long as can be."""
    within = {id(tensor): Chain([tensor]) for tensor in tensors}
    known: dict[Kernel, tuple[int, ...]] = {}
    for number, (kernel, given) in enumerate(calls):
        result = within.get(id(given[-1]))
        if result is None or result.first != number or _count(given[-1], given) > 1:
            continue
        if kernel not in known:
            known[kernel] = overwritable(functions[kernel])
        for position in known[kernel]:
            chain = within.get(id(given[position]))
            if chain is None or chain.last != number or _count(given[position], given) > 1:
                continue
            # What is read here was written before, or it is no input at all.
            if chain.tensors[-1] is given[position] and chain.tensors[-1].first < number:
                chain.tensors += result.tensors
                chain.over |= {number: position, **result.over}
                within[id(given[-1])] = chain
                break
    return list({id(chain): chain for chain in within.values()}.values())


def written_over(kernel: tirx.PrimFunc, position: int) -> tirx.PrimFunc:
    """Return a kernel that has one argument, its last, for its result and an input."""
    replaced, result = kernel.params[position], kernel.params[-1]
    one = (tirx.Var, lambda var: result if var.same_as(replaced) else var)
    body = tvm_ffi.structural_map(kernel.body, one)
    others = [*kernel.params[:position], *kernel.params[position + 1 :]]
    return tirx.PrimFunc(others, body, ret_type=kernel.ret_type, attrs=kernel.attrs)


def _count(item: object, items: Sequence[object]) -> int:
    return sum(other is item for other in items)


def overwritable(kernel: tirx.PrimFunc) -> tuple[int, ...]:
    """Return the numbers of the inputs over which a scheduled kernel may write its last argument.

    What is not understood is none of them.
    """
    *inputs, result = kernel.params
    writer = _only_writer(kernel, result)
    if writer is None:
        return ()
    axes = [axis.var for axis in writer.block.iter_vars]
    return tuple(
        number
        for number, tensor in enumerate(inputs)
        if _shape(tensor) == _shape(result)
        and str(tensor.dtype) == str(result.dtype)
        and _is_read_there_alone(kernel, tensor, writer, axes)
    )


def _only_writer(kernel: tirx.PrimFunc, result: Tensor) -> Realized | None:
    """Return the block that writes each element of the result once; None if there is none.

    Nothing else writes or reads the result.
    """
    touching = [item for item in _blocks(kernel.body) if _names(item.block, result)]
    if len(touching) != 1:
        return None
    [writer] = touching
    block, store = writer.block, writer.block.body
    if not isinstance(store, tirx.BufferStore) or not store.buffer.same_as(result):
        return None
    axes = block.iter_vars
    is_whole = (
        block.init is None
        and all(int(axis.iter_type) == SPATIAL for axis in axes)
        and [int(axis.dom.extent) for axis in axes] == _shape(result)
        and _are(store.indices, [axis.var for axis in axes])
        and not _loads(kernel.body, result)
    )
    return writer if is_whole and _runs_once(kernel, writer) else None


def _runs_once(kernel: tirx.PrimFunc, writer: Realized) -> bool:
    """Whether loops run a block once at most for all values of its axes."""
    loops: list[Any] = []
    tvm_ffi.structural_walk(kernel.body, (tirx.For, loops.append))
    around = [loop for loop in loops if any(map(writer.same_as, _blocks(loop)))]
    if not all(isinstance(loop.extent, tirx.IntImm) for loop in around):
        return False
    domains = {loop.loop_var: _range(loop) for loop in around}
    found = sym.detect_iter_map(
        writer.iter_values, domains, writer.predicate, IterMapLevel.Bijective
    )
    return len(found.indices) > 0


def _range(loop: Any) -> Any:
    return Range.from_min_extent(loop.min, loop.extent)


def _is_read_there_alone(
    kernel: tirx.PrimFunc, tensor: Tensor, writer: Realized, axes: Sequence[Any]
) -> bool:
    """Whether a tensor is read in one block alone, at the values of its axes."""
    everywhere, there = _loads(kernel.body, tensor), _loads(writer.block.body, tensor)
    named = [item for item in _blocks(kernel.body) if _names(item.block, tensor)]
    return (
        len(everywhere) == len(there) > 0
        and all(_are(load.indices, axes) for load in there)
        and len(named) == 1
        and named[0].same_as(writer)
    )


def _are(indices: Sequence[Any], axes: Sequence[Any]) -> bool:
    """Whether indices are the axes themselves."""
    return len(indices) == len(axes) and all(
        isinstance(index, tirx.Var) and index.same_as(axis)
        for index, axis in zip(indices, axes, strict=True)
    )


def _names(block: Any, tensor: Tensor) -> bool:
    """Whether a block says that it reads or writes a tensor."""
    return any(region.source.same_as(tensor) for region in (*block.reads, *block.writes))


def _loads(statement: Any, tensor: Tensor) -> list[Any]:
    found: list[Any] = []

    def note(load: Any) -> None:
        if load.source.same_as(tensor):
            found.append(load)

    tvm_ffi.structural_walk(statement, (TensorLoad, note))
    return found


def _blocks(statement: Any) -> list[Realized]:
    found: list[Realized] = []
    tvm_ffi.structural_walk(statement, (s_tir.SBlockRealize, found.append))
    return found


def _shape(tensor: Tensor) -> list[int]:
    return [int(size) for size in tensor.shape]
