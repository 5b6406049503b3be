"""Vectors of the length that a schedule chose, on cores that have vectors of no fixed length.

Where a target has RISC-V's vectors, TVM makes of each vectorized loop one over vectors of whatever
length the core has, with masks. Sums that lie in such vectors are no registers: each step reads
them from memory and writes them back, one number at a time where TVM finds no vector at all. LLVM,
given vectors of a fixed length, sets the core's to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import tvm
from tvm.target import Target

Features: TypeAlias = Sequence[str]

#: The attribute of a kernel that says for what it is compiled.
_TARGET: Final = "target"

#: TVM looks for the feature ``v``.
_HIDDEN: Final = "-v"


def with_fixed_vectors(
    lower: Callable[[tvm.IRModule], tvm.IRModule],
) -> Callable[[tvm.IRModule], tvm.IRModule]:
    """Return passes over kernels that do not see whether a core has such vectors."""

    def lowered(module: tvm.IRModule) -> tvm.IRModule:
        hidden = _retargeted(module, lambda features: [*features, _HIDDEN])
        return _retargeted(lower(hidden), lambda features: features[:-1])

    return lowered


def _retargeted(module: tvm.IRModule, change: Callable[[Features], Features]) -> tvm.IRModule:
    functions = {
        name: function.with_attr(_TARGET, _changed(function.attrs[_TARGET], change))
        for name, function in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


def _changed(target: Target, change: Callable[[Features], Features]) -> Target:
    """Return a target, and its host, with other features if it is a RISC-V."""
    described = dict(target.export())
    if not str(described.get("mtriple", "")).startswith("riscv"):
        return target
    described["mattr"] = list(change(list(map(str, described.get("mattr", ())))))
    if target.host is not None:
        described["host"] = _changed(target.host, change)
    return Target({name: value for name, value in described.items() if value})
