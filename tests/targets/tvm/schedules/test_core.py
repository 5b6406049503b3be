"""What schedules know of a core."""

from __future__ import annotations

import dataclasses

import pytest

from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.targets.tvm.build import Request
from tapeout.targets.tvm.schedules.arithmetic import arithmetic_for
from tapeout.targets.tvm.schedules.workload import Workload

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


WORK = Workload(
    kind="product",
    dtype="float32",
    images=1,
    places=(56, 56),
    reach=(56, 56),
    strides=(1, 1),
    taps=1,
    inputs=96,
    outputs=24,
    group=1,
    copies="maybe",
)


@pytest.mark.parametrize(
    ("outputs", "lanes"), [(24, 8), (40, 8), (8, 8), (20, 8), (16, 16), (32, 16), (30, 16)]
)
def test_vectors_of_half_the_lanes_where_they_fit_and_cost_half(outputs: int, lanes: int) -> None:
    work = dataclasses.replace(WORK, outputs=outputs)
    one, two = (dataclasses.replace(CORES["wide"], units=units) for units in (1, 2))
    found = one.of_work(work)
    assert found.lanes == lanes
    assert found.lanes * found.units == one.lanes * one.units
    assert two.of_work(work) == two
    assert one.vectors(24) == 1.5
    assert two.vectors(24) == 2
    assert one.of_work(dataclasses.replace(work, kind="depthwise")) == one


def test_instructions_for_integers_have_a_least_length() -> None:
    core = dataclasses.replace(CORES["narrow"], operands=CORES["wide"].operands)
    work = dataclasses.replace(WORK, outputs=6, dtype="uint8")
    assert core.splits
    for arithmetic, lanes in (("sse2", 4), ("", 2)):
        own = dataclasses.replace(core, integers=arithmetic_for(arithmetic))
        assert own.of_work(work).lanes == lanes
