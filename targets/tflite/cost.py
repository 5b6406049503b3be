"""How fast TFLite's kernels are, for the roofline model: XNNPACK on one core."""

from __future__ import annotations

from typing import Final

from ...lowering.analysis.operators import Kind
from ...lowering.analysis.roofline import Machine
from ...profiles.schema import Profile

#: The fraction of the vector units' peak that each kind of operator reaches. Measured on one
#: Cascade Lake core; `benchmarks/cpu.py` prints how far the estimate is from the measurement.
_EFFICIENCY: Final[dict[Kind, float]] = {
    "convolution": 0.45,
    "depthwise": 0.12,
    "matmul": 0.35,
    "pool": 0.05,
    "reduction": 0.05,
    "normalization": 0.05,
    "softmax": 0.02,
    "elementwise": 0.1,
    "attention": 0.3,
    "recurrent": 0.1,
}

#: Seconds from one operator to the next, measured on the same core.
_OVERHEAD: Final = 0.6e-6


def machine_of(profile: Profile, threads: int) -> Machine:
    """Return what some threads of TFLite have on a CPU."""
    if profile.cpu is None:
        raise ValueError(f"{profile.name} has no CPU")
    share = threads / profile.cpu.cores.value
    peaks: dict[str, float] = {
        dtype: peak * share for dtype in profile.dtypes if (peak := profile.peak(dtype))
    }
    return Machine(
        peaks=peaks,
        bandwidth=profile.main_memory.bandwidth.value,
        efficiency=_EFFICIENCY,
        overhead=_OVERHEAD,
    )
