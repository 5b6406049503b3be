"""Products of integers of any shape, by every instruction that this machine has: bit for bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_convolutions import places_of

from tapeout.lowering.canonical import canonical, integers
from tapeout.lowering.reference import Reference
from tapeout.targets.tvm.host import processor_features
from tapeout.targets.tvm.schedules.arithmetic import WIDE, integers_of
from tapeout.targets.tvm.schedules.core import Core

import kernels
import quantized
from quantized import Integers
from workloads import Others

#: LLVM's feature, and lanes; each with caches so small that tiny layers come in blocks.
FEATURES = [
    ("avx512vnni", 16), ("avx512vnni", 8), ("avxvnni", 8), ("avx512bw", 16), ("avx2", 8),
    ("sse2", 4), ("dotprod", 4), ("none", 4),
]  # fmt: skip
RUNNABLE = [
    pytest.param(
        Core(lanes, 32, 2, l1=2 << 10, l2=8 << 10, integers=integers_of({feature}, lanes)),
        id=f"{feature}-{lanes}",
    )
    for feature, lanes in FEATURES
    if feature in {*processor_features(kernels.host().toolchain), "none"}
]


pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone")


@st.composite
def networks(draw: st.DrawFn) -> tuple[ir.Model, np.ndarray] | None:
    """Draw a convolution or a product, and data; None where the window does not fit."""

    def each(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(rank)]

    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    rank, batch = draw(st.sampled_from([1, 2, 2, 3])), draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["plain", "plain", "depthwise", "depthwise", "grouped"]))
    inputs, outputs, group = draw(st.integers(1, 70)), draw(st.integers(1, 70)), 1
    if kind == "depthwise":
        group = inputs = outputs = draw(st.sampled_from([1, 4, 6, 8, 20, 24, 64]))
    elif kind == "grouped":
        group = draw(st.integers(2, 3))
        inputs, outputs = group * (inputs % 9 + 1), group * draw(st.sampled_from([2, 4, 12]))
    size, kernel, strides, dilations = each(1, 14), each(1, 5), each(1, 3), each(1, 2)
    pads = each(0, 2) + each(0, 2)
    places = places_of(size, kernel, strides, dilations, pads)
    if min(places) < 1:
        return None
    dtype = draw(st.sampled_from([np.int8, np.uint8]))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    zero = draw(st.sampled_from([low, int(low) + 100, high]))
    weight = rng.integers(-127, 128, (outputs, inputs // group, *kernel)).astype(np.int8)
    scales = rng.uniform(0.01, 0.06, outputs)
    attributes = ", ".join(
        f"{name} = {value}"
        for name, value in (("strides", strides), ("dilations", dilations), ("pads", pads))
    )
    x = Integers((batch, inputs, *size), 0.05, zero, dtype)
    y = Integers((batch, outputs, *places), 1.7, int(low) + 90, dtype)
    model = quantized.network(
        f"y = Conv <{attributes}, group = {group}> (x, w)",
        {"y": y},
        x=x,
        w=Integers(weight, scales, np.zeros(outputs), np.int8, 0),
    )
    return model, rng.integers(low, int(high) + 1, x.held).astype(dtype)


def assert_same_bits(model: ir.Model, data: np.ndarray, core: Core) -> None:
    lowered = (canonical("nhwc", volumes=True) + integers()).run(model)
    assert any(node.op_type.startswith(("QConv", "QMatMul")) for node in lowered.graph)
    feeds = {str(lowered.graph.inputs[0].name): data}
    expected = Reference(lowered).run(feeds)
    for name, found in kernels.run(lowered, feeds, core).items():
        np.testing.assert_array_equal(found, expected[name], str(list(lowered.graph)))


@pytest.mark.parametrize("core", RUNNABLE)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(drawn=networks())
def test_convolutions_of_any_shape(core: Core, drawn: tuple[ir.Model, np.ndarray] | None) -> None:
    if drawn is not None:
        assert_same_bits(*drawn, core)


@pytest.mark.parametrize("core", RUNNABLE)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(drawn=networks(), place=st.integers(0, 30))
def test_alternatives_compute_the_same(
    core: Core, drawn: tuple[ir.Model, np.ndarray] | None, place: int
) -> None:
    if drawn is not None:
        assert_same_bits(*drawn, dataclasses.replace(core, choices=Others(core, place)))


@pytest.mark.parametrize("core", RUNNABLE)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 40),
    depth=st.integers(1, 80),
    columns=st.integers(1, 150),
    dtype=st.sampled_from([np.int8, np.uint8]),
)
def test_products_of_any_shape(
    core: Core, rows: int, depth: int, columns: int, dtype: type
) -> None:
    rng = np.random.default_rng(0)
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    weight = rng.integers(-127, 128, (depth, columns)).astype(np.int8)
    model = quantized.network(
        "y = MatMul(x, w)",
        {"y": Integers((rows, columns), 1.1, low + 60, dtype)},
        x=Integers((rows, depth), 0.05, low + 7, dtype),
        w=Integers(weight, 0.03, 0, np.int8),
    )
    assert_same_bits(model, rng.integers(low, high + 1, (rows, depth)).astype(dtype), core)


def test_every_core_computes_with_something() -> None:
    assert integers_of((), 4) is integers_of({"avx512vnni"}, 32) is WIDE
    assert integers_of({"sse2", "avx2", "avx512vnni"}, 8).together == 4
    assert integers_of({"sse2", "avx2"}, 8).together == 2
