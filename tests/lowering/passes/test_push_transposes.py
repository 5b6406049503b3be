from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from tapeout.lowering import dialect
from tapeout.lowering.layouts import keeps_order, permutation
from tapeout.lowering.matching import shape_of
from tapeout.lowering.passes.push_transposes import PushTransposes

import random_graphs
import support


def run(model: ir.Model) -> ir.Model:
    return PushTransposes()(model).model


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


#: Operators that read x (float[1,4,2,6], stored channels-last), with the constants they need and
#: the shape they give. Each can work channels-last, so no transpose is left around it.
FLEXIBLE = {
    "unary": ("Exp(x)", "", "1,4,2,6"),
    "clip": ("Clip(x, l)", "float l = {0.0}", "1,4,2,6"),
    "cast": ("Cast<to=1>(x)", "", "1,4,2,6"),
    "add a channel vector": ("Add(x, c)", "float[4,1,1] c = {1,2,3,4}", "1,4,2,6"),
    "subtract from a row": ("Sub(r, x)", "float[6] r = {1,2,3,4,5,6}", "1,4,2,6"),
    "multiply by a scalar": ("Mul(s, x)", "float s = {3.0}", "1,4,2,6"),
    "prelu": ("PRelu(x, c)", "float[4,1,1] c = {1,2,3,4}", "1,4,2,6"),
    "square": ("Mul(x, x)", "", "1,4,2,6"),
    "softmax over channels": ("Softmax<axis=1>(x)", "", "1,4,2,6"),
    "softmax over the last": ("Softmax(x)", "", "1,4,2,6"),
    "log softmax": ("LogSoftmax<axis=-3>(x)", "", "1,4,2,6"),
    "lp normalization": ("LpNormalization<axis=1>(x)", "", "1,4,2,6"),
    "concat": ("Concat<axis=1>(x, x)", "", "1,8,2,6"),
    "concat with a constant": (
        "Concat<axis=2>(x, k)",
        "float[1,4,1,6] k = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24}",
        "1,4,3,6",
    ),
    "pad": ("Pad(x, p)", "int64[8] p = {0,1,0,2,0,0,1,0}", "1,5,3,8"),
    "pad some axes": ("Pad(x, p, , a)", "int64[2] p = {1,2}, int64[1] a = {-1}", "1,4,2,9"),
    "reflect": ('Pad<mode="reflect">(x, p)', "int64[8] p = {0,1,1,2,0,0,1,0}", "1,5,4,8"),
    "slice": (
        "Slice(x, b, e, a, s)",
        "int64[2] b = {1,5}, int64[2] e = {9,0}, int64[2] a = {1,-1}, int64[2] s = {2,-2}",
        "1,2,2,3",
    ),
    "slice the first axes": ("Slice(x, b, e)", "int64[2] b = {0,1}, int64[2] e = {1,3}", "1,2,2,6"),
    "resize nearest": (
        'Resize<mode="nearest">(x, , s)',
        "float[4] s = {1,1,2,2}",
        "1,4,4,12",
    ),
    "resize linear": (
        'Resize<mode="linear">(x, , , s)',
        "int64[4] s = {1,4,5,9}",
        "1,4,5,9",
    ),
    "resize some axes": (
        'Resize<mode="nearest", axes=[2,3]>(x, , s)',
        "float[2] s = {2,1}",
        "1,4,4,6",
    ),
    "tile": ("Tile(x, r)", "int64[4] r = {1,2,1,3}", "1,8,2,18"),
    "expand": ("Expand(x, r)", "int64[4] r = {2,4,1,6}", "2,4,2,6"),
    "cumulative sum": ("CumSum(x, a)", "int64 a = {1}", "1,4,2,6"),
    "gather several": ("Gather<axis=1>(x, i)", "int64[3] i = {3,0,1}", "1,3,2,6"),
    "gather elements": (
        "GatherElements<axis=2>(x, i)",
        "int64[1,1,1,6] i = {1,0,1,0,1,0}",
        "1,1,1,6",
    ),
    "arg max": ("ArgMax<axis=1>(x)", "", "1,1,2,6"),
    "hardmax": ("Hardmax<axis=1>(x)", "", "1,4,2,6"),
    "reduce, keeping axes": ("ReduceMax(x, a)", "int64[1] a = {1}", "1,1,2,6"),
    "reduce everything": ("ReduceSum(x)", "", "1,1,1,1"),
    "where": (
        "Where(m, x, s)",
        "float s = {0.0}, bool[2,6] m = {1,0,1,0,1,0,1,0,1,0,1,1}",
        "1,4,2,6",
    ),
    "identity": ("Identity(x)", "", "1,4,2,6"),
    "quantize per channel": (
        "QuantizeLinear<axis=1>(x, q)",
        "float[4] q = {0.1,0.2,0.3,0.4}",
        "1,4,2,6",
    ),
}


@pytest.mark.parametrize("name", FLEXIBLE)
def test_operator_works_in_another_layout(name: str) -> None:
    node, constants, shape = FLEXIBLE[name]
    sizes = [int(size) for size in shape.split(",")]
    stored = ",".join(str(sizes[axis]) for axis in (0, 2, 3, 1))
    dtype = {"arg max": "int64", "quantize per channel": "uint8"}.get(name, "float")
    model = support.from_text(
        f"""g (float[1,2,6,4] i0) => ({dtype}[{stored}] y) <{constants}> {{
            x = Transpose<perm=[0,3,1,2]>(i0)
            r0 = {node}
            y = Transpose<perm=[0,2,3,1]>(r0)
        }}"""
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after)["Transpose"] == 0
    assert dialect.check(after) == []
    assert not PushTransposes()(after).modified


#: Operators that give fewer axes: no transpose is left where they take away the axes that moved.
REDUCING = {
    "mean over space": ("ReduceMean<keepdims=0>(x, a)", "int64[2] a = {2,3}", "float[1,4]"),
    "sum over channels": ("ReduceSum<keepdims=0>(x, a)", "int64[1] a = {-3}", "float[1,2,6]"),
    "arg max": ("ArgMax<axis=1, keepdims=0>(x)", "", "int64[1,2,6]"),
    "gather one": ("Gather<axis=1>(x, i)", "int64 i = {2}", "float[1,2,6]"),
    "sum of everything": ("ReduceSum<keepdims=0>(x)", "", "float"),
}


@pytest.mark.parametrize("name", REDUCING)
def test_operator_that_takes_axes_away(name: str) -> None:
    node, constants, result = REDUCING[name]
    model = support.from_text(
        f"""g (float[1,2,6,4] i0) => ({result} y) <{constants}> {{
            x = Transpose<perm=[0,3,1,2]>(i0)
            y = {node}
        }}"""
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after)["Transpose"] == 0


#: Operators that cannot work channels-last, whatever they give.
RIGID = {
    "cubic resize": ('Resize<mode="cubic">(x, , s)', "float[4] s = {1,1,2,2}", "1,4,4,12"),
    "depth to space": ("DepthToSpace<blocksize=2>(x)", "", "1,1,4,12"),
    "a reshape that mixes axes": ("Reshape(x, s)", "int64[2] s = {4,12}", "4,12"),
    "layer norm over space": (
        "LayerNormalization<axis=-1>(x, n)",
        "float[6] n = {1,2,3,4,5,6}",
        "1,4,2,6",
    ),
}


@pytest.mark.parametrize("name", RIGID)
def test_operator_that_keeps_its_layout(name: str) -> None:
    node, constants, shape = RIGID[name]
    model = support.from_text(
        f"""g (float[1,2,6,4] i0) => (float[{shape}] y) <{constants}> {{
            x = Transpose<perm=[0,3,1,2]>(i0)
            y = {node}
        }}"""
    )
    before = support.body(model)
    after = support.assert_same_numbers(model, run)
    if name != "a reshape that mixes axes":
        assert support.body(after) == before
    assert operators(after)["Transpose"] == 1


def test_computed_parameters_keep_the_layout() -> None:
    model = support.from_text(
        """g (float[1,2,6,4] i0, int64[8] p) => (float[1,4,2,6] y) {
            x = Transpose<perm=[0,3,1,2]>(i0)
            y = Pad(x, p)
        }"""
    )
    assert not PushTransposes()(model).modified


def test_residual_block_ends_without_transposes() -> None:
    model = support.from_text(
        """g (float[1,8,8,3] i0) => (float[1,8,8,3] y) <float[3,1,1] c = {1,2,3}> {
            x = Transpose<perm=[0,3,1,2]>(i0)
            a = Relu(x)
            b = HardSigmoid(a)
            h = Mul(a, b)
            s = Add(h, c)
            t = Add(s, x)
            y = Transpose<perm=[0,2,3,1]>(t)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "\n".join(
        [
            "a = Relu (i0)",
            "b = HardSigmoid (a)",
            "h = Mul (a, b)",
            's = Add (h, "s/transposed")',
            "y = Add (s, i0)",
        ]
    )
    assert after.graph.initializers["s/transposed"].shape == (3,)


def test_split_and_its_parts() -> None:
    model = support.from_text(
        """g (float[1,2,2,6] i0) => (float[1,2,2,6] y) {
            x = Transpose<perm=[0,3,1,2]>(i0)
            a, b = Split<axis=1, num_outputs=2>(x)
            c = Concat<axis=1>(b, a)
            y = Transpose<perm=[0,2,3,1]>(c)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after) == {"Split": 1, "Concat": 1}


def test_patch_embedding() -> None:
    """A reshape that merges height and width, between two transposes, needs neither."""
    model = support.from_text(
        """g (float[1,4,4,8] i0) => (float[1,16,8] y) <int64[3] s = {1,8,16}> {
            x = Transpose<perm=[0,3,1,2]>(i0)
            tokens = Reshape(x, s)
            turned = Transpose<perm=[0,2,1]>(tokens)
            y = Exp(turned)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after) == {"Reshape": 1, "Exp": 1}


def test_channel_shuffle_keeps_one() -> None:
    model = support.from_text(
        """g (float[1,4,5,6] i0) => (float[1,4,5,6] y)
            <int64[5] s = {1,2,3,4,5}, int64[4] t = {1,6,4,5}> {
            x = Transpose<perm=[0,3,1,2]>(i0)
            a = Reshape(x, s)
            b = Transpose<perm=[0,2,1,3,4]>(a)
            c = Reshape(b, t)
            y = Transpose<perm=[0,2,3,1]>(c)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after) == {"Reshape": 2, "Transpose": 1}


def test_transposes_where_there_is_least_to_move() -> None:
    """Enlarging comes after the transpose, and bytes are turned before they become floats."""
    model = support.from_text(
        """g (uint8[1,4,4,64] i0) => (float[1,64,32,32] y) <float[4] s = {1,1,8,8}> {
            x = Cast<to=1>(i0)
            e = Exp(x)
            t = Transpose<perm=[0,3,1,2]>(e)
            y = Resize<mode="nearest">(t, , s)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert (
        support.body(after).splitlines()[0]
        == '"x/transpose" = Transpose <perm: ints = [0, 3, 1, 2]> (i0)'
    )
    assert operators(after)["Transpose"] == 1


def test_equal_cost_moves_later() -> None:
    model = support.from_text(
        """g (float[1,4,4,64] x) => (float[1,64,4,4] y) {
            a = Transpose<perm=[0,3,1,2]>(x)
            b = Exp(a)
            y = Neg(b)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Exp", "Neg", "Transpose"]
    assert after.graph.outputs[0].name == "y"


def test_outputs_inside_keep_their_layout_and_name() -> None:
    model = support.from_text(
        """g (float[1,4,4,64] x) => (float[1,64,4,4] b, float[1,4,4,64] y) {
            a = Transpose<perm=[0,3,1,2]>(x)
            b = Exp(a)
            c = Neg(b)
            y = Transpose<perm=[0,2,3,1]>(c)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after) == {"Exp": 1, "Neg": 1, "Transpose": 1}


def test_transpose_of_no_use_to_anyone_stays() -> None:
    model = support.from_text(
        """g (float[2,3,4,5] x, float[2,4,5,3] z, float[5,6] m)
            => (float[2,4,3,6] y, float[2,3,4,5] w) {
            a = Transpose<perm=[0,2,1,3]>(x)
            y = MatMul(a, m)
            b = Transpose<perm=[0,3,1,2]>(z)
            c = Neg(b)
            w = Add(c, x)
        }""",
        m=np.ones((5, 6), np.float32),
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after)["Transpose"] == 2


def moved(model: ir.Model) -> tuple[int, int]:
    """Return how many transposes move data, and how many elements."""
    found = []
    for node in model.graph:
        layout, shape = permutation(node), shape_of(node.inputs[0])
        if layout is not None and shape is not None and not keeps_order(shape, layout):
            found.append(math.prod(shape))
    return len(found), sum(found)


@settings(deadline=None, max_examples=100)
@given(model=random_graphs.models())
def test_never_worse_and_the_same_numbers(model: ir.Model) -> None:
    count, size = moved(model)
    after = support.assert_same_numbers(model, run)
    assert dialect.check(after) == []
    now_count, now_size = moved(after)
    assert now_count <= count
    assert now_size <= size
    assert not PushTransposes()(after).modified
