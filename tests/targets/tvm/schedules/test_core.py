"""What schedules know of a core."""

from __future__ import annotations

import pytest

from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.targets.tvm.build import Request

from kernels import CORES, HALVES

PROFILES = [catalog.load(name) for name in catalog.names("cpu") if name != catalog.HOST]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_cores_compute_in_half_precision_where_the_profile_has_a_peak_for_it(
    profile: Profile,
) -> None:
    core = Request.of(profile).core
    assert core.halves == (profile.peak("float16") is not None)


def test_a_vector_has_twice_the_numbers_in_half_precision() -> None:
    core = HALVES["wide"]
    half = core.of_dtype("float16")
    assert (half.lanes, half.width, half.registers) == (2 * core.lanes, 2, core.registers)
    assert half.stream == core.stream
    assert half.of_dtype("float16") == half
    for dtype in ("float32", "int32", "bfloat16"):
        assert core.of_dtype(dtype) == core
    assert CORES["wide"].of_dtype("float16") == CORES["wide"]
