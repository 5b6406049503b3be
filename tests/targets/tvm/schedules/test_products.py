"""Products of any shape on any core: the same numbers, by the schedule that is meant for them."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.canonical import canonical
from tapeout.targets.tvm.schedules import parallel, shares

import kernels
import support
from kernels import CORES
from workloads import Others

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone")


@pytest.fixture(autouse=True)
def _threads_share_whatever_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (parallel, shares):
        monkeypatch.setattr(module, "is_worth_sharing", lambda cycles, parts, *_: parts > 1)


def convolution(
    shape: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, ...],
    *,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
    group: int,
    epilogue: str,
) -> ir.Model | None:
    """Return a convolution and what follows; None where its window does not fit in the input."""
    _, channels, *space = shape
    rank = len(space)
    places = [
        (size + low + high - (k - 1) * d - 1) // s + 1
        for size, low, high, k, d, s in zip(
            space, pads[:rank], pads[rank:], kernel, dilations, strides, strict=True
        )
    ]
    if min(places) < 1:
        return None
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((outputs, channels // group, *kernel)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    text = {
        "nothing": "y = Conv{a}(x, w)",
        "bias": "y = Conv{a}(x, w, b)",
        "activation": "c = Conv{a}(x, w, b) y = Relu(c)",
        "residual": "c = Conv{a}(x, w, b) s = Add(c, r) y = Relu(s)",
        "gate": "c = Conv{a}(x, w, b) g = Sigmoid(c) y = Mul(c, g)",
    }[epilogue]
    attributes = ", ".join(
        f"{name} = {list(value)}"
        for name, value in (("strides", strides), ("dilations", dilations), ("pads", pads))
    )
    text = text.replace("{a}", f" <{attributes}, group = {group}> ")
    out = ",".join(map(str, (shape[0], outputs, *places)))
    constants = {"w": weight} if epilogue == "nothing" else {"w": weight, "b": bias}
    inputs = {"x": shape, **{name: array.shape for name, array in constants.items()}}
    if epilogue == "residual":
        inputs["r"] = (shape[0], outputs, *places)
    given = ", ".join(f"float[{','.join(map(str, dims))}] {name}" for name, dims in inputs.items())
    return support.from_text(f"g ({given}) => (float[{out}] y) {{ {text} }}", **constants)


@st.composite
def convolutions(draw: st.DrawFn) -> ir.Model | None:
    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    kind = draw(st.sampled_from(["plain", "plain", "depthwise", "grouped"]))
    inputs, outputs = draw(st.integers(1, 70)), draw(st.integers(1, 100))
    group = 1
    if kind == "depthwise":
        group = inputs = outputs
    elif kind == "grouped":
        group = draw(st.integers(2, 4))
        inputs, outputs = group * (inputs % 20 + 1), group * (outputs % 20 + 1)
    return convolution(
        (draw(st.integers(1, 2)), inputs, *each(1, 20)),
        outputs,
        draw(st.sampled_from([(1,) * rank, (3,) * rank, each(1, 5)])),
        strides=each(1, 3),
        dilations=each(1, 2),
        pads=draw(st.sampled_from([(0,) * 2 * rank, (1,) * 2 * rank, each(0, 2) + each(0, 2)])),
        group=group,
        epilogue=draw(st.sampled_from(["nothing", "bias", "activation", "residual", "gate"])),
    )


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(model=convolutions())
def test_convolutions_of_any_shape(name: str, model: ir.Model | None) -> None:
    if model is not None:
        kernels.assert_same(canonical("nhwc", volumes=True).run(model), scheduled_for=CORES[name])


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(model=convolutions(), place=st.integers(0, 30))
def test_alternatives_compute_the_same(name: str, model: ir.Model | None, place: int) -> None:
    core = CORES[name]
    if model is not None:
        tuned = dataclasses.replace(core, choices=Others(core, place))
        kernels.assert_same(canonical("nhwc", volumes=True).run(model), scheduled_for=tuned)


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    lead=st.lists(st.integers(1, 3), max_size=2),
    rows=st.integers(1, 40),
    depth=st.integers(1, 80),
    columns=st.integers(1, 150),
)
def test_products_of_any_shape(
    name: str, lead: list[int], rows: int, depth: int, columns: int
) -> None:
    rng = np.random.default_rng(0)
    x, y = (",".join(map(str, (*lead, rows, last))) for last in (depth, columns))
    model = support.from_text(
        f"g (float[{x}] x, float[{depth},{columns}] w, float[{columns}] b) => (float[{y}] y)"
        " { m = MatMul(x, w) s = Add(m, b) y = Tanh(s) }",
        w=rng.standard_normal((depth, columns)).astype(np.float32),
        b=rng.standard_normal(columns).astype(np.float32),
    )
    kernels.assert_same(canonical("nhwc", volumes=True).run(model), scheduled_for=CORES[name])
