"""Convolutions with fewer multiplications: the same numbers, whatever their shape and the core."""

from __future__ import annotations

import math

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_convolutions import FOLLOWING, convolution

from tapeout.lowering.canonical import canonical
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.schedules import winograd_tile
from tapeout.targets.tvm.schedules.arithmetic import FLOAT

import kernels
from kernels import CORES

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone", "threads_share_whatever_they_can")


@pytest.fixture(params=[2, 4])
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of one size are taken for whatever they can be."""
    monkeypatch.setattr(winograd_tile, "_SIZES", {FLOAT: (request.param,)})
    monkeypatch.setattr(winograd_tile, "_GAIN", math.inf)


@st.composite
def convolutions(draw: st.DrawFn) -> ir.Model:
    pads = draw(st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0)]))
    channels = st.integers(1, 70)
    model = convolution(
        (draw(st.integers(1, 2)), draw(channels), *draw(st.tuples(*[st.integers(3, 20)] * 2))),
        draw(channels),
        (3, 3),
        pads=pads,
        following=draw(st.sampled_from(list(FOLLOWING))),
    )
    assert model is not None
    return model


@pytest.mark.usefixtures("_size")
@pytest.mark.parametrize("name", CORES)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(model=convolutions())
def test_convolutions_of_any_shape(name: str, model: ir.Model) -> None:
    kernels.assert_same(canonical("nhwc").run(model), scheduled_for=CORES[name])


@pytest.mark.usefixtures("_size")
def test_digits_that_sums_lose_over_many_channels() -> None:
    model = convolution((1, 512, 7, 7), 64, (3, 3), pads=(1,) * 4, following="nothing")
    assert model is not None
    kernels.assert_same(canonical("nhwc").run(model), tolerance=5e-6, scheduled_for=CORES["wide"])


def test_what_follows_is_part_of_the_kernel() -> None:
    model = convolution((1, 64, 16, 16), 64, (3, 3), pads=(1,) * 4, following="activation")
    assert model is not None
    compiled = compile_model(canonical("nhwc").run(model), kernels.host().toolchain, CORES["wide"])
    (own,) = [name for name in compiled.program.calls if "winograd" in name]
    assert own.endswith("add_maximum")
