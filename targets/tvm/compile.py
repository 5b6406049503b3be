"""From the lowered model to the machine code of an engine, for one processor."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

import onnx_ir as ir
import tvm
from tvm import relax, tirx
from tvm.relax.backend.cpu_generic import pipeline as stages
from tvm.tirx.build import codegen_build, split_host_device_mods

from ...profiles.schema import Toolchain
from .host import architecture
from .program import Program, program_of
from .relax_import import ENTRY, to_relax
from .schedules.annotations import WORKLOAD
from .schedules.apply import scheduled
from .schedules.core import Core
from .tir_pipeline import PIPELINE

#: LLVM 22's loop vectorizer takes ``x[i & 3]`` for ``x[i]`` where it proves that the index wraps
#: (it drops the check that it meant to make; llvm-project, pull request 225086): wrong results,
#: seen with AVX-512. Loops that schedules vectorize themselves do not pass through it.
_LLVM_OPTIONS: Final = ("-vectorize-loops:bool=false",)

#: RISC-V multiplies integers of 16 bits into sums of 32, which LLVM only sees where no more than
#: this many products share a factor: by default 18, while a tile may have more.
_RISCV_OPTIONS: Final = ("-riscv-lower-ext-max-web-size:uint=256",)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What TVM made of a model.

    Attributes:
        program: the kernels, and what calls them.
        lowered: its functions as machine code is made of them.
        library: the machine code.
    """

    program: Program
    lowered: tvm.IRModule
    library: Any


def compile_model(
    model: ir.Model, toolchain: Toolchain, core: Core, *, steps: bool = False
) -> Compiled:
    """Compile a lowered model for the processor that a profile's toolchain describes.

    Args:
        core: what its kernels are scheduled for.
        steps: whether each call of a kernel is a function of its own, too.

    Raises:
        ModelError: TVM does not take a node; names it.
    """
    return compile_module(to_relax(model, core), processor(toolchain), core, steps=steps)


def compile_module(
    module: tvm.IRModule, target: tvm.target.Target, core: Core | None, *, steps: bool = False
) -> Compiled:
    """Compile a Relax module, as `to_relax` makes it.

    Args:
        core: what its kernels are scheduled for; None: their loops stay as TVM writes them.
        steps: whether each call of a kernel is a function of its own, too.
    """
    with target:
        program = program_of(_with_loops(module, target, core), ENTRY, core, steps=steps)
        functions = lowered(program.module, target, PIPELINE)
        return Compiled(program, functions, codegen_build(functions, target))


def _with_loops(module: tvm.IRModule, target: tvm.target.Target, core: Core | None) -> tvm.IRModule:
    """TVM's pipeline for CPUs up to calls of kernels, with our schedules after its fusion."""
    before = [
        # What kernels take as it is stored must not be computed as well, and kept.
        relax.transform.DeadCodeElimination(),
        *stages.library_dispatch_passes(target),
        *stages.legalize_passes(target),
    ]
    fused = tvm.transform.Sequential(before)(module)
    kernels = fused if core is None else scheduled(fused, core)
    return tvm.transform.Sequential(stages.dataflow_lower_passes(target))(kernels)


def processor(toolchain: Toolchain) -> tvm.target.Target:
    """Return TVM's description of the processor: LLVM triple, cpu, features, ABI, options."""
    is_riscv = architecture(toolchain.triple).startswith("riscv")
    described: dict[str, Any] = {
        "kind": "llvm",
        "mtriple": toolchain.triple,
        "mcpu": toolchain.cpu,
        "mattr": list(toolchain.features),
        "cl-opt": [*_LLVM_OPTIONS, *(_RISCV_OPTIONS if is_riscv else ())],
    }
    if toolchain.abi is not None:
        described["mabi"] = toolchain.abi
    if toolchain.triple.endswith("hf"):
        described["mfloat-abi"] = "hard"
    return tvm.target.Target({name: value for name, value in described.items() if value})


def workloads_of(program: Program) -> list[dict[str, Any] | None]:
    """Return what each call of a kernel computes, as JSON: its workload; None if it has none."""
    kernels = {str(name.name_hint): kernel for name, kernel in program.module.functions.items()}
    said = [(kernels[name].attrs or {}).get(WORKLOAD) for name in program.calls]
    return [None if text is None else json.loads(str(text)) for text in said]


def lowered(module: tvm.IRModule, target: tvm.target.Target, pipeline: str) -> tvm.IRModule:
    """Lower functions up to what machine code is made of; scratch memory is asked for by calls.

    Of a kernel for a GPU this is the part that the host runs, which launches the other.

    Args:
        pipeline: TVM's name of the passes over loops.
    """
    host = target.host or target
    module = tirx.transform.BindTarget(target.with_host(host))(module)
    lower, finalize_host, _ = tirx.get_tir_pipeline(pipeline)
    on_host, _ = split_host_device_mods(lower(module))
    return finalize_host()(on_host)
