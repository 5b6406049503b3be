"""The target: what `targets.base.Target` asks for, answered by the modules beside this one.

TVM is imported where it is used, so that listing devices or targets costs nothing.
"""

from __future__ import annotations

import dataclasses
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
from .cost import machine_of
from .execute import cannot_run, execute
from .glue import write_glue
from .host import architecture
from .kernels import grown
from .pipeline import pipeline
from .tuning import recorded, require_usable, tuned_request

#: Precision -> scheme; None: the model's own numbers. The preferred first.
_SCHEMES: Final[dict[str, str | None]] = {"fp32": None, "int8": "int8-tables", "fp16": "fp16"}

#: What an engine holds besides its weights: kernels, the program, tables. An estimate.
_CODE: Final = 64 << 10


#: The option of plans whose convolutions are computed with all their multiplications.
_DIRECT: Final = ("convolutions", "direct")


def _multiplies_unsigned(profile: Profile) -> bool:
    """Whether a core multiplies whole vectors of int8 as x86 does: data without sign."""
    integers = profile.compute.get("int8")
    if profile.cpu is None or integers is None or integers.lanes is None:
        return False
    is_x86 = architecture(profile.toolchain.triple) == "x86_64"
    return is_x86 and integers.lanes.value * 8 == profile.cpu.vector_bits.value


def _request(profile: Profile, plan: Plan) -> Request:
    return Request.of(profile, plan.threads, direct=_DIRECT in plan.options)


def _grown(model: ir.Model, profile: Profile, plan: Plan) -> int:
    """Return by how many bytes an engine's weights are larger than the model's."""
    return grown(model, _request(profile, plan).core)


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
        """Compute convolutions with all multiplications where weights for fewer may not fit.

        What kernels keep inside is about what their second-level caches hold, at most.
        """
        direct = dataclasses.replace(plan, options=(*plan.options, _DIRECT))
        if _DIRECT in plan.options or (budget.memory is None and budget.storage is None):
            return plan
        weights, activations = self._needed(model, profile, plan)
        inside = plan.threads * _request(profile, plan).core.l2
        memory, storage = weights + activations + inside, weights + _CODE
        limits = ((memory, budget.memory), (storage, budget.storage))
        fits = all(limit is None or used <= limit for used, limit in limits)
        grows = _grown(model, profile, plan) > _grown(model, profile, direct)
        return direct if grows and not fits else plan

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        return _SCHEMES[plan.precision]

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        return pipeline(unsigned=_multiplies_unsigned(profile)) + integers()

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        from .constraints import check

        return check(model)

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        return machine_of(profile, plan.threads, direct=_DIRECT in plan.options)

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        weights, activations = self._needed(model, profile, plan)
        memory = Figure(weights + activations, "B", "estimated", "weights and a static arena")
        return Usage(
            memory=memory,
            storage=Figure(weights + _CODE, "B", "estimated", "weights and 64 KiB of code"),
            latency=self._latency(model, profile, plan),
            parts=(
                ("weights", Figure(weights, "B", "estimated", "as kernels want them")),
                ("activations", Figure(activations, "B", "estimated")),
            ),
        )

    def _needed(self, model: ir.Model, profile: Profile, plan: Plan) -> tuple[int, int]:
        """Return the bytes of an engine's weights, and of a static arena."""
        needed = report.explain_memory(model, None, self.sharing, levers=())
        return needed.weights + _grown(model, profile, plan), needed.arena

    def _latency(self, model: ir.Model, profile: Profile, plan: Plan) -> Figure:
        seconds = estimate(model, self.machine(profile, plan), self.sharing).seconds
        threads = "one thread" if plan.threads == 1 else f"{plan.threads} threads that are awake"
        return Figure(seconds, "s", "estimated", f"roofline of TVM's code, {threads}")

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        versions = self.versions()
        request = _request(profile, plan)
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
