"""From the lowered model to an executable of TVM's Relax virtual machine, for one processor."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any, Final

import onnx_ir as ir
import tvm
from tvm import relax, tirx
from tvm.relax.backend.cpu_generic import pipeline as stages
from tvm.tirx.build import split_host_device_mods

from ...errors import ModelError, Problem
from ...profiles.schema import Toolchain
from .relax_import import ENTRY, to_relax
from .schedules.annotations import WORKLOAD
from .schedules.apply import scheduled
from .schedules.core import Core
from .tile_memory import PIPELINE

#: A kernel is only called by the program, with the tensors that were planned for it, and the
#: program checks the caller's: checking them once more in each kernel would triple the code.
_CONFIG: Final = {"tirx.disable_assert": True}

#: LLVM 22's loop vectorizer takes ``x[i & 3]`` for ``x[i]`` where it proves that the index wraps
#: (it drops the check that it meant to make; llvm-project, pull request 225086): wrong results,
#: seen with AVX-512. Loops that schedules vectorize themselves do not pass through it.
_LLVM_OPTIONS: Final = ("-vectorize-loops:bool=false",)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What TVM made of a model.

    Attributes:
        executable: the virtual machine's program and the kernels.
        planned: the Relax module whose memory is planned: its ``main`` allocates and calls.
        target: the processor that both are for.
    """

    executable: Any
    planned: tvm.IRModule
    target: tvm.target.Target

    @functools.cached_property
    def kernels(self) -> tvm.IRModule:
        """The kernels after lowering, whose own scratch memory can be read."""
        with self.target, tvm.transform.PassContext(config=_CONFIG):
            return _lowered(self.planned, self.target)


def compile_model(model: ir.Model, toolchain: Toolchain, core: Core) -> Compiled:
    """Compile a lowered model for the processor that a profile's toolchain describes.

    Args:
        core: what its kernels are scheduled for.

    Raises:
        ModelError: TVM does not take a node; names it.
    """
    target = processor(toolchain)
    return compile_module(to_relax(model, core), target, functools.partial(_planned, target, core))


def _planned(target: tvm.target.Target, core: Core, module: tvm.IRModule) -> tvm.IRModule:
    """TVM's pipeline for CPUs, in which schedules of our own follow its fusion."""
    before = [*stages.library_dispatch_passes(target), *stages.legalize_passes(target)]
    after = [*stages.dataflow_lower_passes(target), *stages.finalize_passes(target)]
    fused = tvm.transform.Sequential(before)(module)
    return tvm.transform.Sequential(after)(scheduled(fused, core))


def compile_module(
    module: tvm.IRModule,
    target: tvm.target.Target,
    pipeline: Callable[[tvm.IRModule], tvm.IRModule] | None = None,
) -> Compiled:
    """Compile a Relax module, as `to_relax` makes it, for a target.

    Args:
        pipeline: in the place of TVM's for the target.

    Raises:
        ModelError: a kernel for a GPU got no threads.
    """
    with target, tvm.transform.PassContext(config=_CONFIG):
        # What kernels take as it is stored must not be computed as well, and kept.
        used = relax.transform.DeadCodeElimination()(module)
        planned = _reachable((pipeline or relax.get_default_pipeline(target))(used))
        if target.host is not None:
            _require_threads(planned)
        executable = relax.build(planned, target, None, tir_pipeline=_tir_pipeline(target))
        return Compiled(executable, planned, target)


def processor(toolchain: Toolchain) -> tvm.target.Target:
    """Return TVM's description of the processor: LLVM triple, cpu, features, ABI, options."""
    described: dict[str, Any] = {
        "kind": "llvm",
        "mtriple": toolchain.triple,
        "mcpu": toolchain.cpu,
        "mattr": list(toolchain.features),
        "cl-opt": list(_LLVM_OPTIONS),
    }
    if toolchain.abi is not None:
        described["mabi"] = toolchain.abi
    if toolchain.triple.endswith("hf"):
        described["mfloat-abi"] = "hard"
    return tvm.target.Target({name: value for name, value in described.items() if value})


def calls_of(main: relax.Function) -> list[Any]:
    """Return the bindings of the planned ``main``, in the order in which they run."""
    return [binding for block in main.body.blocks for binding in block.bindings]


def workloads_of(compiled: Compiled) -> dict[str, Any]:
    """Return the workloads that `schedules` knows, as JSON, by the kernel that computes them."""
    return {
        name.name_hint: json.loads(str(function.attrs[WORKLOAD]))
        for name, function in compiled.planned.functions.items()
        if isinstance(function, tirx.PrimFunc) and WORKLOAD in (function.attrs or ())
    }


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


def _tir_pipeline(target: tvm.target.Target) -> str:
    """Return the name of the passes over the loops of kernels."""
    return PIPELINE if target.host is None else "default"


def _lowered(planned: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """Lower the kernels as the build does, up to where their allocations are calls.

    Of a kernel for a GPU this is the part that the host runs, which launches the other.
    """
    kernels = {
        name: function
        for name, function in planned.functions.items()
        if isinstance(function, tirx.PrimFunc)
    }
    host = target.host or target
    module = tirx.transform.BindTarget(target.with_host(host))(tvm.IRModule(kernels))
    pipeline, finalize_host, _ = tirx.get_tir_pipeline(_tir_pipeline(target))
    on_host, _ = split_host_device_mods(pipeline(module))
    return finalize_host()(on_host)
