"""Where a kernel's own memory lies: the sums of a tile on the stack, so that registers take them.

TVM asks its pool of scratch memory for whatever is not ``global`` and small. LLVM cannot see that
nobody else reads it: sums that pass through registers alone would be zeroed and stored as well.
"""

from __future__ import annotations

from typing import Any, Final

import tvm
import tvm_ffi
from tvm import tirx

from .fixed_vectors import with_fixed_vectors

#: The scope of what schedules keep for one tile.
_LOCAL: Final = "local"

#: The annotation of an allocation that TVM leaves to LLVM (``transform.h``).
_LEFT: Final = "disable_lower_builtin"

#: The name under which TVM knows the passes over the loops of kernels for a CPU.
PIPELINE: Final = "tapeout"


def _pipeline() -> tuple[Any, Any, Any]:
    lower, finalize_host, finalize_device = tirx.get_tir_pipeline("default")

    def lowered(module: tvm.IRModule) -> tvm.IRModule:
        return with_tiles_on_stack(with_fixed_vectors(lower)(module))

    return lowered, finalize_host, finalize_device


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
