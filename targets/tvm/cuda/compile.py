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


#: Scheduled for it, no kernel uses tensor cores. TVM's schedules for them are not taken: nothing
#: that runs here shows whether they are right, and to read them takes TVM half a minute.
_WITHOUT_TENSOR_CORES: Final = "sm_61"


def compile_model(model: ir.Model, toolchain: Toolchain) -> Compiled:
    """Compile a lowered model for the GPU that a profile's toolchain describes.

    What TVM makes of the kernels is CUDA source: see `kernels`.

    Raises:
        ModelError: TVM does not take a node, or a kernel got no threads; names it.
    """
    return compile_module(
        to_relax(model, tiled=False), card(toolchain.cpu), card(_WITHOUT_TENSOR_CORES)
    )


def card(architecture: str) -> tvm.target.Target:
    """Return TVM's description of a GPU, and of the host that launches its kernels."""
    described = {"kind": "cuda", "arch": architecture, **_LIMITS}
    return tvm.target.Target(described, host=processor(HOST))
