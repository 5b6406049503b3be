"""Kernels over rows of any length on any core: the same numbers, by the schedule made for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import kernels
import support
from kernels import CORES

#: (node, shapes of further inputs by how long a row is); `[x]` stands for the shape.
NODES = {
    "softmax": "y = Softmax<axis=-1>(x)",
    "layer": "y = LayerNormalization<axis=-1>(x, s, b)",
    "layer, then more": "n = LayerNormalization<axis=-1>(x, s, b) r = Relu(n) y = Add(r, x)",
    "no bias": "y = LayerNormalization<axis=-1>(x, s)",
    "largest": "m = ReduceMax(x, axes) y = Sub(x, m)",
    "smallest": "m = ReduceMin(x, axes) y = Sub(x, m)",
    "mean": "m = ReduceMean(x, axes) y = Sub(x, m)",
}


pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone")


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    outer=st.lists(st.integers(1, 4), max_size=3),
    count=st.integers(1, 300),
    what=st.sampled_from(list(NODES)),
)
@example(outer=[3], count=197, what="softmax")
@example(outer=[3], count=194, what="layer")
def test_rows_of_any_length(name: str, outer: list[int], count: int, what: str) -> None:
    shape = ",".join(map(str, (*outer, count)))
    rng = np.random.default_rng(0)
    text = NODES[what]
    vectors = {tensor: rng.standard_normal(count).astype(np.float32) for tensor in "sb"}
    constants = {t: vectors[t] for t in "sb" if f", {t}" in text}
    if "axes" in text:
        constants["axes"] = np.array([-1], np.int64)
    others = "".join(
        f", {'int64' if t == 'axes' else 'float'}[{array.size}] {t}"
        for t, array in constants.items()
    )
    model = support.from_text(
        f"g (float[{shape}] x{others}) => (float[{shape}] y) {{ {text} }}", **constants
    )
    kernels.assert_same(model, scheduled_for=CORES[name])


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize(
    "node", ["InstanceNormalization(x, s, b)", "GroupNormalization<num_groups=3>(x, s, b)"]
)
def test_normalizations_of_several_axes(name: str, node: str) -> None:
    rng = np.random.default_rng(0)
    s, b = (rng.standard_normal(6).astype(np.float32) for _ in range(2))
    model = support.from_text(
        f"g (float[2,6,5,7] x, float[6] s, float[6] b) => (float[2,6,5,7] y) {{ y = {node} }}",
        s=s,
        b=b,
    )
    kernels.assert_same(model, scheduled_for=CORES[name])


def test_a_row_of_infinities_and_of_what_is_no_number() -> None:
    """The largest of minus infinities is one; a softmax of what is no number is none."""
    x = np.zeros((4, 100), np.float32)
    x[0], x[1, 7], x[2, 50] = -np.inf, np.inf, -np.inf
    model = support.from_text(
        "g (float[4,100] x, int64[1] axes) => (float[4,1] y) { y = ReduceMax(x, axes) }",
        axes=np.array([1], np.int64),
    )
    kernels.assert_same(model, {"x": x})
    softmax = support.from_text("g (float[4,100] x) => (float[4,100] y) { y = Softmax(x) }")
    kernels.assert_same(softmax, {"x": x})
