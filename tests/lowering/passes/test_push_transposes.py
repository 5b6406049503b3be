from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from tapeout.lowering import dialect
from tapeout.lowering.layout.layouts import keeps_order, permutation
from tapeout.lowering.matching import shape_of
from tapeout.lowering.passes.push_transposes import PushTransposes

import layout_samples
import random_graphs
import support


def run(model: ir.Model) -> ir.Model:
    return PushTransposes()(model).model


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize("name", layout_samples.FLEXIBLE)
def test_operator_works_in_another_layout(name: str) -> None:
    node, constants, result = layout_samples.FLEXIBLE[name]
    dtype, _, sizes = result.strip("]").partition("[")
    batch, channels, height, width = sizes.split(",")
    model = support.from_text(
        f"""g (float[1,2,6,4] i0) => ({dtype}[{batch},{height},{width},{channels}] y)
            <{constants}> {{
            x = Transpose<perm=[0,3,1,2]>(i0)
            r0 = {node}
            y = Transpose<perm=[0,2,3,1]>(r0)
        }}"""
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after)["Transpose"] == 0
    assert dialect.check(after) == []
    assert not PushTransposes()(after).modified


@pytest.mark.parametrize("name", layout_samples.REDUCING)
def test_operator_that_takes_axes_away(name: str) -> None:
    node, constants, result = layout_samples.REDUCING[name]
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


@settings(max_examples=100)
@given(model=random_graphs.models())
def test_never_worse_and_the_same_numbers(model: ir.Model) -> None:
    count, size = moved(model)
    after = support.assert_same_numbers(model, run)
    assert dialect.check(after) == []
    now_count, now_size = moved(after)
    assert now_count <= count
    assert now_size <= size
    assert not PushTransposes()(after).modified
