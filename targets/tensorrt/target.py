"""The target: what `targets.base.Target` asks for, answered by the modules beside this one.

An engine is built in a second or two without a GPU, so a plan is judged by its engine, not by a
guess: the builder's refusals are the check, its memory figures the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import onnx_ir as ir

from ...budget import Figure, Usage
from ...errors import ModelError, Problem, TapeoutError
from ...lowering.analysis.fixes import Lever
from ...lowering.analysis.program import Sharing
from ...lowering.analysis.roofline import Machine, Offload
from ...lowering.canonical import canonical
from ...lowering.passes.expand_functions import ExpandFunctions
from ...lowering.pipeline import Pipeline
from ...profiles.schema import Profile
from ..base import Built, Execution, Plan, Precision, Progress, Target
from ..gpu import copies, gpu_of, machine_of, with_copies
from ..memo import per_model
from . import capabilities, layer_report, sparsity
from .builder import Engine, Request, engine, unsupported
from .execute import cannot_run, execute
from .glue import write_glue
from .host import elsewhere
from .log import Memory
from .network import onnx_of
from .profiles import count, network_of, profiles_of, tuned, usage
from .run import header

RUNTIME: Final = "tensorrt-rtx"

ENGINE: Final = "engine.trt"

#: What the parser or the builder does not take, or only in some forms. Attention has no kernel in
#: float32, nor for every attribute; taken apart it is fused again in half precision.
_EXPANDED: Final = "Attention+CenterCropPad+NegativeLogLikelihoodLoss+SoftmaxCrossEntropyLoss"


class RtxTarget(Target):
    """TensorRT for RTX: engines compiled ahead of time for the GPUs that it serves."""

    runtimes: ClassVar[tuple[str, ...]] = (RUNTIME,)
    packages: ClassVar[Mapping[str, str]] = {"tensorrt_rtx": "tensorrt-rtx"}
    install: ClassVar[str] = "pip install 'tapeout[gpu]'"
    dynamic: ClassVar[bool] = True
    levers: ClassVar[tuple[Lever, ...]] = ("batch",)
    sharing: ClassVar[Sharing] = Sharing(fusion="elementwise")

    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        if profile.gpu is None or elsewhere(profile):
            return ()
        found = capabilities.offered(profile, RUNTIME, precision)
        return sparsity.with_sparse(profile, [Plan(RUNTIME, name) for name in found])

    def refusals(self, profile: Profile, precision: Precision) -> list[Problem]:
        return [*capabilities.refusals(profile, RUNTIME, precision), *elsewhere(profile)]

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        return plan.pruned(capabilities.scheme(plan.precision, RUNTIME))

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        return Pipeline((ExpandFunctions(_EXPANDED),)) + canonical("nchw")

    def untaken(self, profile: Profile, lowered: Callable[[], ir.Model]) -> list[Problem]:
        return _unsupported(lowered())

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        if problems := capabilities.problems(model, profile, plan):
            return problems
        try:
            _engine(model, profile, plan)
        except ModelError as error:
            return list(error.problems)
        return []

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        return machine_of(profile, plan.precision)

    def offload(self, model: ir.Model, profile: Profile, plan: Plan) -> Offload | None:
        return copies(model, profile)

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        """Build it, in about a second: the figures are those of the engine."""
        memory = _memory(model, profile, plan)
        size = len(_engine(model, profile, plan).content)
        machine, texts = self.machine(profile, plan), _engine(model, profile, plan).log.layers
        found = usage(
            model,
            memory,
            Figure(size, "B", "exact", ENGINE),
            sparsity.noted(layer_report.latency(texts, model, machine, self.sharing), plan),
        )
        return with_copies(found, model, profile)

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        progress("building the engine")
        content = _engine(model, profile, plan).content
        _require_header(content, self.version(profile, plan), gpu_of(profile).capabilities)
        (directory / ENGINE).write_bytes(content)
        write_glue(directory)
        return Built(
            ENGINE,
            self.estimate(model, profile, plan),
            self.versions(),
            report={"layers": self._layers(model, profile, plan)},
        )

    def _layers(self, model: ir.Model, profile: Profile, plan: Plan) -> dict[str, Any]:
        """Say what the engine's layers are, what they were made from, and what they cost."""
        texts = _engine(model, profile, plan).log.layers
        profiles = tuned(model, self.pipeline(profile, plan).run)
        capability = gpu_of(profile).capabilities[0]
        return layer_report.report(texts, profiles, self.machine(profile, plan), capability)

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

    def network(self, model: ir.Model, profile: Profile, plan: Plan) -> ir.Model:
        return network_of(model)


@per_model
def _unsupported(model: ir.Model) -> list[Problem]:
    return unsupported(onnx_of(network_of(model)))


def _engine(
    model: ir.Model, profile: Profile, plan: Plan, served: tuple[str, ...] | None = None
) -> Engine:
    """Return what the builder makes of a lowered model, for all capabilities of the device."""
    chosen = served or gpu_of(profile).capabilities
    content, tf32 = onnx_of(network_of(model)), plan.precision == "tf32"
    sparse = bool(plan.sparsity)
    return engine(Request(content, chosen, profiles_of(model), tf32=tf32, sparse=sparse))


def _memory(model: ir.Model, profile: Profile, plan: Plan) -> Memory:
    """Return what an engine needs on the GPU that needs the most.

    Of an engine for several capabilities the builder tells the figures of one of them.
    """
    served = gpu_of(profile).capabilities
    each = [_engine(model, profile, plan, (one,)).log.memory(count(model)) for one in served]
    return Memory(
        max(item.weights for item in each),
        tuple(map(max, zip(*(item.activations for item in each), strict=True))),
        tuple(map(max, zip(*(item.persistent for item in each), strict=True))),
    )


def _require_header(content: bytes, version: str, served: Sequence[str]) -> None:
    """Raise TapeoutError if an engine is not for this version and these capabilities."""
    try:
        found = header.unfit(header.parse(content), len(content), version, served)
    except header.HeaderError as error:
        found = [str(error)]
    if found:
        raise TapeoutError(
            "the engine is not what was asked for", [Problem(ENGINE, what) for what in found]
        )
