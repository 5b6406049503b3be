"""From the lowered model to an executable whose kernels run on one NVIDIA GPU."""

from __future__ import annotations

from typing import Any, Final

import onnx_ir as ir
import tvm
from tvm.relax.backend.cuda import pipeline as stages
from tvm.s_tir import dlight

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


#: Those of TVM's own pipeline, in its order; the last one takes every kernel that loops.
_RULES: Final = (
    dlight.gpu.Matmul(),
    dlight.gpu.GEMV(),
    dlight.gpu.Reduction(),
    dlight.gpu.GeneralReduction(),
    dlight.gpu.Fallback(),
)


def compile_model(model: ir.Model, toolchain: Toolchain) -> Compiled:
    """Compile a lowered model for the GPU that a profile's toolchain describes.

    What TVM makes of the kernels is CUDA source: see `kernels`.

    Raises:
        ModelError: TVM does not take a node, or a kernel got no threads; names it.
    """
    return compile_module(to_relax(model, None), card(toolchain.cpu), _planned)


def card(architecture: str) -> tvm.target.Target:
    """Return TVM's description of a GPU, and of the host that launches its kernels."""
    described = {"kind": "cuda", "arch": architecture, **_LIMITS}
    return tvm.target.Target(described, host=processor(HOST))


def _planned(module: tvm.IRModule) -> tvm.IRModule:
    """TVM's pipeline for CUDA, whose last stage of legalization is the schedules."""
    target = card(_WITHOUT_TENSOR_CORES)
    *legalize, _schedule = stages.legalize_passes(target)
    passes = [
        *stages.library_dispatch_passes(target),
        *legalize,
        dlight.ApplyDefaultSchedule(*map(_Tried, _RULES)),
        *stages.dataflow_lower_passes(target),
        *stages.finalize_passes(target),
    ]
    with target:
        return tvm.transform.Sequential(passes)(module)


class _Tried(dlight.ScheduleRule):  # type: ignore[misc]  # TVM has no type hints
    """A rule of TVM's that passes a kernel on to the next one where it breaks down."""

    def __init__(self, rule: Any) -> None:
        super().__init__()
        self._rule = rule

    def apply(self, func: Any, target: tvm.target.Target, tunable: bool) -> Any:
        try:
            return self._rule.apply(func, target, tunable)
        except (AssertionError, RuntimeError, ValueError):  # what TVM's checks of itself raise
            return None
