"""TVM's passes over the loops of functions, with ours after them.

Kernels are called by the engine's own code alone. Each still has a function of its own for what it
computes, as those have that are called from outside: LLVM does not put it into the function that
calls it, and knows that its arguments are apart from each other.

The sums of a tile are on the stack, so that registers take them. TVM asks its pool of scratch
memory for whatever is not ``global`` and small: LLVM cannot see that nobody else reads it, and sums
that pass through registers alone would be zeroed and stored as well.
"""

from __future__ import annotations

from typing import Any, Final

import tvm
import tvm_ffi
from tvm import tirx

from .fixed_vectors import with_fixed_vectors
from .schedules.lookups import with_lookups

#: The scope of what schedules keep for one tile.
_LOCAL: Final = "local"

#: The annotation of an allocation that TVM leaves to LLVM (``transform.h``).
_LEFT: Final = "disable_lower_builtin"

#: The attribute of a function that is called from outside (``MakePackedAPI``).
_PACKED: Final = "calling_conv"

#: Where scratch memory is: DLPack's kDLCPU.
_CPU: Final = 1

#: The name under which TVM knows the passes over the loops of kernels for a CPU.
PIPELINE: Final = "tapeout"


def _pipeline() -> tuple[Any, Any, Any]:
    lower, finalize_host, finalize_device = tirx.get_tir_pipeline("default")

    def lowered(module: tvm.IRModule) -> tvm.IRModule:
        found = _scoped(with_fixed_vectors(lower)(module))
        functions = {name: with_lookups(function) for name, function in found.functions.items()}
        return with_tiles_on_stack(tvm.IRModule(functions, attrs=found.attrs))

    return lowered, finalize_host, finalize_device


def _scoped(module: tvm.IRModule) -> tvm.IRModule:
    """Return lowered functions with a scope in those that are not called from outside."""
    functions = {
        name: function if _PACKED in function.attrs else _with_scope(str(name.name_hint), function)
        for name, function in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


def _with_scope(name: str, function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return a function that computes in a scope, and returns 0, or what went wrong in it."""
    body, node = function.body, tirx.const(0, "int32")
    said = {
        "compute_scope": tvm.ir.StringImm(f"{name}_compute_"),
        "device_type": tirx.const(_CPU, "int32"),
        "device_id": tirx.const(0, "int32"),
    }
    for key, value in said.items():
        body = tirx.AttrStmt(node, key, value, body)
    # Only once its scratch memory is given back.
    return function.with_body(tirx.SeqStmt([body, tirx.stmt.Return(tirx.const(0, "int32"))]))


def with_tiles_on_stack(module: tvm.IRModule) -> tvm.IRModule:
    """Return lowered kernels whose local allocations are left to LLVM."""

    def left(allocation: tirx.AllocBuffer) -> tirx.AllocBuffer:
        if allocation.buffer.scope() != _LOCAL:
            return allocation
        return tirx.AllocBuffer(allocation.buffer, annotations={_LEFT: tirx.IntImm("int32", 1)})

    functions = {
        name: tvm_ffi.structural_map(function, (tirx.AllocBuffer, left))
        for name, function in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


tirx.register_tir_pipeline(PIPELINE, _pipeline)
