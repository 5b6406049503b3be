"""The target for TensorRT where tapeout cannot have it: everything is prepared but the engine.

The bundle is deferred: the network in the opset and the operators of the device's version, with the
precision of every tensor in it, and the program that builds the engine there. Where the library and
a fitting GPU are at hand, that same program builds it at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import onnx_ir as ir

from ....budget import Figure, Usage
from ....errors import Problem, UsageError
from ....lowering.analysis.fixes import Lever
from ....lowering.analysis.program import Sharing
from ....lowering.analysis.roofline import Machine, Offload, estimate
from ....lowering.canonical import canonical
from ....lowering.passes.sink_quantize import SinkQuantize
from ....lowering.pipeline import Pipeline
from ....profiles.schema import Profile
from ...base import Built, Execution, Plan, Precision, Progress, Target
from ...constraints import oversized
from ...gpu import copies, gpu_of, machine_of, with_copies
from .. import capabilities, sparsity
from ..network import onnx_of
from ..profiles import at_base, network_of, profiles_of
from . import device, memory
from .constraints import unsupported
from .glue import ENGINE, MODEL, write_glue
from .operators import Table, table_for
from .opset import MIXED_SCALES, Converted, converted, expanded, require_valid
from .run.build import Order

RUNTIME: Final = "tensorrt"

#: The scheme of int8 where a scale must have the dtype of the real numbers: these are float32 then,
#: since a scale that is rounded to float16 is another one.
_INT8: Final = "tensorrt"

#: A protobuf cannot be longer; the graph needs some of it.
_MOST: Final = (2 << 30) - (16 << 20)


class EnterpriseTarget(Target):
    """TensorRT for data-centre cards and Jetson."""

    runtimes: ClassVar[tuple[str, ...]] = (RUNTIME,)
    packages: ClassVar[Mapping[str, str]] = {}
    install: ClassVar[str] = ""
    dynamic: ClassVar[bool] = True
    levers: ClassVar[tuple[Lever, ...]] = ("batch",)
    sharing: ClassVar[Sharing] = memory.SHARING

    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        if profile.gpu is None:
            return ()
        found = capabilities.offered(profile, RUNTIME, precision)
        return sparsity.with_sparse(profile, [Plan(RUNTIME, name) for name in found])

    def refusals(self, profile: Profile, precision: Precision) -> list[Problem]:
        return capabilities.refusals(profile, RUNTIME, precision)

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        found = capabilities.scheme(plan.precision)
        if plan.precision == "int8" and self._table(profile).opset < MIXED_SCALES:
            found = _INT8
        return plan.pruned(found)

    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        # Again at the end: the canonical form has operators that no version takes, as Swish.
        apart = expanded(self._table(profile))
        return Pipeline((apart,)) + canonical("nchw") + Pipeline((SinkQuantize(), apart))

    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        found = capabilities.problems(model, profile, plan)
        return [*oversized(model, _MOST), *found, *_untaken(model, self._table(profile))]

    def untaken(self, profile: Profile, lowered: Callable[[], ir.Model]) -> list[Problem]:
        return _untaken(lowered(), self._table(profile))

    def machine(self, profile: Profile, plan: Plan) -> Machine:
        return machine_of(profile, plan.precision)

    def offload(self, model: ir.Model, profile: Profile, plan: Plan) -> Offload | None:
        return copies(model, profile)

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        spare = memory.workspace(gpu_of(profile).capability)
        each = memory.needed(model)
        found = max(each, key=lambda item: item.total)
        parts = (
            ("weights", found.weights, ""),
            ("activations", found.activations, "in a static plan"),
            ("inputs and outputs", found.interface, ""),
            ("workspace", spare, "the most that the builder may give to a layer"),
        )
        note = "there is no engine yet"
        totals = tuple(Figure(item.total + spare, "B", "estimated", note) for item in each)
        seconds = estimate(model, self.machine(profile, plan), self.sharing).seconds
        usage = Usage(
            memory=Figure(found.total + spare, "B", "estimated", note),
            storage=Figure(found.weights, "B", "estimated", f"the weights; {note}"),
            latency=sparsity.noted(
                at_base(model, Figure(seconds, "s", "estimated", "roofline")), plan
            ),
            parts=tuple((name, Figure(size, "B", "estimated", what)) for name, size, what in parts),
            profiles=totals if len(totals) > 1 else (),
        )
        return with_copies(usage, model, profile)

    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        progress("writing the network for TensorRT")
        content = onnx_of(self._converted(model, profile, plan).model)
        require_valid(content)
        (directory / MODEL).write_bytes(content)
        order = self._order(content, model, profile, plan)
        commands = write_glue(directory, order)
        usage, toolchain = self.estimate(model, profile, plan), {"onnx": metadata.version("onnx")}
        if obstacle := device.unfit(order.version, order.capabilities):
            progress(f"the engine is not built here: {obstacle}")
            report = {"build": {"commands": list(commands)}}
            return Built(MODEL, usage, toolchain, "deferred", report=report)
        progress("building the engine with TensorRT")
        known = device.build(directory)
        return Built(ENGINE, _measured(usage, known), {**toolchain, "tensorrt": known.version})

    def cannot_run(self, profile: Profile) -> Problem | None:
        """Return why an engine that was built at once cannot run here; untested, as the build."""
        return device.unfit(_version(profile), gpu_of(profile).capabilities)

    def execute(
        self,
        bundle: Path,
        profile: Profile,
        feeds: Mapping[str, np.ndarray],
        repeat: int = 0,
    ) -> Execution:
        if obstacle := self.cannot_run(profile):
            raise UsageError(f"{bundle.name} cannot run here", [obstacle])
        return device.execute(bundle, feeds, repeat)

    def network(self, model: ir.Model, profile: Profile, plan: Plan) -> ir.Model:
        return self._converted(model, profile, plan).model

    def _table(self, profile: Profile) -> Table:
        return table_for(_version(profile))

    def _converted(self, model: ir.Model, profile: Profile, plan: Plan) -> Converted:
        return converted(network_of(model), self._table(profile))

    def _order(self, content: bytes, model: ir.Model, profile: Profile, plan: Plan) -> Order:
        gpu = gpu_of(profile)
        return Order(
            version=_version(profile),
            model=MODEL,
            sha256=hashlib.sha256(content).hexdigest(),
            capabilities=gpu.capabilities,
            tf32=plan.precision == "tf32",
            sparse=bool(plan.sparsity),
            workspace=memory.workspace(gpu.capability),
            interface=max(item.interface for item in memory.needed(model)),
            profiles=tuple(map(dict, profiles_of(model))),
        )


def _untaken(model: ir.Model, table: Table) -> list[Problem]:
    network = network_of(model)
    return [*unsupported(network, table), *converted(network, table).problems]


def _version(profile: Profile) -> str:
    return next(item.version for item in profile.runtimes if item.name == RUNTIME)


def _measured(usage: Usage, known: device.Known) -> Usage:
    """Return a usage with the estimates that building has replaced."""
    parts = tuple((name, Figure(size, "B", "measured")) for name, size in known.parts)
    return Usage(
        memory=Figure(sum(size for _, size in known.parts), "B", "measured", "on this machine"),
        storage=Figure(known.size, "B", "exact", ENGINE),
        latency=usage.latency,
        parts=parts,
        latency_parts=usage.latency_parts,
    )
