"""The target: what `targets.base.Target` asks for, answered by the modules beside this one.

LiteRT is imported where it is used, so that listing devices or targets costs nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import onnx_ir as ir

from ...budget import Figure, Usage
from ...errors import MissingToolError, Problem
from ...lowering.analysis import report
from ...lowering.analysis.fixes import Lever
from ...lowering.analysis.program import Sharing
from ...lowering.analysis.roofline import Machine, estimate
from ...lowering.pipeline import Pipeline
from ...profiles.schema import Profile
from ..base import Built, Execution, Io, Plan, Precision, Progress, Target
from .arena import arena_of
from .cost import machine_of
from .execute import INSTALL, cannot_run, execute
from .glue import write_glue
from .pipeline import pipeline

ENGINE: Final = "model.tflite"

_PACKAGE: Final = "ai-edge-litert"

#: Precision -> scheme; None: the model's own numbers. The preferred first.
_SCHEMES: Final[dict[str, str | None]] = {"fp32": None, "int8": "tflite"}

#: What a file holds besides its weights: operators, tensors, names. An estimate.
_TABLES: Final = 8 << 10


class TfliteTarget(Target):
    """TensorFlow Lite, now LiteRT: one file for every processor."""

    runtimes: ClassVar[tuple[str, ...]] = ("tflite",)
    levers: ClassVar[tuple[Lever, ...]] = ("batch",)
    sharing: ClassVar[Sharing] = Sharing(fusion="activation")

    def require(self) -> None:
        if importlib.util.find_spec("ai_edge_litert") is None:
            missing = [Problem(_PACKAGE, "is not installed", INSTALL)]
            raise MissingToolError("the runtime 'tflite' needs a package that is missing", missing)

    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        if profile.cpu is None:
            return ()
        offered = set(_SCHEMES) if precision == "auto" else {precision}
        return tuple(
            Plan("tflite", name, (("threads", 1),)) for name in _SCHEMES if name in offered
        )

    def with_io(self, profile: Profile, plan: Plan, io: Io) -> Plan | None:
        if io != "int8":
            return plan
        return plan.with_integer_borders() if plan.precision == "int8" else None

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        return _SCHEMES[plan.precision]

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        return pipeline()

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        from .constraints import check

        return check(model)

    def in_float(self, model: ir.Model) -> Mapping[str, str]:
        from .fallbacks import in_float

        return in_float(model)

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        return machine_of(profile, int(dict(plan.options)["threads"]))

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        needed = report.explain_memory(model, None, self.sharing, levers=())
        seconds = estimate(model, self.machine(profile, plan), self.sharing).seconds
        size = needed.weights + _TABLES
        return Usage(
            memory=Figure(size + needed.arena, "B", "estimated", "the file and a static arena"),
            storage=Figure(size, "B", "estimated", "weights and 8 KiB of tables"),
            latency=Figure(seconds, "s", "estimated", "roofline of XNNPACK, one thread"),
            parts=(
                ("model", Figure(size, "B", "estimated")),
                ("activations", Figure(needed.arena, "B", "estimated")),
            ),
        )

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        from .lower import to_tflite

        progress("writing the TFLite file")
        (directory / ENGINE).write_bytes(to_tflite(model))
        write_glue(directory)
        size = (directory / ENGINE).stat().st_size
        progress("allocating the tensors")
        arena = arena_of(directory / ENGINE)
        usage = Usage(
            memory=Figure(size + arena, "B", "exact", "the file and the arena of TFLite's planner"),
            storage=Figure(size, "B", "exact", ENGINE),
            latency=self.estimate(model, profile, plan).latency,
            parts=(
                ("model", Figure(size, "B", "exact")),
                ("arena", Figure(arena, "B", "exact", "builtin kernels")),
            ),
        )
        return Built(ENGINE, usage, {_PACKAGE: metadata.version(_PACKAGE)})

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
