"""What an engine allocates at run time, read out of TVM's own plan.

The virtual machine takes storages from its pooled allocator (``pooled_allocator.h``: sizes rounded
up to pages, a freed block reused for the same size only), and a kernel takes scratch memory from
the thread's workspace pool (``workspace_pool.cc``: rounded up to pages, kept for the next kernel).
Of a loop that threads share, each always gets the same rounds: one run of neighbours
(``thread_pool.cc``, and LLVM code generation of parallel loops). All this is replayed here,
inference after inference until nothing changes any more, so that the figures are the bytes that the
runtime asks the system for.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import tvm
from tvm import relax, tirx

from ...errors import TapeoutError
from .build import Memory
from .compile import Compiled, calls_of, kernel_of
from .relax_import import ENTRY

_PAGE: Final = 4096

#: After so many inferences both pools have settled, if they ever do.
_RUNS: Final = 16

#: (thread, buffer, bytes) where a kernel takes scratch memory, (thread, buffer, None) where it
#: gives it back. Thread 0 is the one that calls the engine.
Event = tuple[int, str, int | None]


def memory_of(compiled: Compiled, threads: int = 1) -> Memory:
    """Return what an engine holds, exactly, once it has run a few times on so many threads.

    Raises:
        TapeoutError: the plan is not understood: better no figure than a wrong one.
    """
    main = compiled.planned[ENTRY]
    workspace, outputs = _storages(main)
    return Memory(
        weights=_constants(main, 1 if compiled.target.host is None else _PAGE),
        workspace=workspace,
        scratch=_scratch(compiled.kernels, calls_of(main), threads),
        inputs=sum(_bytes(parameter.ty) for parameter in main.params),
        outputs=outputs,
    )


def _bytes(tensor: relax.TensorType) -> int:
    return _product(tensor.shape) * np.dtype(str(tensor.dtype)).itemsize


def _product(dims: Iterable[Any]) -> int:
    return math.prod(int(dim) for dim in dims)


def _constants(main: relax.Function, unit: int) -> int:
    """Return the bytes of the constants that the executable keeps; it keeps equal ones once.

    On a device with a host they are copied into storages of its pool: whole units each.
    """
    kept: dict[Any, int] = {}

    def visit(expression: Any) -> None:
        if type(expression).__name__ == "GenericConst" and hasattr(expression.value, "numpy"):
            array = expression.value.numpy()
            kept[str(array.dtype), array.shape, array.tobytes()] = -(-array.nbytes // unit) * unit

    relax.analysis.post_order_visit(main, visit)
    return sum(kept.values())


class _Pool:
    """The virtual machine's pooled allocator: blocks of whole pages, reused at the same size."""

    def __init__(self) -> None:
        self.used = 0
        self._free: Counter[int] = Counter()

    def take(self, size: int) -> int:
        """Return the size of the block that is given out for `size` bytes."""
        block = -(-size // _PAGE) * _PAGE
        if self._free[block]:
            self._free[block] -= 1
        else:
            self.used += block
        return block

    def give(self, block: int) -> None:
        self._free[block] += 1


class _Registers:
    """Which storages the virtual machine's registers hold; one that none holds goes to the pool."""

    def __init__(self, pool: _Pool) -> None:
        self.held: dict[Any, frozenset[int]] = {}
        self._blocks: dict[int, int] = {}
        self._users: Counter[int] = Counter()
        self._pool = pool

    def allocate(self, register: Any, size: int) -> None:
        storage = len(self._blocks)
        self._blocks[storage] = self._pool.take(size)
        self.hold(register, frozenset([storage]))

    def hold(self, register: Any, storages: frozenset[int]) -> None:
        self._users.update(storages)
        self.drop(register)
        self.held[register] = storages

    def drop(self, register: Any) -> None:
        for storage in self.held.pop(register, ()):
            self._users[storage] -= 1
            if not self._users[storage]:
                self._pool.give(self._blocks[storage])

    def size(self, storages: Iterable[int]) -> int:
        return sum(self._blocks[storage] for storage in storages)


def _storages(main: relax.Function) -> tuple[int, int]:
    """Replay ``main``: bytes of all storages but those of the outputs, and of those."""
    pool = _Pool()
    registers = _Registers(pool)
    settled = -1
    for _ in range(_RUNS):
        for binding in calls_of(main):
            _replay(binding, registers)
        result = _held(main.body.body, registers)
        # The register of the last result is written once the new one is there.
        registers.hold("result", result)
        for register in [register for register in registers.held if register != "result"]:
            registers.drop(register)
        if pool.used == settled:
            outputs = registers.size(result)
            return pool.used - outputs, outputs
        settled = pool.used
    raise TapeoutError("the storages of the engine grow with every inference")


def _replay(binding: Any, registers: _Registers) -> None:
    call = binding.value
    match str(getattr(getattr(call, "op", None), "name", "")):
        case "relax.vm.alloc_storage":
            registers.allocate(binding.var, _product(call.args[0].values))
        case "relax.vm.alloc_tensor":
            registers.hold(binding.var, _held(call.args[0], registers))
        case "relax.vm.kill_object":
            registers.drop(call.args[0])
        case _:
            # A kernel returns nothing; a view, a tuple or an item holds what it is made from.
            if kernel_of(call) is None:
                registers.hold(binding.var, _held(call, registers))


def _held(expression: Any, registers: _Registers) -> frozenset[int]:
    """Return the storages that the value of an expression keeps."""
    if isinstance(expression, relax.Var):
        return registers.held.get(expression, frozenset())
    if isinstance(expression, relax.TupleGetItem):
        return _held(expression.tuple_value, registers)
    parts = getattr(expression, "fields", None) or getattr(expression, "args", None) or ()
    return frozenset().union(*(_held(part, registers) for part in parts))


class _WorkspacePool:
    """The pool that kernels take scratch memory from: a free list sorted by size, which only grows.

    The smallest block that is large enough serves a request; if none is, the largest is replaced.
    """

    def __init__(self) -> None:
        self.used = 0
        self._free: list[int] = []

    def take(self, size: int) -> int:
        wanted = max(1, -(-size // _PAGE)) * _PAGE
        if not self._free:
            self.used += wanted
            return wanted
        if self._free[-1] >= wanted:
            return self._free.pop(bisect.bisect_left(self._free, wanted))
        self.used += wanted - self._free.pop()
        return wanted

    def give(self, block: int) -> None:
        bisect.insort(self._free, block)


def _scratch(kernels: tvm.IRModule, bindings: Iterable[Any], threads: int) -> int:
    """Replay the scratch memory of the kernels, in the order in which ``main`` calls them."""
    functions = {name.name_hint: function for name, function in kernels.functions.items()}
    names = [name for binding in bindings if (name := kernel_of(binding.value)) in functions]
    events = {name: _scratch_of(name, functions, threads) for name in dict.fromkeys(names)}
    pools, settled = [_WorkspacePool() for _ in range(threads)], -1
    for _ in range(_RUNS):
        for name in names:
            _run(str(name), events[name], pools)
        used = sum(pool.used for pool in pools)
        if used == settled:
            return used
        settled = used
    raise TapeoutError("the scratch memory of the kernels grows with every inference")


def _run(name: str, events: Iterable[Event], pools: Sequence[_WorkspacePool]) -> None:
    """Take scratch memory as one call of a kernel does, each thread from its own pool."""
    taken: list[list[tuple[str, int]]] = [[] for _ in pools]
    for thread, buffer, size in events:
        if size is not None:
            taken[thread].append((buffer, pools[thread].take(size)))
            continue
        last, block = taken[thread].pop() if taken[thread] else ("", 0)
        if last != buffer:
            raise TapeoutError(f"kernel {name} frees {buffer} and not {last}")
        pools[thread].give(block)


def _scratch_of(name: str | None, functions: Mapping[str, Any], threads: int) -> list[Event]:
    function = functions[str(name)]
    events = list(_events(function.body, threads))
    if not events and "BackendAllocWorkspace" in str(function):
        raise TapeoutError(f"cannot read the scratch memory of kernel {name}")
    return events


def _events(statement: Any, threads: int) -> Iterator[Event]:
    """Yield the allocations of a statement of a lowered kernel, and what it frees, in order."""
    if (call := _call(getattr(statement, "data", None))) and call[0] == "TVMBackendAllocWorkspace":
        yield 0, str(statement.buffer.data), int(call[1][2])
    condition = getattr(statement, "condition", None)
    if (call := _call(getattr(condition, "a", None))) and call[0] == "TVMBackendFreeWorkspace":
        yield 0, str(call[1][2]), None
        return
    inner = [getattr(statement, part, None) for part in ("body", "then_case", "else_case")]
    found = [
        event
        for part in [*getattr(statement, "seq", ()), *filter(None, inner)]
        for event in _events(part, threads)
    ]
    # A loop that allocates in its body does the same in every round.
    for thread, rounds in enumerate(_rounds(statement, threads) if found else ()):
        for _ in range(rounds):
            yield from ((thread or by, buffer, size) for by, buffer, size in found)


def _rounds(statement: Any, threads: int) -> list[int]:
    """Return how often each thread does what is in a statement; where it is no loop, once."""
    if not hasattr(statement, "loop_var"):
        return [1]
    rounds = int(statement.extent)
    if int(statement.kind) != tirx.ForKind.PARALLEL:
        return [rounds]
    share = -(-rounds // threads)
    return [min(share, max(0, rounds - share * thread)) for thread in range(threads)]


def _call(expression: Any) -> tuple[str, Any] | None:
    """Return the name and arguments of a call of the runtime; None if it is not one."""
    name = str(getattr(getattr(expression, "op", None), "name", ""))
    return (name.removeprefix("tirx."), expression.args) if name.startswith("tirx.") else None
