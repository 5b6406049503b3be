"""How fast TVM's code is, for the roofline model.

Kernels have schedules of ours (`schedules`): their roof is what the vector units can do in float32,
of integers, what the instructions can that a profile gives for int8, and of half precision, twice
as much where the cores compute in it.
"""

from __future__ import annotations

from typing import Final

from ...lowering.analysis.operators import Kind
from ...lowering.analysis.roofline import Machine
from ...profiles.schema import Profile
from .schedules.shares import least_gain

#: The fraction of the vector units' peak that each kind of operator reaches in float32. Measured on
#: one Cascade Lake core (AVX-512); `benchmarks/cpu.py` prints how far the estimate is from the
#: measurement.
_EFFICIENCY: Final[dict[Kind, float]] = {
    "convolution": 0.65,
    "depthwise": 0.15,
    "matmul": 0.5,
    "pool": 0.03,
    "reduction": 0.03,
    "normalization": 0.03,
    "softmax": 0.03,
    "elementwise": 0.1,
    "attention": 0.1,
    "recurrent": 0.1,
}

#: The share of those that is assumed of cores that are not x86-64: nothing was measured on them.
#: With AVX2 the fractions are as with AVX-512.
_ELSEWHERE: Final = 0.6

#: The same of the roof of integer kernels, measured on one core of a Zen 4 (AVX512-VNNI): what is
#: no product has no more numbers in a vector than in float32.
_INTEGERS: Final[dict[Kind, float]] = {
    **{kind: part / 4 for kind, part in _EFFICIENCY.items()},
    "convolution": 0.5,
    "depthwise": 0.1,
    "matmul": 0.25,
}

#: The same of the roof of half precision: what is no product is computed in float32.
_HALVES: Final[dict[Kind, float]] = {
    **{kind: part / 2 for kind, part in _EFFICIENCY.items()},
    **{kind: _EFFICIENCY[kind] for kind in ("convolution", "depthwise", "matmul")},
}

#: What integer kernels read.
_INTEGER: Final = ("int8", "uint8")
_SUM_BITS: Final = 32

#: Seconds from one kernel to the next: a call, and the beginning and end of its loops.
_OVERHEAD: Final = 0.02e-6

#: Seconds that the other threads take to wake up at the start of an inference, between which they
#: sleep: small networks took so much longer after a pause, on a virtual machine with two cores.
WAKING: Final = 0.1e-3


def machine_of(profile: Profile, threads: int = 1) -> Machine:
    """Return what some threads of TVM's code have on a CPU: they share what they gain from."""
    if profile.cpu is None:
        raise ValueError(f"{profile.name} has no CPU")
    scalar = 2 * profile.cpu.clock.value
    lanes = max(1, profile.cpu.vector_bits.value // _SUM_BITS)
    vectors = scalar * lanes * profile.cpu.fma_units.value * threads
    halves = vectors if profile.peak("float16") is None else 2 * vectors
    is_measured = profile.toolchain.triple.startswith("x86_64")
    share = 1.0 if is_measured else _ELSEWHERE
    special = [(dtype, _INTEGERS) for dtype in _INTEGER]
    if halves > vectors:
        special.append(("float16", _HALVES))
    return Machine(
        peaks={
            **dict.fromkeys(profile.dtypes, vectors),
            "float16": halves,
            **dict.fromkeys(_INTEGER, _integer_peak(profile, vectors / threads) * threads),
        },
        bandwidth=profile.main_memory.bandwidth.value,
        efficiency={kind: share * part for kind, part in _EFFICIENCY.items()},
        overhead=_OVERHEAD,
        special={
            dtype: {kind: share * part for kind, part in parts.items()} for dtype, parts in special
        },
        threads=threads,
        sharing=least_gain(threads) / profile.cpu.clock.value,
    )


def _integer_peak(profile: Profile, floats: float) -> float:
    """Return the operations per second of one core on int8; as on float32 if nothing is known."""
    integers = profile.compute.get("int8")
    if profile.cpu is None or integers is None or integers.lanes is None:
        return floats
    units = integers.units or profile.cpu.fma_units
    return 2 * profile.cpu.clock.value * integers.lanes.value * units.value
