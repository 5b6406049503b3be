"""How fast TVM's kernels for GPUs are, for the roofline model."""

from __future__ import annotations

import dataclasses
from typing import Final

from ....lowering.analysis.operators import Kind
from ....lowering.analysis.roofline import Machine
from ....profiles.schema import Profile
from ... import gpu

#: The fraction of the peak that each kind of operator reaches; assumed, for want of a card.
_EFFICIENCY: Final[dict[Kind, float]] = {
    "convolution": 0.25,
    "depthwise": 0.1,
    "matmul": 0.25,
    "pool": 0.1,
    "reduction": 0.1,
    "normalization": 0.1,
    "softmax": 0.1,
    "elementwise": 0.5,
    "attention": 0.25,
    "recurrent": 0.1,
}

#: Numbers that are widened where they are read: the arithmetic is that of float32.
_WIDENED: Final = ("float16", "bfloat16")


def machine_of(profile: Profile) -> Machine:
    """Return what one inference has of a GPU whose kernels compute in float32."""
    machine = gpu.machine_of(profile, "fp32")
    peaks = {**machine.peaks, **dict.fromkeys(_WIDENED, machine.peak("float32"))}
    return dataclasses.replace(machine, peaks=peaks, efficiency=_EFFICIENCY, special={})
