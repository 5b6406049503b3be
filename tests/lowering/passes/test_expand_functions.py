from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.lowering import provenance
from tapeout.lowering.passes.expand_functions import ExpandFunctions

import support


def run(model: ir.Model) -> ir.Model:
    return ExpandFunctions()(model).model


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def test_what_follows_from_shapes_and_attributes_is_computed() -> None:
    model = support.from_text(
        """g (float[2,5,4] x, int64[2] size) => (float[2,3,6] y) {
            [fit] y = CenterCropPad <axes = [1, 2]> (x, size)
        }""",
        size=np.array([3, 6]),
    )
    after = support.assert_same_numbers(model, run)
    assert operators(after) == ["Pad", "Slice"]
    assert all(provenance.origins(node) == ("fit",) for node in after.graph)
    onnx.checker.check_model(ir.to_proto(after), full_check=True)


def test_a_definition_that_uses_another_is_followed_to_the_end() -> None:
    model = support.from_text(
        """g (float[3,5] x, int64[3] t) => (float y, float[3,5] p) {
            y, p = SoftmaxCrossEntropyLoss <reduction = "mean", ignore_index = -1> (x, t)
        }"""
    )
    feeds = support.random_feeds(model) | {"t": np.array([0, 4, -1])}
    after = support.assert_same_numbers(model, run, feeds)
    assert not {"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"} & set(operators(after))
    assert [value.name for value in after.graph.outputs] == ["y", "p"]


def test_an_output_that_nobody_reads_costs_nothing() -> None:
    model = support.from_text(
        """g (float[3,5] x, int64[3] t) => (float[3,5] q) {
            y, p = SoftmaxCrossEntropyLoss (x, t)
            q = Exp(p)
        }"""
    )
    feeds = support.random_feeds(model) | {"t": np.array([0, 4, 1])}
    after = support.assert_same_numbers(model, run, feeds)
    assert "ReduceMean" not in operators(after)


ATTENTION = """g (float[1,6,16] q, float[1,9,8] k, float[1,9,8] v) => (float[1,6,16] y) {
    [attend] y = Attention <q_num_heads = 4, kv_num_heads = 2, is_causal = %d> (q, k, v)
}"""


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_grouped_queries(causal: int) -> None:
    after = support.assert_same_numbers(support.from_text(ATTENTION % causal), run)
    assert operators(after).count("MatMul") == 2
    assert "Softmax" in operators(after)
    onnx.checker.check_model(ir.to_proto(after), full_check=True)


def test_only_the_operators_that_are_asked_for() -> None:
    model = support.from_text(
        """g (float[4] x) => (float[4] z) {
            y = HardSwish(x)
            z = Mish(y)
        }"""
    )
    after = support.assert_same_numbers(model, lambda m: ExpandFunctions("Mish")(m).model)
    assert operators(after)[0] == "HardSwish"
    assert "Mish" not in operators(after)
    assert not ExpandFunctions("Mish")(after).modified


def test_an_operator_that_is_not_a_function_stays() -> None:
    model = support.from_text("g (float[4] x) => (float[4] y) { y = Exp(x) }")
    assert not ExpandFunctions("Exp")(model).modified
