from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from recurrent import BOTH, CASES, GATES, Case

from tapeout.lowering import dialect
from tapeout.lowering.passes.unroll_recurrent import UnrollRecurrent
from tapeout.lowering.reference import Reference

import support


def run(model: ir.Model) -> ir.Model:
    after = UnrollRecurrent()(model).model
    assert not {node.op_type for node in after.graph} & GATES.keys()
    assert dialect.check(after) == []
    return after


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_those_of_the_operator(name: str) -> None:
    support.assert_same_numbers(CASES[name].model(), run)


@pytest.mark.parametrize("name", ["gru, both ways, of lengths", "lstm, both ways, of lengths"])
def test_weights_and_lengths_may_be_computed(name: str) -> None:
    model = CASES[name].model(computed=True)
    feeds: dict[str, Any] = {**support.random_feeds(model), "L": np.array([3, 1, 4], np.int32)}
    support.assert_same_numbers(model, run, feeds)


@pytest.mark.parametrize("operator", GATES)
def test_the_batch_may_come_first(operator: str) -> None:
    """ONNX Runtime has only the other layout."""
    inputs = "BHC" if operator == "LSTM" else "BH"
    first = run(Case(operator, f"layout=1, {BOTH}", inputs).model(computed=True))
    second = Case(operator, BOTH, inputs).model(computed=True)
    feeds = support.random_feeds(second)
    turned = {
        name: array.swapaxes(0, 1) if name in "xHC" else array for name, array in feeds.items()
    }
    found = Reference(first).run(turned)
    for name, wanted in Reference(second).run(feeds).items():
        perm = (2, 0, 1, 3) if name == "Y" else (1, 0, 2)
        support.assert_close(found[name], wanted.transpose(perm), 1e-5, name)


def test_outputs_that_nobody_reads_are_not_made() -> None:
    model = Case("LSTM").model()
    outputs = model.graph.outputs
    outputs[:] = [value for value in outputs if value.name == "Yh"]
    after = run(model)
    assert [node.op_type for node in after.graph].count("Concat") == 0
    assert after.graph.outputs[0].name == "Yh"


def test_what_is_too_long_or_unknown_stays() -> None:
    model = Case("GRU").model()
    assert not UnrollRecurrent(limit=71)(model).modified
    assert UnrollRecurrent(limit=72)(model).modified


@pytest.mark.parametrize("name", CASES)
def test_where_asked_only_what_is_uncommon_is_unrolled(name: str) -> None:
    modified = UnrollRecurrent(uncommon=True)(CASES[name].model()).modified
    words = ("other activations", "leaky", "hard", "of lengths")
    assert modified == any(word in name for word in words)
