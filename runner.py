"""What one does with a bundle on this machine: run it, verify it, measure it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from . import numerics
from .bundle import MANIFEST, VECTORS, Bundle
from .data import Data, InputSpec, pieces, read_data, read_npz, write_npz
from .errors import Problem, UsageError
from .lowering.importers.onnx import load
from .lowering.reference import Reference
from .numerics import Accuracy, Difference, Vectors
from .profiles import catalog
from .profiles.schema import Profile
from .targets.base import Execution, OnCard, Where, target_for
from .targets.run import Varying

#: The percentiles of the latency that `bench` reports.
PERCENTILES = (50, 90, 99)

#: Where what stands in for a device computes.
_PLACES: Final[Mapping[Where, str]] = {
    "host": "on this machine",
    "emulator": "in an emulator",
    "simulator": "in a simulator that counts the cycles",
}

_DEFERRED = Problem(
    "status",
    "'deferred': there is no engine yet",
    "build and run it on the device, as run/README.md in the bundle says",
)


@dataclasses.dataclass(frozen=True)
class Verified:
    """What `verify` found; numerics are None, with the reason, where the bundle cannot run.

    Attributes:
        stand_in: what computed the numbers in place of the device; None: the device, or nothing.
    """

    files: int
    differences: tuple[Difference, ...] | None
    not_run: Problem | None
    accuracy: Accuracy | None
    stand_in: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "numerics": [item.to_json() for item in self.differences]
            if self.differences is not None
            else None,
            "not_run": str(self.not_run) if self.not_run else None,
            "accuracy": self.accuracy.to_json() if self.accuracy else None,
            "stand_in": self.stand_in,
        }


@dataclasses.dataclass(frozen=True)
class Measured:
    """Latencies in seconds and the peak resident memory in bytes of the process, both measured.

    Attributes:
        stand_in: what computed in place of the device, and whose figures these are; None: the
            device.
        card: what the graphics card told, if it ran on one.
    """

    latency: dict[str, float]
    runs: int
    peak_memory: int
    stand_in: str | None = None
    card: OnCard | None = None

    @property
    def steps(self) -> dict[str, float]:
        """Return the median seconds of each step on a graphics card."""
        of = self.card.steps if self.card else {}
        return {step: float(np.median(seconds)) for step, seconds in of.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "latency": {"unit": "s", "known": "measured", "runs": self.runs, **self.latency},
            "peak_memory": {"unit": "B", "known": "measured", "value": self.peak_memory},
            "stand_in": self.stand_in,
            **(self._on_card(self.card) if self.card else {}),
        }

    def _on_card(self, card: OnCard) -> dict[str, Any]:
        return {
            "steps": {"unit": "s", "known": "measured", "p50": self.steps},
            "card_memory": {"unit": "B", "known": "measured", "parts": dict(card.memory)},
        }


def run(bundle: Bundle, data: str) -> dict[str, np.ndarray]:
    """Run a bundle on ``FILE.npz[:KEY]`` and return its outputs by name, as the engine gives them.

    Real numbers for an int8 input are rounded with the scale and zero point of the manifest; int8
    arrays are taken as they are.

    Raises:
        VerificationError: a file of the bundle is not what its manifest says.
        UsageError: the data does not fit, or the bundle cannot run on this machine.
        MissingToolError: what would run it here is not installed.
    """
    return execute(bundle, data).outputs


def execute(bundle: Bundle, data: str) -> Execution:
    """Run a bundle as `run` does, and say also where it ran."""
    bundle.require_digests()
    return _execute(bundle, _read(bundle, data).feeds)


def _read(bundle: Bundle, data: str) -> Data:
    """Read data for a bundle, of every shape that it takes."""
    manifest = bundle.manifest

    def shaped(
        inputs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]
    ) -> Sequence[InputSpec]:
        given = {item.name: shapes[item.name] for item in inputs if item.name in shapes}
        if manifest.shapes is None or len(given) < len(inputs):
            return inputs
        if not Varying.read(manifest.shapes.model_dump()).takes(given):
            return inputs
        return [item.model_copy(update={"shape": given[item.name]}) for item in manifest.inputs]

    return read_data(data, manifest.inputs, shaped=shaped)


def stand_in(bundle: Bundle, execution: Execution) -> str | None:
    """Return what ran a bundle in place of its device; None if it was the device's own kind."""
    if execution.where == "device":
        return None
    text = f"computed {_PLACES[execution.where]} in place of {bundle.manifest.device.name}"
    delegate = bundle.manifest.plan.options.get("delegate", "cpu")
    if delegate == "cpu":
        return text
    return f"{text}, without the delegate {delegate}: what that computes, only the device can tell"


def verify(bundle: Bundle, data: str | None = None) -> Verified:
    """Check every digest, then run the test vectors and compare with the reference's outputs.

    Of a deferred bundle, the network that its engine is to be built from runs in ONNX Runtime.

    Args:
        data: ``FILE.npz[:KEY]`` with labels, to count the accuracy on.

    Raises:
        VerificationError: digests or numerics do not hold.
        UsageError: `data` has no labels or does not fit.
    """
    bundle.require_digests()
    files = len(bundle.manifest.artifacts) + 1
    manifest = bundle.manifest
    if not _awaits_engine(bundle) and (obstacle := _cannot_run(bundle)):
        if data is not None:
            raise UsageError("the accuracy cannot be measured here", [obstacle])
        return Verified(files, None, obstacle, None)
    vectors = Vectors.of(read_npz(bundle.directory / VECTORS))
    outputs, instead = _computed(bundle, vectors.inputs)
    differences = numerics.require_equal(
        outputs, vectors.expected, manifest.tolerance, manifest.outputs
    )
    return Verified(files, tuple(differences), None, _accuracy(bundle, data), instead)


def _computed(
    bundle: Bundle, feeds: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], str | None]:
    """Return a bundle's outputs, and what computed them in place of the device, if it did not."""
    manifest = bundle.manifest
    if not _awaits_engine(bundle):
        execution = _execute(bundle, feeds)
        return execution.outputs, stand_in(bundle, execution)
    # As every file that somebody else wrote, it is checked before it runs.
    network = load(bundle.engine, {item.name: item.shape for item in manifest.inputs})
    outputs = numerics.run_reference(Reference(network), pieces(feeds, manifest.inputs))
    where = f"computed by ONNX Runtime in place of {manifest.device.name}"
    return outputs, f"{where}, from the network that the engine is to be built from"


def _accuracy(bundle: Bundle, data: str | None) -> Accuracy | None:
    if data is None:
        return None
    labelled = read_data(data, bundle.manifest.inputs)
    if labelled.labels is None:
        raise UsageError(f"{data} has no labels", [Problem("labels", "is missing")])
    return numerics.top1(_computed(bundle, labelled.feeds)[0], labelled.labels)


def bench(bundle: Bundle, runs: int) -> Measured:
    """Time `runs` inferences of the bundle's first test vector on this machine.

    Where the runtime has kernels for this machine they stand in for the device's: `Measured` says
    so.

    Raises:
        VerificationError: a file of the bundle is not what its manifest says.
        UsageError: this machine can only emulate the device: such times mean nothing.
    """
    bundle.require_digests()
    vectors = Vectors.of(read_npz(bundle.directory / VECTORS))
    if obstacle := _cannot_run(bundle):
        raise _not_the_device(bundle, obstacle)
    execution = _execute(bundle, vectors.inputs, runs)
    if execution.where == "emulator":
        raise _not_the_device(bundle, Problem("this machine", "can only emulate it"))
    stood_in = stand_in(bundle, execution)
    whose = "the device's, by its clock" if execution.where == "simulator" else "this machine's"
    times = np.array(execution.latencies)
    latency = {f"p{rank}": float(np.percentile(times, rank)) for rank in PERCENTILES}
    return Measured(
        {"min": float(times.min()), **latency, "max": float(times.max())},
        runs,
        execution.peak_memory,
        stood_in and f"{stood_in}; the figures are {whose}",
        execution.card,
    )


def _not_the_device(bundle: Bundle, obstacle: Problem) -> UsageError:
    fix = Problem("", "copy the bundle to the device and measure it there, as run/README.md says")
    name = bundle.manifest.device.name
    return UsageError(f"a bundle for {name} cannot be measured here", [obstacle, fix])


def _profile(bundle: Bundle) -> Profile:
    return catalog.from_json(bundle.manifest.device.profile, f"{MANIFEST}: device.profile")


def _awaits_engine(bundle: Bundle) -> bool:
    """Whether the engine is yet to be built, and nothing but the engine runs it."""
    manifest = bundle.manifest
    return manifest.status == "deferred" and not target_for(manifest.runtime.name).simulates


def _cannot_run(bundle: Bundle) -> Problem | None:
    if _awaits_engine(bundle):
        return _DEFERRED
    return target_for(bundle.manifest.runtime.name).cannot_run(_profile(bundle))


def _execute(bundle: Bundle, feeds: Mapping[str, np.ndarray], repeat: int = 0) -> Execution:
    if _awaits_engine(bundle):
        raise UsageError(f"{bundle.directory.name} cannot run here", [_DEFERRED])
    target = target_for(bundle.manifest.runtime.name)
    return target.execute(bundle.directory, _profile(bundle), feeds, repeat)


def save_outputs(path: Path, outputs: Mapping[str, np.ndarray]) -> None:
    """Write the outputs as an ``.npz``; it appears whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_npz(partial, outputs)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
