"""The target for microcontrollers with an Ethos-U: what `targets.base.Target` asks for."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import onnx_ir as ir

from ....budget import Figure, Usage
from ....errors import Problem, UsageError
from ....lowering.analysis.fixes import Lever
from ....lowering.analysis.program import Sharing
from ....lowering.analysis.roofline import Machine, Offload
from ....lowering.pipeline import Pipeline
from ....profiles.schema import EthosU, Profile
from ... import process
from ...base import Arrays, Built, Execution, Io, Plan, Precision, Progress, Simulator, Target
from ...memo import per_model
from ...placement import Placement
from ..cost import machine_of
from ..execute import ENGINE_CODE
from ..pipeline import pipeline
from . import vela
from .glue import write_glue

if TYPE_CHECKING:
    from ..operators import Graph
    from .optimised import Optimised

RUNTIME: Final = "ethos-u"

ENGINE: Final = "model_vela.tflite"

#: What Vela is given, while it is simulated.
_GIVEN: Final = "model.tflite"

#: The code that runs LiteRT's reference kernels.
_REFERENCE: Final = Path(__file__).resolve().with_name("reference.py")

#: The option that names Vela's strategy, and its values, the preferred first.
_OPTIMISE: Final = "optimise"
_STRATEGIES: Final[tuple[vela.Strategy, ...]] = ("performance", "size")


_NUMBERS: Final = "its numbers are those of TFLite's reference kernels"


class EthosUTarget(Target):
    """TFLite Micro on a Cortex-M with an Arm Ethos-U beside it: Vela's work on our int8 files."""

    runtimes: ClassVar[tuple[str, ...]] = (RUNTIME,)
    packages: ClassVar[Mapping[str, str]] = {
        "ethosu": vela.PACKAGE,
        "ai_edge_litert": "ai-edge-litert",
    }
    install: ClassVar[str] = "pip install 'tapeout[ethosu]'"
    levers: ClassVar[tuple[Lever, ...]] = ("batch",)
    sharing: ClassVar[Sharing] = Sharing(fusion="activation")
    only: ClassVar[str] = "the NPU computes with integers only"

    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        """Return the plans: the NPU computes with integers only."""
        if profile.ethos_u is None or precision not in ("auto", "int8"):
            return ()
        return tuple(Plan(RUNTIME, "int8", ((_OPTIMISE, name),)) for name in _STRATEGIES)

    def with_io(self, profile: Profile, plan: Plan, io: Io) -> Plan:
        """Return a plan with integers in and out, as is usual there, unless float is asked for."""
        return plan if io == "float" else plan.with_integer_borders()

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        return "tflite"

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        return pipeline()

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        from ..constraints import check
        from .place import problems

        if found := check(model):
            return found
        return problems(*_compiled(model, profile, plan))

    def in_float(self, model: ir.Model) -> Mapping[str, str]:
        from ..fallbacks import in_float

        return in_float(model)

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        """Return the Cortex-M, which runs what `offload` leaves."""
        return machine_of(profile, 1)

    def offload(self, model: ir.Model, profile: Profile, plan: Plan) -> Offload:
        from .cost import offload
        from .place import left

        graph, found, _ = _compiled(model, profile, plan)
        staying = {operator.label for operator in left(graph, found).values()}
        return offload(model, staying, _npu(profile), profile.main_memory.bandwidth.value)

    def placement(self, model: ir.Model, profile: Profile, plan: Plan) -> Placement:
        from .place import placement

        seconds = self._left_seconds(model, profile, plan)
        return placement(*_compiled(model, profile, plan), seconds)

    def _left_seconds(self, model: ir.Model, profile: Profile, plan: Plan) -> float:
        """Return how long the CPU computes in one inference, estimated."""
        from .cost import left_seconds

        taken = self.offload(model, profile, plan)
        return left_seconds(model, self.machine(profile, plan), self.sharing, taken)

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        """Compile it, in about a second: the figures are those of the engine."""
        _, found, made = _compiled(model, profile, plan)
        return _usage(profile, found, made, self._left_seconds(model, profile, plan))

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        progress("compiling with Vela")
        _, found, made = _compiled(model, profile, plan)
        (directory / ENGINE).write_bytes(made.content)
        write_glue(directory, ENGINE, found)
        return Built(ENGINE, self.estimate(model, profile, plan), self.versions())

    def cannot_run(self, profile: Profile) -> Problem | None:
        what = "runs on the device only: LiteRT has no kernel for the operator 'ethos-u'"
        return Problem(ENGINE, what, "see run/README.md in the bundle")

    def execute(
        self,
        bundle: Path,
        profile: Profile,
        feeds: Mapping[str, np.ndarray],
        repeat: int = 0,
    ) -> Execution:
        obstacle = self.cannot_run(profile)
        raise UsageError(f"{bundle.name} cannot run here", [obstacle] if obstacle else [])

    def simulator(self, model: ir.Model, profile: Profile, plan: Plan) -> Simulator:
        """Return LiteRT on the file that Vela is given.

        XNNPACK rounds as ONNX Runtime does, TFLite's reference kernels as the NPU does: twice.
        """
        return Simulator(
            check=functools.partial(_run, ENGINE_CODE, model),
            run=functools.partial(_run, _REFERENCE, model),
        )


def _run(code: Path, model: ir.Model, feeds: Arrays) -> Arrays:
    """Run the file of a lowered model, as no bundle, with the engine's code of a target."""
    manifest = {
        "engine": _GIVEN,
        "inputs": [_described(value) for value in model.graph.inputs],
        "outputs": [_described(value) for value in model.graph.outputs],
    }
    with tempfile.TemporaryDirectory(prefix="tapeout-") as scratch:
        bundle = Path(scratch) / "simulation"
        bundle.mkdir()
        (bundle / _GIVEN).write_bytes(_content(model))
        (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        python = [sys.executable]
        return process.execute(
            bundle, code, feeds, where="host", python=python, environment={}
        ).outputs


def _described(value: ir.Value) -> dict[str, object]:
    if value.shape is None or value.dtype is None:
        raise ValueError(f"{value.name!r} has no shape or dtype")
    return {"name": value.name, "shape": value.shape.numpy(), "dtype": value.dtype.numpy().name}


@per_model
def _content(model: ir.Model) -> bytes:
    from ..lower import to_tflite

    return to_tflite(model)


def _compiled(
    model: ir.Model, profile: Profile, plan: Plan
) -> tuple[Graph, Optimised, vela.Compiled]:
    """Return the file of a lowered model, what Vela made of it, and what it said."""
    from ..operators import read
    from .optimised import optimised

    content = _content(model)
    chosen = dict(plan.options)[_OPTIMISE]
    strategy = next(name for name in _STRATEGIES if name == chosen)
    made = vela.compiled(content, _npu(profile), strategy, _limit(profile))
    return read(content), optimised(made.content), made


def _npu(profile: Profile) -> EthosU:
    if profile.ethos_u is None:
        raise ValueError(f"{profile.name} has no Ethos-U")
    return profile.ethos_u


def _reads_in_place(profile: Profile) -> bool:
    """Whether the weights stay in a memory that holds nothing else, such as flash."""
    holding = [item.holds for item in profile.memories if "weights" in item.holds]
    return bool(holding) and all("activations" not in holds for holds in holding)


def _limit(profile: Profile) -> int | None:
    """Return the bytes that Vela should stay below where activations are in SRAM.

    Where they are not, SRAM is the NPU's own, and the memory mode says how much of it.
    """
    if not _reads_in_place(profile):
        return None
    size = profile.main_memory.size.value
    return min(size, profile.budget.memory) if profile.budget.memory else size


def _usage(profile: Profile, found: Optimised, made: vela.Compiled, left: float) -> Usage:
    size = len(made.content)
    note = "tensors, as Vela planned them; TFLite Micro's tables, some 0.5 KiB, on top"
    parts = [("arena", Figure(found.arena, "B", "exact", note))]
    if found.fast:
        parts.append(("sram", Figure(found.fast, "B", "exact", "the NPU's own")))
    if not _reads_in_place(profile):
        parts.append(("model", Figure(size, "B", "exact", "the NPU reads it from main memory")))
    how = f"Vela's cycles at {made.clock / 1e6:g} MHz"
    if found.left:
        several = "s" if len(found.left) > 1 else ""
        how += f", and a roofline of the CPU's {len(found.left)} operator{several}"
    return Usage(
        memory=Figure(sum(part.value for _, part in parts), "B", "exact", "while it runs"),
        storage=Figure(size, "B", "exact", f"{ENGINE}; {_NUMBERS}"),
        latency=Figure(made.seconds + left, "s", "estimated", how),
        parts=tuple(parts),
    )
