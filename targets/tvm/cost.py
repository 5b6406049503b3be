"""How fast TVM's default CPU code is, for the roofline model: naive loops on one core.

The default pipeline schedules nothing: no blocking, no threads, and the inner loop of a reduction
stays scalar, since a compiler may not reorder floating-point sums. So one scalar multiply-add a
cycle is its roof, whatever the vector unit could do.
"""

from __future__ import annotations

from typing import Final

from ...lowering.analysis.operators import Kind
from ...lowering.analysis.roofline import Machine
from ...profiles.schema import Profile

#: The fraction of one scalar multiply-add a cycle that each kind of operator reaches. Measured on
#: one Cascade Lake core; `benchmarks/cpu.py` prints how far the estimate is from the measurement.
_EFFICIENCY: Final[dict[Kind, float]] = {
    "convolution": 0.25,
    "depthwise": 0.25,
    "matmul": 0.26,
    "pool": 0.3,
    "reduction": 0.3,
    "normalization": 0.3,
    "softmax": 0.3,
    "elementwise": 1.0,
    "attention": 0.26,
    "recurrent": 0.26,
}

#: Seconds from one kernel to the next in the virtual machine, measured on the same core.
_OVERHEAD: Final = 0.15e-6


def machine_of(profile: Profile) -> Machine:
    """Return what one thread of TVM's default code has on a CPU."""
    if profile.cpu is None:
        raise ValueError(f"{profile.name} has no CPU")
    scalar = 2 * profile.cpu.clock.value
    return Machine(
        peaks=dict.fromkeys(profile.dtypes, scalar),
        bandwidth=profile.main_memory.bandwidth.value,
        efficiency=_EFFICIENCY,
        overhead=_OVERHEAD,
    )
