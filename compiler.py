"""The whole way, on one page: a model, a device and a budget in; a bundle out.

import -> lower for every plan -> estimate -> build -> run, measure -> verdict
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

from . import bundle as bundles
from . import planner
from .attempt import Attempt, Compiled
from .budget import Budget, Usage, Verdict
from .bundle import Bundle, ModelFile
from .contest import fastest
from .data import read_data
from .errors import BudgetError, Problem, UsageError, VerificationError
from .job import Job, Options, described
from .lowering import dialect
from .lowering.dynamic.family import family_of
from .lowering.dynamic.ranges import Ranges, singles
from .lowering.importers.onnx import load
from .lowering.reference import Reference
from .planner import Candidate, candidates
from .profiles import catalog
from .profiles.schema import Profile
from .quantizer import Converter
from .shape_budget import Room
from .targets.base import Progress
from .targets.tuning import Tuning

__all__ = [
    "Compiled", "Job", "Options", "build", "check", "compile", "not_tried", "plan", "prepare",
]  # fmt: skip


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
    """Read profile, model and data; raises ProfileError, ModelError or UsageError.

    Where optimization profiles may be dropped, this plans; it raises as `plan` does then.
    """
    profile = catalog.load(device)
    path = Path(model)
    progress(f"importing {path.name}")
    family = family_of(path, options.shapes)
    imported = family.at(family.ranges.base) if family else load(path, singles(options.shapes))
    inputs = tuple(map(described, imported.graph.inputs))
    given = options.calibration
    samples = read_data(given, inputs, labelled=False) if given else None
    labelled = read_data(options.evaluation, inputs) if options.evaluation else None
    if budget.accuracy_drop is not None and (labelled is None or labelled.labels is None):
        raise UsageError("an accuracy budget needs data with labels: give --eval FILE.npz")
    job = Job(
        file=ModelFile(
            file=path.name,
            sha256=_sha256(path),
            opset=int(imported.metadata_props[dialect.SOURCE_OPSET]),
        ),
        model=imported,
        inputs=inputs,
        outputs=tuple(map(described, imported.graph.outputs)),
        profile=profile,
        budget=budget.or_default(Budget(**profile.budget.model_dump())).within(profile.capacity),
        options=options,
        samples=samples,
        labelled=labelled,
        progress=progress,
        family=family,
    )
    if not options.drop_profiles or (found := _choice(job)) is None:
        return job
    ranges, out = found
    shapes = {name: [item[name] for item in ranges.profiles] for name in ranges.inputs}
    fewer = dataclasses.replace(options, shapes=shapes, drop_profiles=False)
    job = prepare(model, device, budget, fewer, progress)
    return dataclasses.replace(job, left_out=tuple(out))


def _choice(job: Job) -> tuple[Ranges, list[Problem]] | None:
    """Return the optimization profiles to keep, and the others; None if all fit, or none does."""
    limit, family = job.budget.memory, job.family
    if limit is None or family is None or len(family.ranges.profiles) == 1:
        return None
    found = plan(job)
    if any(candidate.verdict.fits for candidate in found):
        return None
    return Room(found[0], job.profile, limit, job.progress).choice()


def plan(job: Job) -> list[Candidate]:
    """Return the candidate plans, those whose estimate fits first; builds nothing.

    Raises:
        ModelError: no plan takes the model: every reason of every node is listed.
        MissingToolError: the toolchain of a runtime is not installed.
        UsageError: what is to be tuned cannot be.
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
    found = candidates(
        job.model,
        job.profile,
        job.budget,
        converter,
        options.precision,
        options.runtime,
        verify,
        options.io,
        options.plan,
        job.family,
    )
    return _tuned(job.profile, found, options.tuning) if options.tuning else found


def _tuned(profile: Profile, found: list[Candidate], tuning: Tuning) -> list[Candidate]:
    """Return candidates whose engines are tuned where that can be.

    Raises:
        UsageError: it can be of none; or as `Target.tuned` does.
    """
    tuned = {target: target.tuned(profile, tuning) for target in {item.target for item in found}}
    if not any(tuned.values()):
        names = ", ".join(dict.fromkeys(item.plan.runtime for item in found))
        raise UsageError(
            "there is nothing to tune",
            [
                Problem(
                    names,
                    "its kernels are its own",
                    "leave out --tune and --tuning, or try --runtime tvm",
                )
            ],
        )
    return [dataclasses.replace(item, target=tuned[item.target] or item.target) for item in found]


def check(job: Job) -> list[Candidate]:
    """Return the plans whose estimate fits the budget; raises as `plan`, and BudgetError."""
    found = plan(job)
    fitting = [candidate for candidate in found if candidate.verdict.fits]
    if not fitting:
        raise _nothing_fits(job, [(item, item.usage, item.verdict) for item in found])
    return fitting


def not_tried(job: Job) -> list[Problem]:
    """Return the runtimes of the device that no plan was made for, and the packages they lack.

    And the optimization profiles that were dropped.
    """
    return [
        *job.left_out,
        *planner.not_tried(job.profile, job.options.precision, job.options.runtime),
    ]


def build(job: Job, output: Path, *, force: bool = False) -> Compiled:
    """Build the best plan that fits into `output`; raises as `compile` does."""
    with bundles.staged(output, force) as directory:
        compiled = _best(job, directory)
    left_out = [*compiled.not_tried, *not_tried(job)]
    if job.options.tuning and "tuning" not in compiled.bundle.manifest.report:
        left_out.append(
            Problem("tuning", "the faster runtime has no such kernels", "--runtime tvm")
        )
    return dataclasses.replace(
        compiled,
        bundle=dataclasses.replace(compiled.bundle, directory=output),
        not_tried=tuple(left_out),
    )


def _best(job: Job, directory: Path) -> Compiled:
    """Leave in `directory` the first plan that fits.

    Of plans that differ in nothing but their speed, all are built and measured where the device is
    this machine, and the fastest one is taken. One that computes something else is left out where
    another does not.
    """
    measures = job.profile.name == catalog.HOST
    missed: list[tuple[Candidate, Usage, Verdict]] = []
    reference = Reference(job.model)
    for rivals in planner.rivals(plan(job)):
        fitting: list[tuple[Attempt, Compiled]] = []
        wrong: dict[str, VerificationError] = {}
        for number, candidate in enumerate(rivals):
            if any(line.used and line.used.known == "exact" for line in candidate.verdict.missed):
                missed.append((candidate, candidate.usage, candidate.verdict))
                continue
            folder = directory / str(number)
            folder.mkdir()
            attempt = Attempt(job, candidate, folder, reference)
            try:
                compiled = attempt.compiled()
            except VerificationError as error:
                wrong[str(candidate.plan)] = error
                shutil.rmtree(folder)
                continue
            if not compiled.verdict.fits:
                missed.append((candidate, compiled.usage, compiled.verdict))
                shutil.rmtree(folder)
                continue
            fitting.append((attempt, compiled))
            if not measures:
                break
        if fitting:
            chosen = fastest(fitting)
            _keep(directory, chosen.bundle.directory)
            said = tuple(_left_out(plan, error) for plan, error in wrong.items())
            return dataclasses.replace(chosen, not_tried=said)
        if wrong:
            raise next(iter(wrong.values()))
    raise _nothing_fits(job, missed)


def _left_out(plan: str, error: VerificationError) -> Problem:
    return Problem(plan, "; ".join([error.summary, *map(str, error.problems)]))


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
        if limit is None or usage.memory.value <= limit:
            continue
        room = Room(candidate, job.profile, limit, job.progress).problems()
        if not room:
            explained = candidate.explain_memory(limit, usage)
            room = [Problem("", line) for line in explained.lines()]
        problems += room
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
