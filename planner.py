"""The search: which runtimes and precisions could serve the device, and which to try first."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import onnx_ir as ir

from .budget import Budget, Usage, Verdict
from .errors import BudgetError, MissingToolError, ModelError, Problem, TapeoutError, UsageError
from .lowering.analysis import report
from .lowering.analysis.report import MemoryReport, Report
from .lowering.dynamic.family import Family
from .lowering.dynamic.generalize import Dynamic, attach, generalize
from .lowering.dynamic.ranges import Shapes
from .lowering.passes.integer_borders import IntegerBorders
from .lowering.passes.sign_quantization import SignQuantization
from .lowering.pipeline import Check, Pipeline
from .lowering.quantization.conversion import is_quantized
from .profiles.schema import Profile
from .quantizer import Converted, Converter
from .targets.base import Io, Plan, Precision, Target, target_for, targets
from .targets.placement import Placement


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One plan with everything that is known before it is built.

    Attributes:
        source: the model in the plan's numbers, which its outputs are compared with.
        converted: how it came to these numbers; None if they are the model's own.
        pipeline: all passes, from the imported model on.
        model: the model as the target builds it, after `pipeline`.
        usage: the target's estimate, held against the budget by `verdict`.
    """

    target: Target
    plan: Plan
    source: ir.Model
    converted: Converted | None
    pipeline: Pipeline
    model: ir.Model
    usage: Usage
    verdict: Verdict

    def report(self, profile: Profile, needed: Usage) -> Report:
        """Say where memory and time go, given the best figure known of what it needs."""
        return report.of(
            self.model,
            self.target.machine(profile, self.plan),
            self.target.sharing,
            offload=self.target.offload(self.model, profile, self.plan),
            needed=int(needed.memory.value),
            levers=self.target.levers,
        )

    def in_float(self) -> dict[str, str]:
        """Return the nodes that stay in float in a plan of fewer bits, and why."""
        kept = dict(self.target.in_float(self.model))
        if self.converted is not None:
            kept |= self.converted.in_float
        return kept

    def dense(self) -> dict[str, str]:
        """Return the nodes whose weights stay dense in a plan of sparse ones, and why."""
        return {} if self.converted is None else self.converted.dense

    def placement(self, profile: Profile) -> Placement | None:
        """Say where each operator runs, on a device with several places for them."""
        return self.target.placement(self.model, profile, self.plan)

    def placement_json(self, profile: Profile) -> dict[str, Any]:
        """Return the entry ``placement`` of a report; none on a device with one place."""
        found = self.placement(profile)
        return {} if found is None else {"placement": found.to_json()}

    def explain_memory(self, limit: int, needed: Usage) -> MemoryReport:
        """Say why the model needs more memory than `limit`, and what would help."""
        return report.explain_memory(
            self.model,
            limit,
            self.target.sharing,
            needed=int(needed.memory.value),
            levers=self.target.levers,
        )


def plans(
    profile: Profile,
    precision: Precision,
    runtime: str | None,
    io: Io = "auto",
    options: Mapping[str, str] | None = None,
) -> Sequence[tuple[Target, Plan]]:
    """Return the plans that a device offers, in the order of its runtimes.

    Args:
        options: values that options of the plan must have, as text.

    Raises:
        UsageError: `runtime` is none of the device's; integers at the border of a network in float;
            no plan has the options.
        MissingToolError: the toolchain of no runtime that offers a plan is installed.
        ModelError: no runtime offers the precision, or the inputs and outputs; `runtime` says why
            it is none of the device's.
    """
    if io == "int8" and precision not in ("auto", "int8"):
        raise UsageError(
            f"a network in {precision} has no int8 inputs and outputs",
            [Problem("--io int8", "needs --precision int8")],
        )
    offered = [item.name for item in profile.runtimes]
    if runtime is not None and runtime not in offered:
        raise _not_carried(profile, precision, runtime, offered)
    asked = [runtime] if runtime else offered
    found = [
        (target, plan)
        for name in asked
        for target in [target_for(name)]
        for plan in target.plans(profile, precision)
        if plan.runtime == name
    ]
    if not found:
        raise ModelError(
            f"no runtime of {profile.name} can be built in {precision}",
            [problem for name in asked for problem in _without(name, profile, precision)],
        )
    with_io = [(target, target.with_io(profile, plan, io)) for target, plan in found]
    wanted = [(target, plan) for target, plan in with_io if plan is not None]
    if not wanted:
        names = dict.fromkeys(plan.runtime for _, plan in found)
        raise ModelError(
            f"no runtime of {profile.name} can be built with {io} inputs and outputs",
            [Problem(name, f"has no {io} inputs and outputs", "leave out --io") for name in names],
        )
    wanted = _with_options(wanted, options or {}, profile)
    missing = _missing(wanted)
    left = [(target, plan) for target, plan in wanted if target not in missing]
    if not left:
        raise next(iter(missing.values()))
    return left


def _not_carried(
    profile: Profile, precision: Precision, runtime: str, offered: Sequence[str]
) -> TapeoutError:
    """Return the error for a runtime that is none of a device's, with the runtime's own reasons."""
    summary = f"{profile.name} cannot carry the runtime {runtime!r}; it carries: "
    target = targets().get(runtime)
    reasons = [] if target is None else target.refusals(profile, precision)
    return (ModelError if reasons else UsageError)(summary + ", ".join(offered), reasons)


def _with_options(
    found: Sequence[tuple[Target, Plan]], options: Mapping[str, str], profile: Profile
) -> list[tuple[Target, Plan]]:
    """Return the plans that have all `options`; raises UsageError naming those that there are.

    Some plans are made only where their options are asked for: see `Plan.on_request`.
    """
    given = [{name: str(value) for name, value in plan.options} for _, plan in found]
    kept = [
        (target, plan)
        for (target, plan), has in zip(found, given, strict=True)
        if options.items() <= has.items() and plan.on_request <= options.keys()
    ]
    if not kept:
        known: dict[str, dict[str, None]] = {}
        for has in given:
            for name, value in has.items():
                known.setdefault(name, {})[value] = None
        asked = ", ".join(f"{name}={value}" for name, value in options.items())
        there = [Problem("", f"{name}: {', '.join(values)}") for name, values in known.items()]
        raise UsageError(f"no plan for {profile.name} has {asked}; there are", there)
    return kept


def not_tried(profile: Profile, precision: Precision, runtime: str | None) -> list[Problem]:
    """Return which runtimes' plans `plans` leaves out, for want of what packages."""
    if runtime is not None:
        return []
    offered = [target_for(item.name) for item in profile.runtimes]
    found = [(target, plan) for target in offered for plan in target.plans(profile, precision)]
    return [
        dataclasses.replace(problem, where=f"{', '.join(target.runtimes)}: {problem.where}")
        for target, error in _missing(found).items()
        for problem in error.problems
    ]


def _missing(found: Sequence[tuple[Target, Plan]]) -> dict[Target, MissingToolError]:
    missing: dict[Target, MissingToolError] = {}
    for target in dict.fromkeys(target for target, _ in found):
        try:
            target.require()
        except MissingToolError as error:
            missing[target] = error
    return missing


#: The precisions of a network that is quantized already: its own numbers are these integers.
_SETTLED: Final = ("fp32", "int8")


#: What lets integers in and out; of networks that are quantized to uint8, too.
_BORDERS: Final = Pipeline((SignQuantization(), IntegerBorders()))


@dataclasses.dataclass(frozen=True)
class _Lowered:
    """A model as a plan has it; see `Candidate`."""

    source: ir.Model
    converted: Converted | None
    pipeline: Pipeline
    model: ir.Model


class _Lowering:
    """Lowers one imported model for plans; those of equal numbers and passes share the result."""

    def __init__(
        self,
        model: ir.Model,
        profile: Profile,
        converter: Converter,
        verify: Check | None,
        family: Family | None,
    ) -> None:
        self._model = model
        self._profile = profile
        self._converter = converter
        self._verify = verify
        self._family = family
        self._quantized = is_quantized(model)
        self._known: dict[tuple[str | None, str], _Lowered] = {}

    def scheme(self, target: Target, plan: Plan) -> str | None:
        """Return the scheme that the model must be converted to; None if it has its numbers."""
        if self._quantized and plan.precision in _SETTLED and not plan.sparsity:
            return None
        return target.scheme(self._profile, plan)

    def of(self, target: Target, plan: Plan, scheme: str | None) -> _Lowered:
        """Return the model for a plan; raises as `Converter.to` and the passes do."""
        borders = _BORDERS if plan.has_integer_borders else Pipeline(())
        own = target.pipeline(self._profile, plan)
        way = (scheme, str(borders + own))
        if way not in self._known:
            converted = self._converted(target, plan, scheme) if scheme is not None else None
            source = self._model if converted is None else converted.outcome.model
            if borders.passes:
                source = borders.run(source.clone(), self._verify)
            pipeline = borders + own if converted is None else converted.pipeline + borders + own
            model = own.run(source.clone(), self._verify)
            if self._family is not None:
                to_source = borders if converted is None else converted.pipeline + borders
                attach(model, self._generalized(self._family, to_source, own))
            self._known[way] = _Lowered(source, converted, pipeline, model)
        return self._known[way]

    def _converted(self, target: Target, plan: Plan, scheme: str) -> Converted:
        """Convert the model, which takes long: only if the target takes all of its operators."""
        if problems := target.untaken(self._profile, lambda: self.of(target, plan, None).model):
            raise ModelError(f"{plan.runtime} does not take all operators", problems)
        return self._converter.to(scheme)

    def _generalized(self, family: Family, to_source: Pipeline, own: Pipeline) -> Dynamic:
        """Return what stands for the lowered model at all shapes: the same passes at others."""

        def source(shapes: Shapes) -> ir.Model:
            return to_source.run(family.at(shapes), self._verify)

        found = generalize(lambda shapes: own.run(source(shapes), self._verify), family.ranges)
        return dataclasses.replace(found, source=source)


def candidates(
    model: ir.Model,
    profile: Profile,
    budget: Budget,
    converter: Converter,
    precision: Precision = "auto",
    runtime: str | None = None,
    verify: Check | None = None,
    io: Io = "auto",
    options: Mapping[str, str] | None = None,
    family: Family | None = None,
) -> list[Candidate]:
    """Lower the imported `model` for every plan; those whose estimate fits the budget come first.

    Of these the device's preferred numbers (on a GPU its preferred runtime, too), then the fewest
    threads, then the least latency: more bits are given up, and more cores taken, only where the
    budget asks for it.

    With ``auto``, a plan in fewer bits is only a candidate if there are samples to calibrate with:
    nobody's accuracy is put at stake unasked, unless all plans that there are do.

    Args:
        model: the imported model; it is left as it is.
        converter: of this model.
        verify: the dialect check to run after every pass, if any.
        options: as `plans` takes them.
        family: the model at other shapes, where the engine has to serve a range of them.

    Raises:
        UsageError, MissingToolError: as `plans` does; the precision needs samples.
        BudgetError: no plan keeps the accuracy, or fits in another way that its target knows.
        ModelError: no plan takes the model; every reason of every plan is listed.
    """
    found: list[Candidate] = []
    refused: list[Problem] = []
    unaffordable: list[BudgetError] = []
    offered = plans(profile, precision, runtime, io, options)
    several = len({(plan.runtime, plan.precision) for _, plan in offered}) > 1
    lowering = _Lowering(model, profile, converter, verify, family)
    schemes = [lowering.scheme(target, plan) for target, plan in offered]
    spared = precision == "auto" and None in schemes and not converter.batches
    for (target, plan), scheme in zip(offered, schemes, strict=True):
        if scheme is not None and spared:
            continue
        if family is not None and not target.dynamic:
            refused.append(_single_shapes_only(plan))
            continue
        try:
            lowered = lowering.of(target, plan, scheme)
        except ModelError as error:
            refused += [_of_plan(problem, plan) for problem in _all_of(error)]
            continue
        except BudgetError as error:
            unaffordable.append(error)
            continue
        problems = target.check(lowered.model, profile, plan)
        if problems:
            refused += [_of_plan(problem, plan) if several else problem for problem in problems]
            continue
        try:
            plan = target.settled(lowered.model, profile, plan, budget)
        except BudgetError as error:
            unaffordable.append(error)
            continue
        usage = target.estimate(lowered.model, profile, plan)
        verdict = Verdict.of(usage, budget)
        found.append(
            Candidate(
                target,
                plan,
                lowered.source,
                lowered.converted,
                lowered.pipeline,
                lowered.model,
                usage,
                verdict,
            )
        )
    refused = list(dict.fromkeys(refused))  # plans of other threads say the same
    if not found and unaffordable:
        raise BudgetError(unaffordable[0].summary, [*unaffordable[0].problems, *refused])
    if not found:
        raise ModelError(f"the model cannot be compiled for {profile.name}", refused)
    preferred = list(dict.fromkeys(plan.precision for _, plan in offered))
    runtimes = [item.name for item in profile.runtimes] if profile.gpu is not None else []
    return sorted(found, key=lambda candidate: _rank(candidate, preferred, runtimes))


def _rank(
    candidate: Candidate, preferred: Sequence[str], runtimes: Sequence[str]
) -> tuple[float, ...]:
    """Return what sorts candidates, the best first.

    Args:
        runtimes: in the device's order, where that counts more than an estimate: on GPUs, whose
            runtimes compute alike, but are not all compiled for.
    """
    plan, latency = candidate.plan, candidate.usage.latency
    return (
        len(candidate.verdict.missed),
        preferred.index(plan.precision),
        runtimes.index(plan.runtime) if runtimes else 0,
        plan.threads,
        latency.value if latency is not None else math.inf,
    )


def rivals(found: Sequence[Candidate]) -> list[list[Candidate]]:
    """Group ranked plans that differ in nothing but how fast they are estimated to be."""

    def numbers(candidate: Candidate) -> tuple[int, str, int]:
        return len(candidate.verdict.missed), candidate.plan.precision, candidate.plan.threads

    return [list(group) for _, group in itertools.groupby(found, numbers)]


def _without(runtime: str, profile: Profile, precision: Precision) -> list[Problem]:
    target = target_for(runtime)
    if found := target.refusals(profile, precision):
        return found
    what = f"offers no {precision} plan{': ' if target.only else ''}{target.only}"
    return [Problem(runtime, what, "try --precision auto")]


def _single_shapes_only(plan: Plan) -> Problem:
    return Problem(
        plan.runtime,
        "takes no ranges of shapes: its engines serve one",
        "give one shape, --shape INPUT=1x3x224x224, or a --runtime that takes ranges",
    )


def _of_plan(problem: Problem, plan: Plan) -> Problem:
    ahead = f"{plan.runtime}, {plan.precision}"
    where = f"{ahead}: {problem.where}" if problem.where else ahead
    return dataclasses.replace(problem, where=where)


def _all_of(error: TapeoutError) -> list[Problem]:
    """Return an error's problems, the first of them with what the error says."""
    return [Problem("", error.summary), *error.problems]
