"""Convolutions with fewer multiplications: the same numbers, whatever their shape and the core."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.canonical import canonical
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.schedules import parallel, shares, winograd_tile
from tapeout.targets.tvm.schedules.arithmetic import FLOAT

import kernels
import support
from kernels import CORES

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone")

#: What follows a convolution.
FOLLOWING = {
    "nothing": "y = Conv{a}(x, w)",
    "activation": "c = Conv{a}(x, w, b) y = Relu(c)",
    "residual": "c = Conv{a}(x, w, b) s = Add(c, r) y = Relu(s)",
    "gate": "c = Conv{a}(x, w, b) g = Sigmoid(c) y = Mul(c, g)",
}


@pytest.fixture(autouse=True)
def _threads_share_whatever_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (parallel, shares):
        monkeypatch.setattr(module, "is_worth_sharing", lambda cycles, parts, *_: parts > 1)


@pytest.fixture(params=[2, 4])
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of one size are taken for whatever they can be."""
    monkeypatch.setattr(winograd_tile, "_SIZES", {FLOAT: (request.param,)})
    monkeypatch.setattr(winograd_tile, "_GAIN", math.inf)


def convolution(
    shape: tuple[int, int, int, int], outputs: int, pads: tuple[int, ...], following: str
) -> ir.Model:
    """Return a convolution of data (n, C, H, W) and what follows it."""
    images, channels, *space = shape
    places = [size + low + high - 2 for size, low, high in zip(space, pads, pads[2:], strict=False)]
    rng = np.random.default_rng(0)
    constants = {"w": rng.standard_normal((outputs, channels, 3, 3)).astype(np.float32)}
    if following != "nothing":
        constants["b"] = rng.standard_normal(outputs).astype(np.float32)
    out = (images, outputs, *places)
    inputs = {"x": shape, **({"r": out} if following == "residual" else {})}
    dims = {**inputs, **{name: array.shape for name, array in constants.items()}}
    given_ = ", ".join(f"float[{','.join(map(str, dim))}] {name}" for name, dim in dims.items())
    text = FOLLOWING[following].replace("{a}", f" <pads = {list(pads)}> ")
    result = ",".join(map(str, out))
    return support.from_text(f"g ({given_}) => (float[{result}] y) {{ {text} }}", **constants)


@st.composite
def convolutions(draw: st.DrawFn) -> ir.Model:
    pads = draw(st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0)]))
    channels = st.integers(1, 70)
    return convolution(
        (draw(st.integers(1, 2)), draw(channels), *draw(st.tuples(*[st.integers(3, 20)] * 2))),
        draw(channels),
        pads,
        draw(st.sampled_from(list(FOLLOWING))),
    )


@pytest.mark.usefixtures("_size")
@pytest.mark.parametrize("name", CORES)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(model=convolutions())
def test_convolutions_of_any_shape(name: str, model: ir.Model) -> None:
    kernels.assert_same(canonical("nhwc").run(model), scheduled_for=CORES[name])


@pytest.mark.usefixtures("_size")
def test_digits_that_sums_lose_over_many_channels() -> None:
    model = convolution((1, 512, 7, 7), 64, (1, 1, 1, 1), "nothing")
    kernels.assert_same(canonical("nhwc").run(model), tolerance=5e-6, scheduled_for=CORES["wide"])


def test_what_follows_is_part_of_the_kernel() -> None:
    model = convolution((1, 64, 16, 16), 64, (1, 1, 1, 1), "activation")
    compiled = compile_model(canonical("nhwc").run(model), kernels.host().toolchain, CORES["wide"])
    (own,) = [name for name in compiled.program.calls if "winograd" in name]
    assert own.endswith("add_maximum")
