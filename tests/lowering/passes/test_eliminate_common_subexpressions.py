from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import provenance
from tapeout.lowering.passes.eliminate_common_subexpressions import (
    EliminateCommonSubexpressions,
)

import support


def run(model: ir.Model) -> ir.Model:
    return EliminateCommonSubexpressions()(model).model


def test_merges_nodes_and_what_follows_from_them() -> None:
    model = support.from_text(
        """g (float[2,3] x, float[2,3] z) => (float[2,3] y) {
            a = Add(x, z)
            b = Add(z, x)
            c = Softmax<axis=1>(a)
            d = Softmax<axis=1>(b)
            y = Mul(c, d)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        "a = Add (x, z)\nc = Softmax <axis: int = 1> (a)\ny = Mul (c, c)"
    )
    assert provenance.origins(after.graph[0]) == ("a", "b")
    assert provenance.origins(after.graph[1]) == ("c", "d")
    assert not EliminateCommonSubexpressions()(after).modified


@pytest.mark.parametrize(
    "nodes",
    [
        "a = Sub(x, z) b = Sub(z, x)",
        "a = Softmax<axis=0>(x) b = Softmax<axis=1>(x)",
        "a = LeakyRelu<alpha=0.0>(x) b = LeakyRelu<alpha=-0.0>(x)",
        "a = Bernoulli(p) b = Bernoulli(p)",
        "a = RandomNormalLike(x) b = RandomNormalLike(x)",
        "a = Dropout(x, r, t) b = Dropout(x, r, t)",
        "a = Exp(x) b = Exp(z)",
    ],
)
def test_keeps(nodes: str) -> None:
    model = support.from_text(
        f"""g (float[2,3] x, float[2,3] z, bool t) => (float[2,3] y)
            <float[2,3] p = {{0.5,0.5,0.5,0.5,0.5,0.5}}, float r = {{0.5}}> {{
            {nodes}
            y = Mul(a, b)
        }}"""
    )
    assert not EliminateCommonSubexpressions()(model).modified


def test_merges_equal_constants_bit_by_bit() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] y) <float[2] u = {0, 1}, float[2] v = {0, 1},
            float[2] minus = {-0.0, 1}, float[1,2] row = {0, 1}> {
            a = Add(x, u)
            b = Add(x, v)
            c = Mul(a, minus)
            d = Mul(b, row)
            e = Flatten<axis=0>(d)
            s = Squeeze(e)
            y = Add(c, s)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert list(after.graph.initializers) == ["u", "minus", "row"]
    assert [node.op_type for node in after.graph][:2] == ["Add", "Mul"]


def test_constants_that_are_views_need_not_be_contiguous() -> None:
    model = support.from_text(
        """g (float[2,2] x) => (float[2,2] y)
            <float[2,2] u = {1,2,3,4}, float[2,2] v = {1,3,2,4}> {
            a = MatMul(x, u)
            b = MatMul(x, v)
            y = Add(a, b)
        }"""
    )
    turned = np.array([[1, 3], [2, 4]], np.float32).T
    model.graph.initializers["v"].const_value = ir.Tensor(turned, name="v")
    after = support.assert_same_numbers(model, run)
    assert list(after.graph.initializers) == ["u"]


def test_two_outputs_keep_their_names() -> None:
    model = support.from_text(
        """g (float[4] x) => (float[4] p, float[4] q, float[2] r) {
            p = Exp(x)
            q = Exp(x)
            h, i = Split<num_outputs=2>(x)
            r, k = Split<num_outputs=2>(x)
            u = Mul(h, i)
            w = Mul(i, k)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        "p = Exp (x)\nq = Identity (p)\n"
        "r, i = Split <num_outputs: int = 2> (x)\nu = Mul (r, i)\nw = Mul (i, i)"
    )
    assert not EliminateCommonSubexpressions()(after).modified


def test_the_bodies_of_control_flow_are_graphs_of_their_own() -> None:
    model = support.from_text(
        """g (bool c, float[2] x) => (float[2] y) {
            e = Exp(x)
            y = If (c) <
                then_branch = t () => (float[2] a) { b = Exp(x) d = Exp(x) a = Add(b, d) },
                else_branch = f () => (float[2] n) { n = Neg(e) }
            >
        }"""
    )
    after = support.assert_same_numbers(model, run)
    then = after.graph[-1].attributes["then_branch"].as_graph()
    assert [node.op_type for node in then] == ["Exp", "Add"]
