"""Which kernels of a network threads share.

A kernel by itself is shared where that saves more than waking the others costs. In a network there
is more to it: what one thread has written is in its cache, and what others need of it they have to
fetch. A short kernel between two that are shared is best shared as well: each thread goes on with
its own part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from tvm import tirx

from .core import Core
from .functions import with_arithmetic
from .parallel import Parts, parallelized

#: How often kernels are asked again once others have changed: most agree at the second time.
_ROUNDS: Final = 4

Kernel = TypeVar("Kernel")

#: A parameter: the kernel, and the position.
_Parameter: TypeAlias = tuple[Kernel, int]


def finished(
    kernels: Mapping[Kernel, tirx.PrimFunc],
    calls: Sequence[tuple[Kernel, Sequence[object]]],
    tensors: Sequence[object],
    core: Core,
) -> dict[Kernel, tirx.PrimFunc]:
    """Return scheduled kernels with loops that threads share, and with functions as arithmetic.

    Args:
        calls: kernels and their arguments, in the order in which they run.
        tensors: those of the arguments that kernels write for others to read.
    """
    linked = _linked(calls, tensors)
    asked: dict[Kernel, Parts] = {name: {} for name in kernels}
    found = {name: parallelized(kernel, core) for name, kernel in kernels.items()}
    for _ in range(_ROUNDS if core.threads > 1 else 0):
        settled = True
        for name, kernel in kernels.items():
            parts = _around(name, len(kernel.params), linked, found)
            if parts != asked[name]:
                asked[name], found[name] = parts, parallelized(kernel, core, parts)
                settled = False
        if settled:
            break
    return {name: with_arithmetic(kernel) for name, (kernel, _) in found.items()}


def _linked(
    calls: Sequence[tuple[Kernel, Sequence[object]]], tensors: Sequence[object]
) -> dict[_Parameter[Kernel], list[_Parameter[Kernel]]]:
    """Return, of the parameter that a tensor is written by, those that read it; and back."""
    passed: dict[int, list[_Parameter[Kernel]]] = {id(tensor): [] for tensor in tensors}
    for name, arguments in calls:
        for k, argument in enumerate(arguments):
            if id(argument) in passed:
                passed[id(argument)].append((name, k))
    linked = defaultdict(list)
    for writer, *readers in filter(None, passed.values()):
        for reader in readers:
            linked[writer].append(reader)
            linked[reader].append(writer)
    return linked


def _around(
    name: Kernel,
    parameters: int,
    linked: Mapping[_Parameter[Kernel], Sequence[_Parameter[Kernel]]],
    found: Mapping[Kernel, tuple[tirx.PrimFunc, Parts]],
) -> Parts:
    """Return how most of those that a kernel is linked to handle the tensors of its parameters."""
    votes = dict.fromkeys(range(parameters), 0)
    for k in votes:
        for other, position in linked.get((name, k), ()):
            is_part = found[other][1].get(position)
            votes[k] += 0 if is_part is None else 1 if is_part else -1
    return {k: vote > 0 for k, vote in votes.items() if vote}
