"""The target: what `targets.base.Target` asks for, answered by the modules beside this one.

LiteRT is imported where it is used, so that listing devices or targets costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import onnx_ir as ir

from ...budget import Figure, Known, Usage
from ...errors import Problem
from ...lowering.analysis import report
from ...lowering.analysis.fixes import Lever
from ...lowering.analysis.program import Sharing
from ...lowering.analysis.roofline import Machine, Offload, estimate
from ...lowering.matching import halved, tensor_of
from ...lowering.pipeline import Pipeline
from ...profiles.schema import Profile
from ..base import Built, Execution, Io, Plan, Precision, Progress, Target
from ..memo import per_model
from ..placement import Placement
from .arena import arena_of
from .cost import machine_of
from .execute import INSTALL, cannot_run, execute
from .glue import write_glue
from .pipeline import pipeline
from .plans import DELEGATES, DELEGATES_IN, delegate_of, plans_of

ENGINE: Final = "model.tflite"

#: Precision -> scheme; None: the model's own numbers. The preferred first.
_SCHEMES: Final[dict[str, str | None]] = {
    "fp32": None,
    "fp16": "weights-fp16",
    "int8": "tflite",
    "int8-dynamic": "int8-dynamic",
}

#: What is tried where the user leaves it open.
_OPEN: Final = ("fp32", "fp16", "int8")

#: What a file holds besides its weights: operators, tensors, names. An estimate.
_TABLES: Final = 8 << 10

#: What is in the arena.
_KERNELS: Final = "builtin kernels"
_ARENA: Final = {"fp16": "builtin kernels, and the weights as float32"}

#: What the memory's note says besides where there is a delegate: part of the arena goes to it.
_INSTEAD: Final = " as without a delegate, which has buffers of its own instead of a part"


class TfliteTarget(Target):
    """TensorFlow Lite, now LiteRT: one file for every processor."""

    runtimes: ClassVar[tuple[str, ...]] = ("tflite",)
    packages: ClassVar[Mapping[str, str]] = {"ai_edge_litert": "ai-edge-litert"}
    install: ClassVar[str] = INSTALL
    levers: ClassVar[tuple[Lever, ...]] = ("batch",)
    sharing: ClassVar[Sharing] = Sharing(fusion="activation")

    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        if profile.cpu is None:
            return ()
        offered = _OPEN if precision == "auto" else (precision,)
        return plans_of(profile, [name for name in _SCHEMES if name in offered])

    def with_io(self, profile: Profile, plan: Plan, io: Io) -> Plan | None:
        if io != "int8":
            return plan
        return plan.with_integer_borders() if plan.precision == "int8" else None

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        return _SCHEMES[plan.precision]

    def version(self, profile: Profile, plan: Plan) -> str:
        return super().version(profile, plan) if delegate_of(plan) is None else DELEGATES_IN

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        return pipeline(plan.precision)

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        delegate = delegate_of(plan)
        if (problems := _problems(model)) or delegate is None:
            return problems
        from .delegates.placement import graph_of_model, placed, untaken

        return untaken(placed(graph_of_model(model), profile, delegate))

    def in_float(self, model: ir.Model) -> Mapping[str, str]:
        from .fallbacks import in_float

        return in_float(model)

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        return machine_of(profile, plan.threads)

    def offload(self, model: ir.Model, profile: Profile, plan: Plan) -> Offload | None:
        delegate = delegate_of(plan)
        if delegate is None:
            return None
        from .delegates.cost import offload
        from .delegates.placement import graph_of_model, placed

        found = placed(graph_of_model(model), profile, delegate)
        return offload(found, profile, delegate, plan.precision)

    def placement(self, model: ir.Model, profile: Profile, plan: Plan) -> Placement | None:
        from .delegates.placement import shown

        return shown(model, profile, plan, self.machine(profile, plan), self.sharing)

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        weights, arena = _needed(model)
        size = weights + _TABLES
        note = "the file and a static arena" + (_INSTEAD if delegate_of(plan) else "")
        return Usage(
            memory=Figure(size + arena, "B", "estimated", note),
            storage=Figure(size, "B", "estimated", "weights and 8 KiB of tables"),
            latency=self._latency(model, profile, plan),
            parts=(
                ("model", Figure(size, "B", "estimated")),
                ("activations", Figure(arena, "B", "estimated")),
            ),
        )

    def _latency(self, model: ir.Model, profile: Profile, plan: Plan) -> Figure:
        delegate = delegate_of(plan)
        taken = self.offload(model, profile, plan)
        found = estimate(model, self.machine(profile, plan), self.sharing, taken)
        threads = "one thread" if plan.threads == 1 else f"{plan.threads} threads"
        note = f"roofline of XNNPACK, {threads}"
        if delegate is not None:
            note += f", and of what {DELEGATES[delegate]} takes, with the copies between them"
        return Figure(found.seconds, "s", "estimated", note)

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        from .flatbuffer import runtime_of
        from .lower import to_tflite

        progress("writing the TFLite file")
        content = to_tflite(model)
        (directory / ENGINE).write_bytes(content)
        write_glue(directory, profile, plan, runtime_of(content))
        size = (directory / ENGINE).stat().st_size
        progress("allocating the tensors")
        arena = arena_of(directory / ENGINE)
        delegated = delegate_of(plan) is not None
        known: Known = "estimated" if delegated else "exact"
        note = "the file and the arena of TFLite's planner" + (_INSTEAD if delegated else "")
        usage = Usage(
            memory=Figure(size + arena, "B", known, note),
            storage=Figure(size, "B", "exact", ENGINE),
            latency=self._latency(model, profile, plan),
            parts=(
                ("model", Figure(size, "B", "exact")),
                ("arena", Figure(arena, "B", known, _ARENA.get(plan.precision, _KERNELS))),
            ),
        )
        return Built(ENGINE, usage, self.versions())

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


@per_model
def _problems(model: ir.Model) -> list[Problem]:
    from .constraints import check

    return check(model)


@per_model
def _needed(model: ir.Model) -> tuple[int, int]:
    """Return the bytes of a lowered model's weights, and of its activations in a static plan.

    Weights in half precision are made float32 once, beside the activations, and both stay.
    """
    needed = report.explain_memory(model, None, TfliteTarget.sharing, levers=())
    halves = [tensor_of(halved(node.outputs[0])) for node in model.graph]
    return needed.weights, needed.arena + sum(
        2 * item.nbytes for item in halves if item is not None
    )
