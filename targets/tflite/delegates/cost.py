"""How long a model takes of which a delegate computes a part.

The figures below are fitted to what TensorFlow Lite publishes of a Pixel 3 (Performance
measurement, github.com/tensorflow/tensorflow, tensorflow/lite/g3doc/performance/measurement.md):
MobileNet v1 takes 6.45 ms on the GPU, 13.8 ms through NNAPI, in int8 6.0 ms; Inception v4 93 and
292 ms. Other phones' accelerators are assumed to do as well for their peaks. All is an estimate.
"""

from __future__ import annotations

from typing import Final

from ....lowering.analysis.memory import Liveness
from ....lowering.analysis.operators import Kind
from ....lowering.analysis.roofline import Machine, Offload, of_liveness
from ....lowering.analysis.tensors import outputs_of
from ....profiles.schema import Accelerator, Delegate, Profile
from ..operators import Operator
from ..plans import EXACT
from .partitions import CPU, Partition, Placement

#: The fraction of an accelerator's peak that each kind of operator reaches.
_EFFICIENCY: Final[dict[Kind, float]] = {
    "convolution": 0.16,
    "depthwise": 0.05,
    "matmul": 0.1,
    "pool": 0.02,
    "reduction": 0.02,
    "normalization": 0.02,
    "softmax": 0.02,
    "elementwise": 0.05,
    "attention": 0.05,
    "recurrent": 0.02,
}

#: Seconds from one operator to the next on an accelerator.
_OVERHEAD: Final = 20e-6

#: Seconds to hand a partition over and to wait for it: a queue, or a driver in another process.
_LAUNCH: Final = 1e-3

_INTEGERS: Final = ("int8", "uint8")


def offload(placement: Placement, profile: Profile, delegate: Delegate, precision: str) -> Offload:
    """Return what a delegate takes over from the cores, and what handing it over takes.

    Args:
        precision: of the plan: it settles whether real numbers may be computed in float16.
    """
    machines: dict[str, Machine] = {}
    for part in placement.delegated:
        for operator in part.operators:
            machine = _machine(profile, delegate, _computed_in(operator, delegate, precision))
            machines |= {item.name: machine for item in operator.outputs}
    return Offload(machines, sum(_handing(part, profile) for part in placement.delegated))


def seconds_of(
    placement: Placement, alive: Liveness, machine: Machine, taken: Offload, profile: Profile
) -> tuple[float, ...]:
    """Return how long each partition takes; a step counts where its result is made.

    Args:
        alive: the steps of the lowered model.
        machine: the cores.
        taken: of the same placement.
    """
    index_of = {
        item.name: index
        for index, part in enumerate(placement.partitions)
        for operator in part.operators
        for item in operator.outputs
    }
    found = [0.0 if part.where == CPU else _handing(part, profile) for part in placement.partitions]
    index = 0
    for step, time in zip(alive.steps, of_liveness(alive, machine, taken).steps, strict=True):
        names = (str(value.name) for value in outputs_of(step.nodes[-1]))
        index = next((index_of[name] for name in names if name in index_of), index)
        found[index] += time.seconds
    return tuple(found)


def _handing(part: Partition, profile: Profile) -> float:
    """Return the seconds to start a partition and to copy its tensors: each is read and written."""
    moved = sum(item.bytes for item in (*part.inputs, *part.outputs))
    return _LAUNCH + 2 * moved / profile.main_memory.bandwidth.value


def _computed_in(operator: Operator, delegate: Delegate, precision: str) -> tuple[str, ...]:
    """Return the dtypes in which an operator may be computed, the preferred first."""
    real = ("float32", "float16") if precision in EXACT else ("float16", "float32")
    if delegate == "nnapi" and operator.outputs and operator.outputs[0].dtype in _INTEGERS:
        return ("int8", *real)
    return real  # the GPU delegate computes quantized operators in float


def _machine(profile: Profile, delegate: Delegate, dtypes: tuple[str, ...]) -> Machine:
    """Return the fastest accelerator that a delegate reaches, in the first dtype that any has."""
    reached = profile.reached_by(delegate)
    for dtype in dtypes:
        peaks = [(peak, item) for item in reached if (peak := _peak(item, dtype))]
        if peaks:
            break
    else:
        peaks = [(max(_peak(item, name) for name in item.compute), item) for item in reached]
    peak, fastest = max(peaks, key=lambda found: found[0])
    return Machine({"float32": peak}, fastest.bandwidth.value, (), _EFFICIENCY, _OVERHEAD)


def _peak(accelerator: Accelerator, dtype: str) -> float:
    """Return operations/s; 0 if it does not compute in a dtype."""
    found = (entry.peak.value for name, entry in accelerator.compute.items() if name == dtype)
    return next(found, 0.0)
