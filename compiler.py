"""The whole way, on one page: a model, a device and a budget in; a bundle out.

import -> lower for every plan -> estimate -> build -> run, measure -> verdict
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import shutil
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from . import bundle as bundles
from . import numerics, planner
from .budget import Budget, Figure, Usage, Verdict
from .bundle import (
    Bundle,
    ConversionRecord,
    Device,
    Manifest,
    ModelFile,
    PlanRecord,
    Quantization,
    Runtime,
    Tensor,
)
from .data import Data, match_inputs, pieces, read_data
from .errors import BudgetError, Problem, UsageError
from .lowering import dialect
from .lowering.importers.onnx import load
from .lowering.quantized import meaning_of
from .lowering.reference import Reference
from .planner import Candidate, candidates
from .profiles import catalog
from .profiles.schema import Profile
from .quantizer import Converter
from .targets.base import Arrays, Built, Execution, Io, Precision, Progress
from .version import VERSION

_TIMED_RUNS = 30


@dataclasses.dataclass(frozen=True)
class Options:
    """How to compile, the budget apart.

    Attributes:
        runtime: one of the device's runtimes; None lets the planner choose.
        shapes: static input shapes, by input name.
        calibration: ``FILE.npz[:KEY]`` of inputs, for a precision in fewer bits; the first samples
            become the test vectors.
        evaluation: ``FILE.npz[:KEY]`` of inputs and labels, for the accuracy.
        verify_passes: check the dialect's rules after every pass.
        io: whether real inputs and outputs are int8, with scale and zero point, or float.
        plan: values that options of the plan must have: ``{"delegate": "gpu"}``.
    """

    precision: Precision = "auto"
    runtime: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    calibration: str | None = None
    evaluation: str | None = None
    verify_passes: bool = False
    io: Io = "auto"
    plan: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Job:
    """One imported model on its way to one device."""

    file: ModelFile
    model: ir.Model
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profile: Profile
    budget: Budget
    options: Options
    samples: Data | None
    labelled: Data | None
    progress: Progress


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A bundle, and what was measured on the way: no bundle holds a measured time.

    Attributes:
        not_tried: runtimes of the device whose packages are not installed.
    """

    bundle: Bundle
    usage: Usage
    verdict: Verdict
    not_tried: tuple[Problem, ...] = ()


def compile(  # noqa: A001 - the public name, as in re.compile
    model: str | Path,
    device: str,
    output: str | Path,
    budget: Budget | None = None,
    options: Options | None = None,
    *,
    force: bool = False,
) -> Bundle:
    """Compile a model for a device into a bundle at `output`.

    Args:
        model: an ``.onnx`` file.
        device: a name of the catalogue, or a profile's YAML file.
        output: a directory, or a name ending in ``.tar`` for an archive.
        budget: what the result may cost; lines that are not set come from the profile.
        force: replace a bundle that is there already.

    Raises:
        TapeoutError: the subclass says which exit code the command line would give.
    """
    job = prepare(model, device, budget or Budget(), options or Options())
    return build(job, Path(output), force=force).bundle


def prepare(
    model: str | Path,
    device: str,
    budget: Budget,
    options: Options,
    progress: Progress = lambda _: None,
) -> Job:
    """Read profile, model and data; raises ProfileError, ModelError or UsageError."""
    profile = catalog.load(device)
    path = Path(model)
    progress(f"importing {path.name}")
    imported = load(path, options.shapes)
    inputs = tuple(map(_described, imported.graph.inputs))
    given = options.calibration
    samples = read_data(given, inputs, labelled=False) if given else None
    labelled = read_data(options.evaluation, inputs) if options.evaluation else None
    if budget.accuracy_drop is not None and (labelled is None or labelled.labels is None):
        raise UsageError("an accuracy budget needs data with labels: give --eval FILE.npz")
    return Job(
        file=ModelFile(
            file=path.name,
            sha256=_sha256(path),
            opset=int(imported.metadata_props[dialect.SOURCE_OPSET]),
        ),
        model=imported,
        inputs=inputs,
        outputs=tuple(map(_described, imported.graph.outputs)),
        profile=profile,
        budget=budget.or_default(Budget(**profile.budget.model_dump())),
        options=options,
        samples=samples,
        labelled=labelled,
        progress=progress,
    )


def plan(job: Job) -> list[Candidate]:
    """Return the candidate plans, those whose estimate fits first; builds nothing.

    Raises:
        ModelError: no plan takes the model: every reason of every node is listed.
        MissingToolError: the toolchain of a runtime is not installed.
    """
    job.progress(f"planning for {job.profile.name}")
    options = job.options
    verify = dialect.check if options.verify_passes else None
    converter = Converter(
        job.model,
        job.inputs,
        job.samples,
        job.labelled,
        job.budget.accuracy_drop,
        progress=job.progress,
    )
    return candidates(
        job.model,
        job.profile,
        job.budget,
        converter,
        options.precision,
        options.runtime,
        verify,
        options.io,
        options.plan,
    )


def check(job: Job) -> list[Candidate]:
    """Return the plans whose estimate fits the budget; raises as `plan`, and BudgetError."""
    found = plan(job)
    fitting = [candidate for candidate in found if candidate.verdict.fits]
    if not fitting:
        raise _nothing_fits(job, [(item, item.usage, item.verdict) for item in found])
    return fitting


def not_tried(job: Job) -> list[Problem]:
    """Return the runtimes of the device that no plan was made for, and the packages they lack."""
    return planner.not_tried(job.profile, job.options.precision, job.options.runtime)


def build(job: Job, output: Path, *, force: bool = False) -> Compiled:
    """Build the best plan that fits into `output`; raises as `compile` does."""
    with bundles.staged(output, force) as directory:
        compiled = _best(job, directory)
    return dataclasses.replace(
        compiled,
        bundle=dataclasses.replace(compiled.bundle, directory=output),
        not_tried=tuple(not_tried(job)),
    )


def _best(job: Job, directory: Path) -> Compiled:
    """Leave in `directory` the first plan that fits.

    Of plans that differ in nothing but their speed, all are built and measured where the device is
    this machine, and the fastest one is taken.
    """
    measures = job.profile.name == catalog.HOST
    missed: list[tuple[Candidate, Usage, Verdict]] = []
    reference = Reference(job.model)
    for rivals in planner.rivals(plan(job)):
        fitting: list[Compiled] = []
        for number, candidate in enumerate(rivals):
            if any(line.used and line.used.known == "exact" for line in candidate.verdict.missed):
                missed.append((candidate, candidate.usage, candidate.verdict))
                continue
            folder = directory / str(number)
            folder.mkdir()
            compiled = _Attempt(job, candidate, folder, reference).compiled()
            if not compiled.verdict.fits:
                missed.append((candidate, compiled.usage, compiled.verdict))
                shutil.rmtree(folder)
                continue
            fitting.append(compiled)
            if not measures:
                break
        if fitting:
            fastest = min(
                fitting,
                key=lambda item: item.usage.latency.value if item.usage.latency else math.inf,
            )
            _keep(directory, fastest.bundle.directory)
            return fastest
    raise _nothing_fits(job, missed)


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """One plan, built into a directory, run if it can run here, and held to the budget."""

    job: Job
    candidate: Candidate
    directory: Path
    reference: Reference

    @functools.cached_property
    def vectors(self) -> numerics.Vectors:
        """Inputs of the user, or random ones, and what the model in the plan's numbers gives."""
        source = self.candidate.source
        computed = self.reference if source is self.job.model else Reference(source)
        data = self.job.samples or self.job.labelled
        return numerics.make_vectors(computed, self.inputs, self._given(data) if data else None)

    @functools.cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the engine takes."""
        return tuple(map(_described, self.candidate.source.graph.inputs))

    @functools.cached_property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the engine gives."""
        return tuple(map(_described, self.candidate.source.graph.outputs))

    def _given(self, data: Data) -> dict[str, np.ndarray]:
        """Return data of the model as data of the engine."""
        return match_inputs(data.feeds, self.inputs, "the data")

    def compiled(self) -> Compiled:
        job, target, plan = self.job, self.candidate.target, self.candidate.plan
        built = target.build(self.candidate.model, job.profile, plan, self.directory, job.progress)
        self.vectors.save(self.directory / bundles.VECTORS)
        usage = built.usage
        if built.status == "compiled" and target.cannot_run(job.profile) is None:
            # The engine finds its signature in the manifest, so a first one is written to run it.
            bundles.write_manifest(self.directory, self._manifest(built, usage, Verdict(())))
            usage = self._accuracy(self._latency(usage), lambda feeds: self._execute(feeds).outputs)
        else:
            usage = self._simulated(usage)
        verdict = Verdict.of(usage, job.budget)
        bundle = bundles.write_manifest(self.directory, self._manifest(built, usage, verdict))
        return Compiled(bundle, usage, verdict)

    def _execute(self, feeds: Mapping[str, np.ndarray], repeat: int = 0) -> Execution:
        return self.candidate.target.execute(self.directory, self.job.profile, feeds, repeat)

    def _latency(self, usage: Usage) -> Usage:
        """Run the test vectors, whose outputs must be the reference's; time counts on the host."""
        self.job.progress("running the test vectors")
        here = self.job.profile.name == catalog.HOST
        execution = self._execute(self.vectors.inputs, _TIMED_RUNS if here else 0)
        self._require_expected(execution.outputs)
        if not here:
            return usage
        note = f"median of {len(execution.latencies)} runs on this machine"
        latency = Figure(statistics.median(execution.latencies), "s", "measured", note)
        return dataclasses.replace(usage, latency=latency)

    def _require_expected(self, outputs: Arrays) -> None:
        expected, tolerance = self.vectors.expected, self._tolerance()
        numerics.require_equal(outputs, expected, tolerance, self.outputs)

    def _simulated(self, usage: Usage) -> Usage:
        """Hold to the reference what the engine was made from, if that runs here.

        The test vectors then expect the engine's very bits.
        """
        candidate = self.candidate
        found = candidate.target.simulator(candidate.model, self.job.profile, candidate.plan)
        if found is None:
            return self._expected_accuracy(usage)
        self.job.progress("simulating the test vectors")
        inputs = self.vectors.inputs
        self._require_expected(found.check(inputs))
        numerics.Vectors(inputs, dict(found.run(inputs))).save(self.directory / bundles.VECTORS)
        return self._accuracy(usage, found.run)

    def _accuracy(self, usage: Usage, run: Callable[[Arrays], Arrays]) -> Usage:
        """Measure the loss of accuracy on labelled data, if there is any."""
        labelled = self.job.labelled
        if labelled is None or labelled.labels is None:
            return usage
        self.job.progress("measuring the accuracy")
        outputs = run(self._given(labelled))
        cut = pieces(labelled.feeds, self.job.inputs)
        expected = numerics.top1(numerics.run_reference(self.reference, cut), labelled.labels)
        reached = numerics.top1(outputs, labelled.labels)
        note = f"top-1 {reached} against the reference's {expected}"
        drop = Figure(expected.share - reached.share, "fraction", "measured", note)
        return dataclasses.replace(usage, accuracy_drop=drop)

    def _expected_accuracy(self, usage: Usage) -> Usage:
        """Take the loss that the conversion was held to, where the engine cannot run here."""
        converted = self.candidate.converted
        if converted is None or converted.outcome.drop is None:
            return usage
        note = "of the converted model in ONNX Runtime"
        drop = Figure(converted.outcome.drop, "fraction", "estimated", note)
        return dataclasses.replace(usage, accuracy_drop=drop)

    def _tolerance(self) -> float:
        return numerics.TOLERANCES[self.candidate.plan.precision]

    def _conversion(self) -> ConversionRecord | None:
        """Say how the model came to fewer bits, if it did, and what is in float even so."""
        converted = self.candidate.converted
        kept = self.candidate.target.in_float(self.candidate.model)
        if converted is None:
            return ConversionRecord(scheme="", kept=dict(kept)) if kept else None
        found = converted.conversion
        return ConversionRecord(
            scheme=found.scheme.name, kept={**kept, **found.fixed, **converted.outcome.kept}
        )

    def _manifest(self, built: Built, usage: Usage, verdict: Verdict) -> Manifest:
        """Describe the directory; a measured latency is left out, so that bytes repeat."""
        job, profile, plan = self.job, self.job.profile, self.candidate.plan
        lasting = dataclasses.replace(usage, latency=built.usage.latency)
        version = next(item.version for item in profile.runtimes if item.name == plan.runtime)
        return Manifest(
            tapeout=VERSION,
            status=built.status,
            model=job.file,
            device=Device(name=profile.name, digest=profile.digest, profile=profile.to_json()),
            runtime=Runtime(name=plan.runtime, version=version),
            plan=PlanRecord(
                runtime=plan.runtime, precision=plan.precision, options=dict(plan.options)
            ),
            passes=str(self.candidate.pipeline),
            usage=lasting.to_json(),
            budget=job.budget.to_json(),
            verdict=verdict.to_json(),
            conversion=self._conversion(),
            tolerance=self._tolerance(),
            inputs=self.inputs,
            outputs=self.outputs,
            engine=built.engine,
            artifacts=bundles.describe_files(self.directory),
            toolchain=dict(sorted(built.toolchain.items())),
            report={
                **self.candidate.report(profile, built.usage).to_json(),
                **self.candidate.placement_json(profile),
            },
        )


def _described(value: ir.Value) -> Tensor:
    """Describe an input or output of a model, with what its integers stand for."""
    found = meaning_of(value)
    if found is None or not found.is_narrow:
        return Tensor.of(value)
    meaning = Quantization(scale=(float(found.scale),), zero_point=(int(found.zero),))
    return Tensor.of(value).model_copy(update={"quantization": meaning})


def _nothing_fits(job: Job, missed: list[tuple[Candidate, Usage, Verdict]]) -> BudgetError:
    """Say what each plan lacks, and for memory where the peak of the closest one is."""
    lacks: dict[tuple[str, str, str], Problem] = {}  # more threads do not free memory
    for candidate, _, verdict in missed:
        plan, lack = candidate.plan, "; ".join(map(str, verdict.missed))
        lacks.setdefault((plan.runtime, plan.precision, lack), Problem(str(plan), lack))
    problems = list(lacks.values())
    if job.options.precision == "auto" and job.samples is None:
        fix = "give --calibration FILE.npz with real inputs"
        problems.append(Problem("", "fewer bits were not tried without samples", fix))
    problems += not_tried(job)
    for candidate, usage, _ in missed[:1]:
        limit = job.budget.memory
        if limit is not None and usage.memory.value > limit:
            explained = candidate.explain_memory(limit, usage)
            problems += [Problem("", line) for line in explained.lines()]
    return BudgetError(f"no plan fits the budget on {job.profile.name}", problems)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _keep(directory: Path, chosen: Path) -> None:
    """Put a folder's content in the place of everything in `directory`."""
    aside = directory.with_name("chosen")
    chosen.rename(aside)
    shutil.rmtree(directory)
    aside.rename(directory)
