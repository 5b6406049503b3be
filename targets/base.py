"""What a family of runtimes has to offer, and how the packages beside this file are found.

A new backend is one new package here whose ``__init__`` defines ``TARGETS``; nothing else changes.
Importing such a package must be cheap: its heavy runtime is imported inside the methods.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import onnx_ir as ir

from ..budget import Budget, Usage
from ..errors import MissingToolError, Problem, UsageError
from ..lowering.analysis.fixes import Lever
from ..lowering.analysis.program import Sharing
from ..lowering.analysis.roofline import Machine, Offload
from ..lowering.pipeline import Pipeline
from ..profiles.schema import Profile
from .placement import Placement
from .tuning import Tuning

#: What the user asks for; the targets answer with plans whose precision is one of the others.
#: ``tf32`` stores float32 and multiplies with 10 bits of mantissa. ``int8`` and ``fp8`` round
#: weights and data beforehand, ``int8-dynamic`` the data of each run as it comes; ``int4`` rounds
#: the weights alone.
Precision = Literal["auto", "fp32", "tf32", "fp16", "bf16", "int8", "int8-dynamic", "fp8", "int4"]

#: The numbers of real inputs and outputs: float32, or integers that stand for them; ``auto``: what
#: the runtime's users expect.
Io = Literal["auto", "float", "int8"]

#: Called with one line of text at every step of long work.
Progress = Callable[[str], None]

#: What computed: see `Execution`.
Where = Literal["device", "host", "emulator", "simulator"]

#: Options of plans that are made only where these are asked for.
_ON_REQUEST: Final = frozenset({"convolutions", "flow", "sparsity"})

#: By name, as engines take and give them.
Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Plan:
    """One point of the search: which runtime, which precision, and the target's own options."""

    runtime: str
    precision: str
    options: tuple[tuple[str, int | str], ...] = ()

    @property
    def threads(self) -> int:
        """How many threads it runs on."""
        return int(dict(self.options).get("threads", 1))

    @property
    def sparsity(self) -> str:
        """Which pattern of zeros its weights have, as ``2:4``; empty: they are dense."""
        return str(dict(self.options).get("sparsity", ""))

    @property
    def on_request(self) -> set[str]:
        """Which of its options a plan has only where they are asked for.

        Sparse weights cost accuracy, and whether kernels for them are taken shows on the device
        alone; a flow that ends early leaves the rest to the user; convolutions with all their
        multiplications are slower, and a budget asks for them by itself.
        """
        return {name for name, _ in self.options if name in _ON_REQUEST}

    def pruned(self, scheme: str | None) -> str | None:
        """Return the scheme of its numbers after the one that gives its weights their zeros."""
        names = (self.sparsity and f"sparse-{self.sparsity}", scheme)
        return ",".join(filter(None, names)) or None

    @property
    def has_integer_borders(self) -> bool:
        """Whether inputs and outputs are integers where they stand for real numbers."""
        return dict(self.options).get("io") == "int8"

    def with_integer_borders(self) -> Plan:
        """Return the plan with integers where inputs and outputs stand for real numbers."""
        return dataclasses.replace(self, options=(*self.options, ("io", "int8")))

    def __str__(self) -> str:
        options = "".join(f", {name}={value}" for name, value in self.options)
        return f"{self.runtime}, {self.precision}{options}"


@dataclasses.dataclass(frozen=True)
class Built:
    """What `Target.build` left in the directory.

    Attributes:
        engine: the file that the runtime loads, relative to the directory.
        usage: what it costs; the figures that the runtime's own planner gives are ``exact``.
        toolchain: name -> version of every tool that made it.
        status: ``deferred`` when the engine itself must still be built on the device.
        report: entries of the manifest's report that only the build tells, JSON as it is.
    """

    engine: str
    usage: Usage
    toolchain: Mapping[str, str]
    status: Literal["compiled", "deferred"] = "compiled"
    report: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class OnCard:
    """What a graphics card told of the inferences on it.

    Attributes:
        memory: bytes of its memory, by what they hold.
        steps: seconds of each step of every timed inference: the copies, and what lies between.
    """

    memory: Mapping[str, int]
    steps: Mapping[str, tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Execution:
    """What one execution of a bundle gave.

    Attributes:
        outputs: by name; pieces of the compiled batch are stacked along the first dimension.
        latencies: seconds of every timed inference (one compiled batch each); empty if not timed.
        peak_memory: bytes, the largest resident size of the process that ran it.
        where: on the device's own kind of machine; by the runtime's kernels for this one, whose
            times are this machine's; in an emulator, whose times mean nothing; or in a simulator
            that counts the device's cycles, whose times are the device's.
        card: what the graphics card told, if it ran on one.
    """

    outputs: dict[str, np.ndarray]
    latencies: tuple[float, ...]
    peak_memory: int
    where: Where
    card: OnCard | None = None


@dataclasses.dataclass(frozen=True)
class Simulator:
    """What runs here in the place of an engine that cannot.

    Both functions take feeds as `Target.execute` does, and give outputs as `Execution` has them.

    Attributes:
        check: rounds as the reference does, so that its outputs must be the reference's.
        run: gives the very bits of the engine, which may round otherwise.
    """

    check: Callable[[Arrays], Arrays]
    run: Callable[[Arrays], Arrays]


class Target(abc.ABC):
    """One family of runtimes."""

    #: The runtime names, as profiles list them, that this target builds for.
    runtimes: ClassVar[tuple[str, ...]]

    #: The remedies against a missed memory budget that this target can build.
    levers: ClassVar[tuple[Lever, ...]] = ()

    #: Which tensors share memory in the engines that this target builds.
    sharing: ClassVar[Sharing] = Sharing()

    #: The packages that it needs, by their modules; the versions are pinned by an extra.
    packages: ClassVar[Mapping[str, str]]

    #: The command that installs them.
    install: ClassVar[str]

    #: Whether its engines serve ranges of shapes. The lowered model that its methods are given is
    #: static, at the shapes that the first profile is tuned for; `lowering.dynamic.generalize`
    #: has `dynamic_of`, which returns what stands for it at all shapes, and the profiles.
    dynamic: ClassVar[bool] = False

    #: What is still to be done where a bundle is deferred.
    deferral: ClassVar[str] = "the engine is built on the device"

    #: Whether its bundles whose engine is yet to be built run here, too, by what it is built from.
    simulates: ClassVar[bool] = False

    #: Why it offers no plans in other numbers than it does; empty if there is no such reason.
    only: ClassVar[str] = ""

    def require(self) -> None:
        """Raise MissingToolError, with the install command, if the toolchain is not installed."""
        missing = [
            Problem(package, "is not installed", self.install)
            for module, package in self.packages.items()
            if not self.is_installed(module)
        ]
        if missing:
            names = ", ".join(map(repr, self.runtimes))
            raise MissingToolError(f"the runtime {names} needs packages that are missing", missing)

    def is_installed(self, module: str) -> bool:
        """Return whether a module of `packages` can be imported."""
        return importlib.util.find_spec(module) is not None

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages, by name."""
        return {package: metadata.version(package) for package in self.packages.values()}

    @abc.abstractmethod
    def plans(self, profile: Profile, precision: Precision) -> Sequence[Plan]:
        """Return the candidate plans for the device, the preferred first; may be empty."""

    def refusals(self, profile: Profile, precision: Precision) -> list[Problem]:
        """Return why `plans` is empty, where there is more to say than that it is."""
        return []

    def with_io(self, profile: Profile, plan: Plan, io: Io) -> Plan | None:
        """Return a plan with the inputs and outputs that are asked for; None: it cannot have them.

        The plan's option ``io`` says ``int8`` where they are integers; it is left out where not.
        """
        return plan if io != "int8" else None

    def scheme(self, profile: Profile, plan: Plan) -> str | None:
        """Return the name of the quantization scheme of a plan; None: the model's own numbers."""
        return None

    def version(self, profile: Profile, plan: Plan) -> str:
        """Return the version of the runtime that a plan's bundle is for."""
        return next(item.version for item in profile.runtimes if item.name == plan.runtime)

    @abc.abstractmethod
    def pipeline(self, profile: Profile, plan: Plan) -> Pipeline:
        """Return the passes from the imported, or converted, model to what `build` takes."""

    @abc.abstractmethod
    def check(self, model: ir.Model, profile: Profile, plan: Plan) -> list[Problem]:
        """Return every reason why the lowered `model` cannot be built; builds nothing."""

    def untaken(self, profile: Profile, lowered: Callable[[], ir.Model]) -> list[Problem]:
        """Return every node that no plan for a device can take, whatever its numbers.

        It is asked before any conversion.

        Args:
            lowered: gives the network in its own numbers, after `pipeline`.
        """
        return []

    def settled(self, model: ir.Model, profile: Profile, plan: Plan, budget: Budget) -> Plan:
        """Return the plan with what only the lowered `model` and the budget decide.

        Raises:
            BudgetError: nothing that could be decided fits.
        """
        return plan

    def in_float(self, model: ir.Model) -> Mapping[str, str]:
        """Return the nodes of a lowered `model` in integers that it computes in float, and why."""
        return {}

    @abc.abstractmethod
    def machine(self, profile: Profile, plan: Plan) -> Machine:
        """Return what one run has at its disposal, for the roofline model of latency."""

    def offload(self, model: ir.Model, profile: Profile, plan: Plan) -> Offload | None:
        """Return what other machines take over of the lowered `model`; None if nothing."""
        return None

    def placement(self, model: ir.Model, profile: Profile, plan: Plan) -> Placement | None:
        """Return where each operator of the lowered `model` runs; None if there is one place."""
        return None

    @abc.abstractmethod
    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        """Return what the lowered `model` would cost, every figure ``estimated`` or ``exact``."""

    def proof(
        self,
        model: ir.Model,
        profile: Profile,
        plan: Plan,
        samples: Callable[[], Arrays],
        progress: Progress,
    ) -> Mapping[str, Any]:
        """Prove, before long work, that what `build` is about to make computes what it should.

        Args:
            samples: gives feeds, as `execute` takes them.

        Returns:
            The evidence: entries of the manifest's report, JSON as it is.

        Raises:
            VerificationError: it computes something else.
        """
        return {}

    @abc.abstractmethod
    def build(
        self, model: ir.Model, profile: Profile, plan: Plan, directory: Path, progress: Progress
    ) -> Built:
        """Build the lowered `model` into `directory`: the engine, and ``run/`` with its glue."""

    def tuned(self, profile: Profile, tuning: Tuning) -> Target | None:
        """Return the target that builds tuned engines for the device; None: it tunes nothing.

        Raises:
            UsageError: it cannot be done here, or the log cannot be used.
        """
        return None

    @abc.abstractmethod
    def cannot_run(self, profile: Profile) -> Problem | None:
        """Return why a bundle for the device cannot run on this machine; None if it can."""

    @abc.abstractmethod
    def execute(
        self,
        bundle: Path,
        profile: Profile,
        feeds: Mapping[str, np.ndarray],
        repeat: int = 0,
    ) -> Execution:
        """Run a bundle here, in a process of its own (or an emulator).

        Args:
            bundle: the directory, whose ``manifest.json`` names engine, inputs and outputs.
            profile: the device it was built for.
            feeds: one array for each input; the first dimension is a multiple of the compiled one.
            repeat: how many timed inferences follow on the first piece, after a warm-up.
        """

    def simulator(self, model: ir.Model, profile: Profile, plan: Plan) -> Simulator | None:
        """Return what computes the numbers of an engine that cannot run here; None: nothing does.

        Args:
            model: lowered, as `build` takes it.
        """
        return None

    def network(self, model: ir.Model, profile: Profile, plan: Plan) -> ir.Model | None:
        """Return what a builder is given, where nothing computes an engine's numbers here.

        ONNX Runtime runs it in the engine's place: it shows that lowering was right, no more. None:
        there is no such thing.
        """
        return None


@functools.cache
def targets() -> dict[str, Target]:
    """Return the target of every runtime name, from the packages beside this module."""
    here = importlib.import_module(__package__)
    found: dict[str, Target] = {}
    for module in pkgutil.iter_modules(here.__path__):
        if module.ispkg:
            offered: Sequence[Target] = importlib.import_module(
                f"{__package__}.{module.name}"
            ).TARGETS
            for target in offered:
                found |= dict.fromkeys(target.runtimes, target)
    return dict(sorted(found.items()))


def target_for(runtime: str) -> Target:
    """Return the target that builds for a runtime; raises UsageError naming those there are."""
    if runtime not in targets():
        raise UsageError(
            f"no target builds for the runtime {runtime!r}; there are: {', '.join(targets())}"
        )
    return targets()[runtime]
