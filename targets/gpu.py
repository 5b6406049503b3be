"""What a GPU has for one inference, for the roofline model; the same for every runtime of it."""

from __future__ import annotations

from typing import Final

from ..lowering.analysis.roofline import Cache, Machine
from ..profiles.schema import Profile

#: Seconds from one kernel to the next within a stream; assumed.
_LAUNCH: Final = 3e-6


def machine_of(profile: Profile, precision: str) -> Machine:
    """Return what one inference has on a GPU."""
    if profile.gpu is None:
        raise ValueError(f"{profile.name} has no GPU")
    peaks = {
        str(dtype): entry.peak.value
        for dtype, entry in profile.compute.items()
        if entry.peak is not None
    }
    if precision == "tf32":
        peaks["float32"] = peaks["tfloat32"]
    bandwidth = profile.main_memory.bandwidth.value
    return Machine(
        peaks=peaks,
        bandwidth=bandwidth,
        caches=(Cache(profile.gpu.l2.value, 3 * bandwidth),),
        overhead=_LAUNCH,
    )
