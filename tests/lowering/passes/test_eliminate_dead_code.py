from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from tapeout.lowering.passes.eliminate_dead_code import EliminateDeadCode

import support


def run(model: ir.Model) -> ir.Model:
    return EliminateDeadCode()(model).model


def test_removes_a_chain_and_its_constants() -> None:
    model = support.from_text(
        """g (float[2,3] x, float[2,3] unused) => (float[2,3] y) <float[3] w = {1,2,3}> {
            a = Add(x, w)
            b = Exp(a)
            y = Relu(x)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Relu (x)"
    assert not after.graph.initializers
    assert [value.name for value in after.graph.inputs] == ["x", "unused"]
    assert "tapeout" not in after.opset_imports
    assert not EliminateDeadCode()(after).modified


def test_removes_an_optional_output() -> None:
    model = support.from_text(
        """g (float[1,2,4,4] x) => (float[1,2,2,2] y) {
            y, indices = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        "y = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (x)"
    )


def test_removes_functions_that_nothing_calls() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] y) { y = Relu(x) }
        <domain: "tapeout", opset_import: ["" : 26]> Twice (a) => (b) { b = Add(a, a) }"""
    )
    result = EliminateDeadCode()(model)
    assert result.modified
    assert not result.model.functions


def test_cleans_the_bodies_of_control_flow() -> None:
    model = support.from_text(
        """g (bool c, float[2] x) => (float[2] y) {
            y = If (c) <
                then_branch = t () => (float[2] a) <float[2] w = {1, 2}> {
                    b = Add(x, w)
                    a = Exp(x)
                },
                else_branch = e () => (float[2] d) { d = Neg(x) }
            >
        }"""
    )
    result = EliminateDeadCode()(model)
    assert result.modified
    then = next(iter(result.model.graph)).attributes["then_branch"].as_graph()
    assert [node.op_type for node in then] == ["Exp"]
    assert not then.initializers
    assert not EliminateDeadCode()(result.model).modified
    common.CheckerPass()(result.model)
