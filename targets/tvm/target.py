"""The target: what `targets.base.Target` asks for, answered by the modules beside this one.

TVM is imported where it is used, so that listing devices or targets costs nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import onnx_ir as ir

from ...budget import Budget, Figure, Usage
from ...errors import Problem
from ...lowering.analysis import report
from ...lowering.analysis.fixes import Lever
from ...lowering.analysis.program import Sharing
from ...lowering.analysis.roofline import Machine, estimate
from ...lowering.canonical import integers
from ...lowering.pipeline import Pipeline
from ...profiles.schema import Profile
from ..base import Built, Execution, Plan, Precision, Progress, Target
from ..tuning import Tuning
from .build import CPU, ENGINE, Request, make_engine
from .cost import WAKING, machine_of
from .execute import cannot_run, execute
from .glue import write_glue
from .host import architecture
from .pipeline import pipeline
from .tuning import recorded, require_usable, tuned_request

#: Precision -> scheme; None: the model's own numbers. The preferred first.
_SCHEMES: Final[dict[str, str | None]] = {"fp32": None, "int8": "int8", "fp16": "fp16"}

#: Convolutions of the lowered model, whose weights are (outputs, inputs, kernel).
_CONVOLUTIONS: Final = ("Conv", "ConvNhwc")

#: What an engine holds besides its weights: kernels, the program, tables. An estimate.
_CODE: Final = 64 << 10


#: The option of plans whose convolutions are computed with all their multiplications.
_DIRECT: Final = ("convolutions", "direct")


def growth(model: ir.Model, profile: Profile) -> int:
    """Return by how many bytes weights grow at most for convolutions with fewer multiplications.

    To 36 numbers for each 9 of a window of 3 x 3 without strides, in float32; where cores compute
    in half precision, to 16 of that: see `schedules.winograd_tile`.
    """
    spare = {ir.DataType.FLOAT: 3.0}
    if profile.peak("float16") is not None:
        spare[ir.DataType.FLOAT16] = 7 / 9
    weights = [
        node.inputs[1].const_value
        for node in model.graph
        if node.op_type in _CONVOLUTIONS and node.inputs[1] is not None
    ]
    windows = [
        item
        for item in weights
        if item is not None and item.dtype in spare and item.shape[2:] == (3, 3)
    ]
    return math.ceil(sum(spare[item.dtype] * item.nbytes for item in windows))


def _multiplies_unsigned(profile: Profile) -> bool:
    """Whether a core multiplies whole vectors of int8 as x86 does: data without sign."""
    integers = profile.compute.get("int8")
    if profile.cpu is None or integers is None or integers.lanes is None:
        return False
    is_x86 = architecture(profile.toolchain.triple) == "x86_64"
    return is_x86 and integers.lanes.value * 8 == profile.cpu.vector_bits.value


@dataclasses.dataclass(frozen=True)
class TvmTarget(Target):
    """CPUs through Apache TVM's Relax.

    Attributes:
        tuning: how kernels are tuned; None: they are as the analysis takes them for the best.
    """

    tuning: Tuning | None = None

    runtimes: ClassVar[tuple[str, ...]] = ("tvm",)
    packages: ClassVar[Mapping[str, str]] = {
        "tvm": "apache-tvm",
        "tvm_ffi": "apache-tvm-ffi",
        "ziglang": "ziglang",
    }
    install: ClassVar[str] = "pip install 'tapeout[cpu]'"
    levers: ClassVar[tuple[Lever, ...]] = ("batch",)
    sharing: ClassVar[Sharing] = Sharing(fusion="elementwise")

    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        if profile.cpu is None:
            return ()
        offered = set(_SCHEMES) if precision == "auto" else {precision}
        if precision == "auto" and profile.peak("float16") is None:
            offered -= {"fp16"}  # it would be computed in float32, and rounded
        return tuple(
            Plan("tvm", name, (("threads", threads), *convolutions))
            for name in _SCHEMES
            if name in offered
            for threads in dict.fromkeys((1, profile.threads))
            for convolutions in ((), (_DIRECT,))
        )

    def settled(self, model: ir.Model, profile: Profile, plan: Plan, budget: Budget) -> Plan:
        """Compute convolutions with all multiplications where weights for fewer may not fit."""
        usage, more = self.estimate(model, profile, plan), growth(model, profile)
        limits = ((usage.memory, budget.memory), (usage.storage, budget.storage))
        fits = all(limit is None or used.value + more <= limit for used, limit in limits)
        if fits or not more or _DIRECT in plan.options:
            return plan
        return dataclasses.replace(plan, options=(*plan.options, _DIRECT))

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        return _SCHEMES[plan.precision]

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        return pipeline(unsigned=_multiplies_unsigned(profile)) + integers()

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        from .constraints import check

        return check(model)

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        return machine_of(profile, plan.threads)

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        needed = report.explain_memory(model, None, self.sharing, levers=())
        return Usage(
            memory=Figure(needed.needed, "B", "estimated", "weights and a static arena"),
            storage=Figure(needed.weights + _CODE, "B", "estimated", "weights and 64 KiB of code"),
            latency=self._latency(model, profile, plan),
            parts=(
                ("weights", Figure(needed.weights, "B", "estimated")),
                ("activations", Figure(needed.arena, "B", "estimated")),
            ),
        )

    def _latency(self, model: ir.Model, profile: Profile, plan: Plan) -> Figure:
        seconds = estimate(model, self.machine(profile, plan), self.sharing).seconds
        if plan.threads == 1:
            return Figure(seconds, "s", "estimated", "roofline of TVM's code, one thread")
        note = f"roofline of TVM's code, {plan.threads} threads that sleep between inferences"
        return Figure(seconds + WAKING, "s", "estimated", note)

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        versions = self.versions()
        request = Request.of(profile, plan.threads, direct=_DIRECT in plan.options)
        if self.tuning is not None:
            request = tuned_request(self.tuning, model, request, versions, progress)
        outcome = make_engine(model, request, versions, directory, progress)
        report = recorded(request, outcome, directory) if self.tuning is not None else {}
        parts = outcome.memory.parts
        write_glue(directory, profile)
        memory = sum(figure.value for _, figure in parts)
        size = sum((directory / name).stat().st_size for name in CPU.files)
        usage = Usage(
            memory=Figure(memory, "B", "exact", "weights, and a static plan of all else"),
            storage=Figure(size, "B", "exact", " and ".join(CPU.files)),
            latency=self._latency(model, profile, plan),
            parts=parts,
        )
        return Built(ENGINE, usage, versions, report=report)

    def tuned(self, profile: Profile, tuning: Tuning) -> TvmTarget:
        require_usable(profile, tuning)
        return TvmTarget(tuning)

    def cannot_run(self, profile: Profile) -> Problem | None:
        return cannot_run(profile)

    def execute(
        self,
        bundle: Path,
        profile: Profile,
        feeds: Mapping[str, np.ndarray],
        repeat: int = 0,
    ) -> Execution:
        return execute(bundle, profile, feeds, repeat)
