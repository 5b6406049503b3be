"""How fast TFLite's kernels are, for the roofline model: XNNPACK on one core."""

from __future__ import annotations

from typing import Final

from ...lowering.analysis.operators import Kind
from ...lowering.analysis.roofline import Machine
from ...profiles.schema import Profile

#: The fraction of the vector units' peak that each kind of operator reaches in float32 on one core
#: of a Cascade Lake Xeon (AVX-512). `benchmarks/tflite_layers.py` measures it on the layers of real
#: networks; what kinds share, convolutions above all, is fitted to whole networks, and
#: `benchmarks/mobile.py` prints how far the estimates of those are from the measurement.
_EFFICIENCY: Final[dict[Kind, float]] = {
    "convolution": 0.5,
    "depthwise": 0.2,
    "matmul": 0.35,
    "pool": 0.016,
    "reduction": 0.06,
    "normalization": 0.04,
    "softmax": 0.08,
    "elementwise": 0.1,
    "attention": 0.35,
    "recurrent": 0.35,
}

#: The same of the peak in int8, which is that of dot products: what else a kernel does is slower.
_INTEGERS: Final[dict[Kind, float]] = {
    "convolution": 0.34,
    "depthwise": 0.026,
    "matmul": 0.1,
    "reduction": 0.02,
    "normalization": 0.01,
    "softmax": 0.01,
    "elementwise": 0.03,
}

#: Seconds from one operator to the next inside of XNNPACK, measured on the same core.
_OVERHEAD: Final = 0.1e-6


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
        special={"int8": _INTEGERS, "uint8": _INTEGERS},
    )
