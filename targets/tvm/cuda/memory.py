"""What an engine for a GPU allocates at run time, read out of TVM's own plan.

The virtual machine takes storages from its pooled allocator (``pooled_allocator.h``: sizes rounded
up to pages, a freed block reused for the same size only); what the host runs takes scratch memory
as an engine for a CPU does. All this is replayed here, inference after inference until nothing
changes any more, so that the figures are the bytes that the runtime asks the system for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from tvm import relax

from ....errors import TapeoutError
from ..build import Memory
from ..memory import RUNS, scratch
from ..relax_import import ENTRY
from .compile import Compiled, calls_of, kernel_of

_PAGE: Final = 4096


def memory_of(compiled: Compiled, threads: int) -> Memory:
    """Return what an engine holds, exactly, once it has run a few times on so many threads.

    Raises:
        TapeoutError: the plan is not understood: better no figure than a wrong one.
    """
    main = compiled.planned[ENTRY]
    workspace, outputs = _storages(main)
    kernels = {str(name.name_hint) for name in compiled.on_host.functions}
    called = [str(name) for item in calls_of(main) if (name := kernel_of(item.value)) in kernels]
    return Memory(
        weights=_constants(main),
        workspace=workspace,
        scratch=scratch(compiled.on_host, called, threads),
        inputs=sum(_bytes(parameter.ty) for parameter in main.params),
        outputs=outputs,
    )


def _bytes(tensor: relax.TensorType) -> int:
    return _product(tensor.shape) * np.dtype(str(tensor.dtype)).itemsize


def _product(dims: Iterable[Any]) -> int:
    return math.prod(int(dim) for dim in dims)


def _constants(main: relax.Function) -> int:
    """Return the bytes of the constants, which are copied into storages of the pool.

    The executable keeps equal ones once.
    """
    kept: dict[Any, int] = {}

    def visit(expression: Any) -> None:
        if type(expression).__name__ == "GenericConst" and hasattr(expression.value, "numpy"):
            array = expression.value.numpy()
            kept[str(array.dtype), array.shape, array.tobytes()] = -(-array.nbytes // _PAGE) * _PAGE

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
    for _ in range(RUNS):
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
