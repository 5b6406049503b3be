"""What an engine allocates at run time, exactly.

Weights, workspace, inputs and outputs are those of its program. A kernel takes scratch memory from
the thread's workspace pool of TVM's runtime (``workspace_pool.cc``: rounded up to pages, kept for
the next kernel). Of a loop that threads share, each always gets the same rounds: one run of
neighbours (``thread_pool.cc``, and LLVM code generation of parallel loops). All this is replayed
here, inference after inference until nothing changes any more, so that the figures are the bytes
that the runtime asks the system for.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import tvm
from tvm import tirx

from ...errors import TapeoutError
from .build import Memory
from .compile import Compiled

_PAGE: Final = 4096

#: After so many inferences the pools have settled, if they ever do.
RUNS: Final = 16

#: (thread, buffer, bytes) where a kernel takes scratch memory, (thread, buffer, None) where it
#: gives it back. Thread 0 is the one that calls the engine.
Event = tuple[int, str, int | None]


def memory_of(compiled: Compiled, threads: int = 1) -> Memory:
    """Return what an engine holds, exactly, once it has run a few times on so many threads.

    Raises:
        TapeoutError: the plan is not understood: better no figure than a wrong one.
    """
    program = compiled.program
    return Memory(
        weights=program.weights.nbytes,
        workspace=program.workspace,
        scratch=scratch(compiled.lowered, program.calls, threads),
        inputs=sum(program.inputs),
        outputs=sum(program.outputs),
    )


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


def scratch(kernels: tvm.IRModule, names: Sequence[str], threads: int) -> int:
    """Return the bytes that kernels take as scratch memory, called in an order.

    Args:
        kernels: lowered.
    """
    functions = {str(name.name_hint): function for name, function in kernels.functions.items()}
    events = {name: _scratch_of(name, functions, threads) for name in dict.fromkeys(names)}
    pools, settled = [_WorkspacePool() for _ in range(threads)], -1
    for _ in range(RUNS):
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
