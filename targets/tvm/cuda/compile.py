"""From the lowered model to an executable whose kernels run on one NVIDIA GPU."""

from __future__ import annotations

from typing import Any, Final

import onnx_ir as ir
import tvm

from ....profiles.schema import Toolchain
from ..compile import Compiled, compile_module, processor
from ..relax_import import to_relax
from .build import HOST

#: What every GPU since compute capability 7.5 has (CUDA C++ Programming Guide, table "Technical
#: Specifications per Compute Capability"): threads and static shared memory of a block, registers.
_LIMITS: Final[dict[str, Any]] = {
    "max_threads_per_block": 1024,
    "max_shared_memory_per_block": 48 << 10,
    "registers_per_block": 64 << 10,
}


def compile_model(model: ir.Model, toolchain: Toolchain) -> Compiled:
    """Compile a lowered model for the GPU that a profile's toolchain describes.

    What TVM makes of the kernels is CUDA source: see `kernels`.

    Raises:
        ModelError: TVM does not take a node; names it.
        TapeoutError: a kernel got no threads; names it.
    """
    return compile_module(to_relax(model, tiled=False), card(toolchain))


def card(toolchain: Toolchain) -> tvm.target.Target:
    """Return TVM's description of the GPU, and of the host that launches its kernels."""
    described = {"kind": "cuda", "arch": toolchain.cpu, **_LIMITS}
    return tvm.target.Target(described, host=processor(HOST))
