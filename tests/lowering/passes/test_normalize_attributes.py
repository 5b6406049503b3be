from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering import dialect
from tapeout.lowering.passes.normalize_attributes import NormalizeAttributes

import support


def run(model: ir.Model) -> ir.Model:
    return NormalizeAttributes()(model).model


#: Node over x (float[2,3,4,5]), constants, shape of y, and the node that comes out.
NORMALIZED = {
    "softmax": ("Softmax(x)", "", "2,3,4,5", "Softmax <axis: int = 3> (x)"),
    "softmax, from the end": (
        "Softmax<axis=-3>(x)",
        "",
        "2,3,4,5",
        "Softmax <axis: int = 1> (x)",
    ),
    "concat": ("Concat<axis=-1>(x, x)", "", "2,3,4,10", "Concat <axis: int = 3> (x, x)"),
    "leaky relu": ("LeakyRelu<alpha=0.01>(x)", "", "2,3,4,5", "LeakyRelu (x)"),
    "leaky relu of another slope": (
        "LeakyRelu<alpha=0.02>(x)",
        "",
        "2,3,4,5",
        "LeakyRelu <alpha: float = 0.02> (x)",
    ),
    "transpose": ("Transpose(x)", "", "5,4,3,2", "Transpose <perm: ints = [3, 2, 1, 0]> (x)"),
    "pool": (
        'AveragePool<auto_pad="SAME_LOWER", kernel_shape=[2,2]>(x)',
        "",
        "2,3,4,5",
        "AveragePool <kernel_shape: ints = [2, 2], strides: ints = [1, 1], "
        "dilations: ints = [1, 1], ceil_mode: int = 0, pads: ints = [1, 1, 0, 0]> (x)",
    ),
    "pad": (
        "Pad(x, p, , a)",
        "int64[2] p = {1,2}, int64[1] a = {-1}",
        "2,3,4,8",
        'Pad (x, "y/input_1")',
    ),
    "pad with a number": (
        "Pad(x, p, v, a)",
        "int64[2] p = {1,2}, int64[1] a = {-1}, float v = {3}",
        "2,3,4,8",
        'Pad (x, "y/input_1", v)',
    ),
    "mean of everything": (
        "ReduceMean(x)",
        "",
        "1,1,1,1",
        'ReduceMean (x, "y/input_1")',
    ),
    "mean": (
        "ReduceMean(x, a)",
        "int64[2] a = {-1,1}",
        "2,1,4,1",
        'ReduceMean (x, "y/input_1")',
    ),
    "gather": (
        "Gather<axis=-2>(x, i)",
        "int64[3] i = {-1,0,-4}",
        "2,3,3,5",
        'Gather <axis: int = 2> (x, "y/input_1")',
    ),
    "slice": (
        "Slice(x, b, e)",
        "int64[2] b = {-1,0}, int64[2] e = {100,-1}",
        "1,2,4,5",
        'Slice (x, "y/input_1", "y/input_2", "y/input_3", "y/input_4")',
    ),
    "expand": (
        "Expand(x, s)",
        "int64[1] s = {1}",
        "2,3,4,5",
        'Expand (x, "y/input_1")',
    ),
    "cumulative sum": (
        "CumSum(x, a)",
        "int64 a = {-1}",
        "2,3,4,5",
        'CumSum (x, "y/input_1")',
    ),
    "resize": (
        'Resize<axes=[-2,-1], mode="nearest">(x, , s)',
        "float[2] s = {2,2}",
        "2,3,8,10",
        'Resize <axes: ints = [2, 3]> (x, "", s)',
    ),
    "a reduction that keeps its axes": (
        "ReduceMean<keepdims=1>(x, a)",
        "int64[1] a = {1}",
        "2,1,4,5",
        "ReduceMean (x, a)",
    ),
    "one hot": (
        "OneHot(t, d, v)",
        "int64[2,3,4] t = {0,1,2,0,1,2,0,1,2,0,1,2,0,1,2,0,1,2,0,1,2,0,1,2}, "
        "int64 d = {5}, float[2] v = {0,1}",
        "2,3,4,5",
        "OneHot <axis: int = 3> (t, d, v)",
    ),
}


@pytest.mark.parametrize("name", NORMALIZED)
def test_says_every_parameter(name: str) -> None:
    node, constants, shape, wanted = NORMALIZED[name]
    model = support.from_text(
        f"g (float[2,3,4,5] x) => (float[{shape}] y, float[2,3,4,5] z)"
        f" <{constants}> {{ z = Neg(x) y = {node} }}"
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after).splitlines()[1] == f"y = {wanted}"
    assert dialect.check(after, "canonical") == []
    assert not NormalizeAttributes()(after).modified


def test_equal_parts_are_listed() -> None:
    model = support.from_text(
        """g (float[2,5] x) => (float[2,2] a, float[2,2] b, float[2,1] c) {
            [cut] a, b, c = Split<axis=-1, num_outputs=3>(x)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == 'a, b, c = Split <axis: int = 1> (x, "cut/input_1")'
    sizes = after.graph.initializers["cut/input_1"].const_value
    assert sizes.numpy().tolist() == [2, 2, 1]


def test_absent_inputs_at_the_end_go() -> None:
    model = support.from_text(
        "g (float[2,3] x) => (float[2,3] y) <float l = {0}> { y = Clip(x, l, ) }"
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Clip (x, l)"


def test_unused_outputs_at_the_end_go() -> None:
    model = support.from_text(
        """g (float[2,3,4] x, float[4] s) => (float[2,3,4] y) {
            y, mean, deviation = LayerNormalization(x, s)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert len(after.graph[0].outputs) == 1


def test_computed_parameters_stay() -> None:
    model = support.from_text(
        """g (float[2,3] x, int64[1] a, int64[1] b) => (float[n,m] y) {
            y = Slice(x, a, b, b)
        }"""
    )
    before = support.body(model)
    assert support.body(run(model)) == before


@settings(max_examples=100)
@given(
    size=st.integers(1, 5),
    start=st.integers(-7, 7),
    end=st.integers(-7, 7),
    step=st.sampled_from([-3, -2, -1, 1, 2, 3]),
)
def test_slices(size: int, start: int, end: int, step: int) -> None:
    model = support.from_text(
        f"""g (float[2,{size}] x) => (float[2,n] y)
            <int64[1] b = {{{start}}}, int64[1] e = {{{end}}}, int64[1] a = {{-1}},
             int64[1] s = {{{step}}}> {{ y = Slice(x, b, e, a, s) }}"""
    )
    after = support.assert_same_numbers(model, run)
    node = after.graph[0]
    given_start, given_end = (
        int(value.const_value.numpy()[0]) for value in node.inputs[1:3] if value is not None
    )
    assert 0 <= given_start <= size
    assert 0 <= given_end <= size or (step < 0 and given_end == -size - 1)
    assert not NormalizeAttributes()(after).modified


def test_weights_are_not_copied() -> None:
    weight = np.ones((4, 3, 3, 3), np.float32)
    model = support.from_text(
        "g (float[1,3,5,5] x, float[4,3,3,3] w) => (float[1,4,3,3] y) { y = Conv(x, w) }", w=weight
    )
    after = run(model)
    assert after.graph.initializers["w"].const_value.raw is weight
