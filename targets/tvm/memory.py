"""What an engine allocates at run time, read out of TVM's own plan.

The virtual machine takes storages from its pooled allocator (``pooled_allocator.h``: sizes rounded
up to pages, a freed block reused for the same size only), and a kernel takes scratch memory from
the thread's workspace pool (``workspace_pool.cc``: rounded up to pages, kept for the next kernel).
Both are replayed here, so that the figures are the bytes that the runtime asks the system for.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import tvm
from tvm import relax

from ...budget import Figure
from ...errors import TapeoutError
from .compile import Compiled
from .relax_import import ENTRY

_PAGE: Final = 4096

# Kernels can only be walked through their text: TVM has no visitor of them in Python.
_ALLOCATE_SCRATCH: Final = re.compile(
    r"^\s*(\w+)\b.*\bT\.TVMBackendAllocWorkspace\(\d+, \w+, T\.uint64\((\d+)\), "
)
_FREE_SCRATCH: Final = re.compile(r"\bT\.TVMBackendFreeWorkspace\(\d+, \w+, (\w+)")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes by what they hold.

    Attributes:
        weights: the constants of the executable.
        workspace: storages of intermediate values.
        scratch: what the kernels themselves need.
        inputs, outputs: the tensors that the caller gives and gets.
    """

    weights: int
    workspace: int
    scratch: int
    inputs: int
    outputs: int

    @property
    def parts(self) -> tuple[tuple[str, Figure], ...]:
        """Return the terms of a usage's memory, by name."""
        return (
            ("weights", Figure(self.weights, "B", "exact")),
            ("workspace", Figure(self.workspace, "B", "exact", "between the kernels")),
            ("scratch", Figure(self.scratch, "B", "exact", "inside the kernels")),
            ("inputs and outputs", Figure(self.inputs + self.outputs, "B", "exact")),
        )


def memory_of(compiled: Compiled) -> Memory:
    """Return what an engine holds, exactly, once it has run."""
    main = compiled.planned[ENTRY]
    steps = [binding for block in main.body.blocks for binding in block.bindings]
    workspace, outputs = _storages(steps, _returned(main.body.body))
    return Memory(
        weights=sum(_constants(steps)),
        workspace=workspace,
        scratch=_scratch(compiled.kernels, steps),
        inputs=sum(_bytes(parameter.ty) for parameter in main.params),
        outputs=outputs,
    )


def _bytes(tensor: relax.TensorType) -> int:
    bits = re.search(r"\d+", str(tensor.dtype))
    return _product(tensor.shape) * (-(-int(bits[0]) // 8) if bits else 1)  # bool has no number


def _returned(result: relax.Expr) -> list[Any]:
    return list(result.fields) if isinstance(result, relax.Tuple) else [result]


def _operator(value: Any) -> str:
    return str(getattr(getattr(value, "op", None), "name", ""))


def _constants(steps: Iterable[Any]) -> Iterator[int]:
    """Yield the bytes of every constant that the executable keeps."""
    for step in steps:
        for argument in getattr(step.value, "args", ()):
            if type(argument).__name__ == "GenericConst" and hasattr(argument.value, "numpy"):
                yield argument.value.numpy().nbytes


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


def _storages(steps: Iterable[Any], returned: Iterable[Any]) -> tuple[int, int]:
    """Replay ``main``: the bytes of storages of intermediate values, and of those of outputs.

    A storage goes back to the pool once it and all tensors in it are killed; those of the outputs
    are the caller's.
    """
    pool = _Pool()
    blocks: dict[Any, int] = {}
    holders: Counter[Any] = Counter()
    storage_of: dict[Any, Any] = {}
    for step in steps:
        call = step.value
        match _operator(call):
            case "relax.vm.alloc_storage":
                blocks[step.var] = pool.take(_product(call.args[0].values))
                storage_of[step.var] = step.var
                holders[step.var] = 1
            case "relax.vm.alloc_tensor":
                storage_of[step.var] = storage_of[call.args[0]]
                holders[storage_of[step.var]] += 1
            case "relax.vm.kill_object" if call.args[0] in storage_of:
                storage = storage_of[call.args[0]]
                holders[storage] -= 1
                if holders[storage] == 0:
                    pool.give(blocks[storage])
    given = {storage_of[value] for value in returned if value in storage_of}
    outputs = sum(blocks[storage] for storage in given)
    return pool.used - outputs, outputs


class _WorkspacePool:
    """The pool that kernels take scratch memory from: a free list sorted by size, which only grows.

    The largest free block serves a request, or is replaced by a larger one; a smaller block does
    where there are several and it is large enough.
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


def _scratch(kernels: tvm.IRModule, steps: Iterable[Any]) -> int:
    """Replay the scratch memory of the kernels, in the order in which ``main`` calls them."""
    named = {name.name_hint: function for name, function in kernels.functions.items()}
    events: dict[str, list[tuple[str, int | None]]] = {}
    pool = _WorkspacePool()
    for step in steps:
        name = getattr(getattr(step.value, "op", None), "name_hint", None)
        if name not in named:
            continue
        if name not in events:
            events[name] = _scratch_events(name, named[name].script())
        taken: dict[str, int] = {}
        for buffer, size in events[name]:
            if size is None:
                pool.give(taken.pop(buffer))
            else:
                taken[buffer] = pool.take(size)
    return pool.used


def _scratch_events(name: str, script: str) -> list[tuple[str, int | None]]:
    """Return (buffer, bytes) for each allocation of a kernel and (buffer, None) for each free.

    Raises:
        TapeoutError: the text is not understood: better no figure than a wrong one.
    """
    events: list[tuple[str, int | None]] = []
    for line in script.splitlines():
        if found := _ALLOCATE_SCRATCH.search(line):
            events.append((found[1], int(found[2])))
        elif found := _FREE_SCRATCH.search(line):
            events.append((found[1], None))
        elif "BackendAllocWorkspace" in line or "BackendFreeWorkspace" in line:
            raise TapeoutError(f"cannot read the scratch memory of kernel {name}: {line.strip()!r}")
    return events


def _product(dims: Iterable[Any]) -> int:
    return math.prod(int(dim) for dim in dims)
