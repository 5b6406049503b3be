from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import given, settings

from tapeout.lowering import dialect
from tapeout.lowering.passes.cancel_transposes import CancelTransposes

import random_graphs
import support


def run(model: ir.Model) -> ir.Model:
    return CancelTransposes()(model).model


def test_inverse_pair_vanishes() -> None:
    model = support.from_text(
        """g (float[2,3,4] x) => (float[2,3,4] y) {
            a = Transpose<perm=[2,0,1]>(x)
            b = Transpose<perm=[1,2,0]>(a)
            y = Exp(b)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Exp (x)"
    assert not CancelTransposes()(after).modified


def test_row_becomes_one() -> None:
    model = support.from_text(
        """g (float[2,3,4] x) => (float[3,2,4] y) {
            a = Transpose<perm=[2,0,1]>(x)
            y = Transpose(a)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Transpose <perm: ints = [1, 0, 2]> (x)"


def test_identity_vanishes() -> None:
    model = support.from_text(
        "g (float[2,3] x) => (float[2,3] y) { a = Transpose<perm=[0,1]>(x) y = Exp(a) }"
    )
    assert support.body(support.assert_same_numbers(model, run)) == "y = Exp (x)"


def test_other_uses_keep_their_transpose() -> None:
    model = support.from_text(
        """g (float[2,3,4] x) => (float[2,3,4] y, float[4,2,3] z, float[4,2,3] a) {
            a = Transpose<perm=[2,0,1]>(x)
            b = Transpose<perm=[1,2,0]>(a)
            y = Exp(b)
            z = Neg(a)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        "a = Transpose <perm: ints = [2, 0, 1]> (x)\ny = Exp (x)\nz = Neg (a)"
    )


def test_equal_ones_are_shared() -> None:
    model = support.from_text(
        """g (float[2,3] x) => (float[3,2] y) {
            a = Transpose(x)
            b = Transpose<perm=[1,0]>(x)
            y = Add(a, b)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "a = Transpose (x)\ny = Add (a, a)"


def test_outputs_of_the_graph_keep_their_names() -> None:
    model = support.from_text(
        """g (float[2,3] x) => (float[2,3] y, float[3,2] z, float[3,2] w) {
            a = Transpose(x)
            y = Transpose(a)
            z = Transpose(x)
            w = Exp(a)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "z = Transpose (x)\ny = Identity (x)\nw = Exp (z)"
    assert dialect.check(after) == []


def test_constant_is_transposed_now() -> None:
    model = support.from_text(
        """g (float[3,2] x, float[2,3] w) => (float[3,2] y) {
            a = Transpose<perm=[1,0]>(w)
            y = Add(x, a)
        }""",
        w=np.arange(6, dtype=np.float32).reshape(2, 3),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Add (x, a)"
    assert list(after.graph.initializers) == ["a"]


def test_axes_of_size_1_make_a_reshape() -> None:
    model = support.from_text(
        """g (float[1,1,8,8] x) => (float[1,8,8,1] y) {
            a = Transpose<perm=[0,2,3,1]>(x)
            y = Exp(a)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == ('a = Reshape (x, "a/shape")\ny = Exp (a)')
    assert not CancelTransposes()(after).modified


def test_flattened_pool_is_one_reshape() -> None:
    model = support.from_text(
        """g (float[1,1,1,8] x) => (float[1,8] y) <int64[2] s = {1,8}> {
            a = Transpose<perm=[0,3,1,2]>(x)
            b = Reshape(a, s)
            y = Exp(b)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "b = Reshape (x, s)\ny = Exp (b)"


def test_layouts_that_store_the_same_bytes_are_made_once() -> None:
    model = support.from_text(
        """g (float[1,4,5,6] x) => (float[1,5,6,4] y, float[5,6,4,1] z) {
            a = Transpose<perm=[0,2,3,1]>(x)
            y = Exp(a)
            b = Transpose<perm=[2,3,1,0]>(x)
            z = Exp(b)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Transpose", "Exp", "Reshape", "Exp"]
    assert after.graph[2].inputs[0] is after.graph[0].outputs[0]


def test_empty_and_scalar_tensors() -> None:
    model = support.from_text(
        """g (float[2,0,3] x, float s) => (float[3,0,2] y, float t) {
            y = Transpose(x)
            t = Transpose(s)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert dialect.check(after) == []


@settings(max_examples=60)
@given(model=random_graphs.models())
def test_same_numbers(model: ir.Model) -> None:
    after = support.assert_same_numbers(model, run)
    assert dialect.check(after) == []
    wrong = [
        problem for problem in dialect.check(after, "canonical") if "Transpose" in str(problem)
    ]
    assert [problem for problem in wrong if "perm = " not in problem.what] == []
    assert not CancelTransposes()(after).modified
