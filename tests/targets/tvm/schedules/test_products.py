"""Products of any shape on any core: the same numbers, by the schedule that is meant for them."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_convolutions import convolutions

from tapeout.lowering.canonical import canonical

import kernels
import support
from kernels import CORES
from workloads import Others

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone", "threads_share_whatever_they_can")


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
