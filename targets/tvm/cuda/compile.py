"""From the lowered model to an executable of TVM's virtual machine, for one NVIDIA GPU."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Final

import onnx_ir as ir
import tvm
from tvm import relax, tirx
from tvm.relax.backend.cuda import pipeline as stages
from tvm.s_tir import dlight

from ....errors import ModelError, Problem
from ....profiles.schema import Toolchain
from ..compile import lowered, processor
from ..relax_import import ENTRY, to_relax
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


#: A kernel is only called by the program, with the tensors that were planned for it, and the
#: program checks the caller's: checking them once more in each kernel would triple the code.
_CONFIG: Final = {"tirx.disable_assert": True}

#: TVM's name of the passes over the loops of kernels.
_PIPELINE: Final = "default"


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What TVM made of a model.

    Attributes:
        executable: the virtual machine's program and the kernels.
        planned: the Relax module whose memory is planned: its ``main`` allocates and calls.
        target: the GPU that both are for, and its host.
    """

    executable: Any
    planned: tvm.IRModule
    target: tvm.target.Target

    @functools.cached_property
    def on_host(self) -> tvm.IRModule:
        """The part of the kernels that the host runs, whose own scratch memory can be read."""
        kernels = tvm.IRModule(
            {
                name: function
                for name, function in self.planned.functions.items()
                if isinstance(function, tirx.PrimFunc)
            }
        )
        with self.target, tvm.transform.PassContext(config=_CONFIG):
            return lowered(kernels, self.target, _PIPELINE)


def compile_model(model: ir.Model, toolchain: Toolchain) -> Compiled:
    """Compile a lowered model for the GPU that a profile's toolchain describes.

    What TVM makes of the kernels is CUDA source: see `kernels`.

    Raises:
        ModelError: TVM does not take a node, or a kernel got no threads; names it.
    """
    module, target = to_relax(model, None), card(toolchain.cpu)
    with target, tvm.transform.PassContext(config=_CONFIG):
        # What kernels take as it is stored must not be computed as well, and kept.
        used = relax.transform.DeadCodeElimination()(module)
        planned = _reachable(_planned(used))
        _require_threads(planned)
        executable = relax.build(planned, target, None, tir_pipeline=_PIPELINE)
        return Compiled(executable, planned, target)


def calls_of(main: relax.Function) -> list[Any]:
    """Return the bindings of the planned ``main``, in the order in which they run."""
    return [binding for block in main.body.blocks for binding in block.bindings]


def kernel_of(call: Any) -> str | None:
    """Return the name of the kernel that a binding's value calls; None if it calls none."""
    name = getattr(getattr(call, "op", None), "name_hint", None)
    return None if name is None else str(name)


def _reachable(planned: tvm.IRModule) -> tvm.IRModule:
    """Drop kernels that nothing calls: reshapes that became views, mostly."""
    called = {kernel_of(binding.value) for binding in calls_of(planned[ENTRY])}
    functions = {
        name: function
        for name, function in planned.functions.items()
        if name.name_hint == ENTRY or name.name_hint in called
    }
    return tvm.IRModule(functions, attrs=planned.attrs)


def _require_threads(planned: tvm.IRModule) -> None:
    """Raise ModelError naming every kernel that no rule has spread over a GPU's threads."""
    serial = sorted(
        name.name_hint
        for name, function in planned.functions.items()
        if isinstance(function, tirx.PrimFunc)
        and not dict(function.attrs or {}).get("tirx.is_scheduled")
    )
    if serial:
        what = "none of TVM's rules spreads it over the threads of a GPU"
        raise ModelError("kernels run on no GPU", [Problem(name, what) for name in serial])


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
