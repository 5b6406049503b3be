"""How fast TVM's default CPU code is, for the roofline model: naive loops on one core.

The default pipeline schedules nothing: no blocking, no threads, and the inner loop of a reduction
stays scalar, since a compiler may not reorder floating-point sums. So one scalar multiply-add a
cycle is its roof, whatever the vector unit could do. Integer kernels (`converters.tiles`) compute
vectors of 32-bit sums: their roof is one multiply-add a cycle for each number of a vector.
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

#: What integer kernels read, how wide their sums are, and how many they compute at once
#: (`converters.tiles.LANES`). The fractions above hold of them too: whole networks reached 0.2 to
#: 0.3 of this roof on the same core.
_VECTORIZED: Final = ("int8", "uint8")
_SUM_BITS: Final = 32
_MOST_LANES: Final = 16

#: Seconds from one kernel to the next in the virtual machine, measured on the same core.
_OVERHEAD: Final = 0.15e-6


def machine_of(profile: Profile) -> Machine:
    """Return what one thread of TVM's default code has on a CPU."""
    if profile.cpu is None:
        raise ValueError(f"{profile.name} has no CPU")
    scalar = 2 * profile.cpu.clock.value
    lanes = max(1, min(profile.cpu.vector_bits.value // _SUM_BITS, _MOST_LANES))
    return Machine(
        peaks={
            **dict.fromkeys(profile.dtypes, scalar),
            **dict.fromkeys(_VECTORIZED, scalar * lanes),
        },
        bandwidth=profile.main_memory.bandwidth.value,
        efficiency=_EFFICIENCY,
        overhead=_OVERHEAD,
    )
