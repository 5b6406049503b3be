"""One plan carried out: built, run where that is possible, held to the reference and the budget."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from . import bundle as bundles
from . import numerics
from .budget import Figure, Known, Usage, Verdict
from .bundle import Bundle, ConversionRecord, Device, Manifest, PlanRecord, Runtime, Tensor
from .data import Data, match_inputs, pieces, stack
from .errors import Problem
from .job import Job, described
from .lowering.reference import Reference
from .planner import Candidate
from .profiles import catalog
from .shapes import require_every_shape, shapes_record
from .targets.base import Arrays, Built, Execution, Simulator
from .version import VERSION

_TIMED_RUNS: Final = 30

#: How many of the user's samples a proof is led on.
_PROVEN: Final = 24

#: What accuracy is of, where an engine cannot run here.
_OF_NETWORK: Final = ", of the network that the builder was given, in ONNX Runtime"


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A bundle, and what was measured on the way: no bundle holds a measured time.

    Attributes:
        not_tried: runtimes of the device whose packages are not installed, and plans whose engines
            compute something else.
    """

    bundle: Bundle
    usage: Usage
    verdict: Verdict
    not_tried: tuple[Problem, ...] = ()


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One plan, built into a directory, run if it can run here, and held to the budget."""

    job: Job
    candidate: Candidate
    directory: Path
    reference: Reference

    @functools.cached_property
    def vectors(self) -> numerics.Vectors:
        """Inputs of the user, or random ones, and what the engine gives.

        That is what the model in the plan's numbers does or, where there is a simulator, its very
        bits, once it was held to that.
        """
        source = self.candidate.source
        computed = self.reference if source is self.job.model else Reference(source)
        data = self.job.samples or self.job.labelled
        found = numerics.make_vectors(computed, self.inputs, self._given(data) if data else None)
        if self._simulator is None:
            return found
        self.job.progress("simulating the test vectors")
        checked = self._simulator.check(found.inputs)
        numerics.require_equal(checked, found.expected, self._tolerance(), self.outputs)
        return numerics.Vectors(found.inputs, dict(self._simulator.run(found.inputs)))

    @functools.cached_property
    def _simulator(self) -> Simulator | None:
        candidate = self.candidate
        return candidate.target.simulator(candidate.model, self.job.profile, candidate.plan)

    @functools.cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the engine takes."""
        return tuple(map(described, self.candidate.source.graph.inputs))

    @functools.cached_property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the engine gives."""
        return tuple(map(described, self.candidate.source.graph.outputs))

    def _given(self, data: Data) -> dict[str, np.ndarray]:
        """Return data of the model as data of the engine."""
        return match_inputs(data.feeds, self.inputs, "the data")

    def compiled(self) -> Compiled:
        job, target, plan = self.job, self.candidate.target, self.candidate.plan
        model, profile = self.candidate.model, job.profile
        vectors = self.vectors  # before it takes long to build what would be refused
        proof = target.proof(model, profile, plan, self._samples, job.progress)
        built = target.build(model, profile, plan, self.directory, job.progress)
        vectors.save(self.directory / bundles.VECTORS)
        usage, report = built.usage, {**self._report(built), **proof}
        if built.status == "compiled" and target.cannot_run(job.profile) is None:
            # The engine finds its signature in the manifest, so a first one is written to run it.
            bundles.write_manifest(
                self.directory, self._manifest(built, report, usage, Verdict(()))
            )
            usage = self._accuracy(self._latency(usage), lambda feeds: self._execute(feeds).outputs)
        else:
            usage = self._simulated(usage)
        require_every_shape(self.candidate.model, self._tolerance(), job.progress)
        verdict = Verdict.of(usage, job.budget)
        bundle = bundles.write_manifest(
            self.directory, self._manifest(built, report, usage, verdict)
        )
        return Compiled(bundle, usage, verdict)

    def _samples(self) -> Arrays:
        """Return what a proof is led on: the user's first samples, or the test vectors."""
        data = self.job.samples or self.job.labelled
        if data is None:
            return self.vectors.inputs
        cut = pieces(self._given(data), self.inputs)
        return stack(cut[:_PROVEN])

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

    def seconds(self, runs: int) -> float:
        """Return the median of what so many inferences of the engine take on this machine."""
        self.job.progress(f"timing {self.candidate.plan}")
        return statistics.median(self._execute(self.vectors.inputs, runs).latencies)

    def _require_expected(self, outputs: Arrays) -> None:
        expected, tolerance = self.vectors.expected, self._tolerance()
        numerics.require_equal(outputs, expected, tolerance, self.outputs)

    def _simulated(self, usage: Usage) -> Usage:
        """Look at what the engine was made from, if that runs here."""
        candidate, profile = self.candidate, self.job.profile
        target, plan, model = candidate.target, candidate.plan, candidate.model
        if self._simulator:
            return self._accuracy(usage, self._simulator.run)
        if network := target.network(model, profile, plan):
            self.job.progress("running the network that the builder was given")
            run = functools.partial(self._in_reference, Reference(network))
            self._require_expected(run(self.vectors.inputs))
            return self._accuracy(usage, run, _OF_NETWORK)
        return self._expected_accuracy(usage)

    def _in_reference(self, reference: Reference, feeds: Arrays) -> Arrays:
        return numerics.run_reference(reference, pieces(feeds, self.inputs))

    def _accuracy(self, usage: Usage, run: Callable[[Arrays], Arrays], instead: str = "") -> Usage:
        """Measure the loss of accuracy on labelled data, if there is any.

        Args:
            instead: of what it is, where `run` is not the engine: an estimate then.
        """
        labelled = self.job.labelled
        if labelled is None or labelled.labels is None:
            return usage
        self.job.progress("measuring the accuracy")
        outputs = run(self._given(labelled))
        cut = pieces(labelled.feeds, self.job.inputs)
        expected = numerics.top1(numerics.run_reference(self.reference, cut), labelled.labels)
        reached = numerics.top1(outputs, labelled.labels)
        note = f"top-1 {reached} against the reference's {expected}{instead}"
        known: Known = "estimated" if instead else "measured"
        drop = Figure(expected.share - reached.share, "fraction", known, note)
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
        converted, kept = self.candidate.converted, self.candidate.in_float()
        if converted is None:
            return ConversionRecord(scheme="", kept=kept) if kept else None
        dense = self.candidate.dense()
        return ConversionRecord(scheme=converted.scheme, kept=kept, dense=dense)

    def _report(self, built: Built) -> dict[str, Any]:
        """Say where memory, time and operators go."""
        profile = self.job.profile
        found = self.candidate.report(profile, built.usage).to_json()
        return {**found, **self.candidate.placement_json(profile), **built.report}

    def _manifest(
        self, built: Built, report: dict[str, Any], usage: Usage, verdict: Verdict
    ) -> Manifest:
        """Describe the directory; a measured latency is left out, so that bytes repeat."""
        job, profile, plan = self.job, self.job.profile, self.candidate.plan
        lasting = dataclasses.replace(usage, latency=built.usage.latency)
        version = self.candidate.target.version(profile, plan)
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
            shapes=shapes_record(self.candidate.model),
            engine=built.engine,
            artifacts=bundles.describe_files(self.directory),
            toolchain=dict(sorted(built.toolchain.items())),
            report=report,
        )
