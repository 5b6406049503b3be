"""RNN, GRU and LSTM, unrolled, by LiteRT."""

from __future__ import annotations

import litert
import numpy as np
import onnx_ir as ir
import pytest
from recurrent import BOTH, CASES, Case

from tapeout.targets.tflite.constraints import check

import support


@pytest.mark.parametrize(
    "name",
    [
        "rnn, both ways, of other activations",
        "gru, both ways, reset late, clipped",
        "gru, hard",
        "lstm, both ways, of lengths",
    ],
)
def test_every_step_is_an_operator_of_its_own(name: str) -> None:
    operators = litert.assert_same(CASES[name].model())
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in operators


def test_lengths_may_be_computed() -> None:
    model = Case("LSTM", BOTH, lengths=(3, 1, 4)).model(computed=True)
    feeds = {**support.random_feeds(model), "L": np.array([3, 1, 4], np.int32)}
    litert.assert_same(model, feeds)


def test_a_plain_step_is_a_dozen_operators() -> None:
    short, long = (litert.assert_same(Case("LSTM", steps=steps).model()) for steps in (2, 12))
    assert len(long) - len(short) == 120


def test_what_becomes_too_long_is_named_with_the_fix() -> None:
    lowered = litert.PIPELINE.run(Case("LSTM", BOTH, steps=1000).model())
    [problem] = check(lowered)
    assert problem.where == "node 'Y' (LSTM)"
    assert problem.what == "1000 steps make up to 52000 operators, and 20000 are the most"
    assert problem.fix.startswith("Steps are unrolled: run a long sequence in pieces")


def test_activations_that_onnx_does_not_know_are_named() -> None:
    model = Case("RNN").model()
    model.graph[0].attributes.add(ir.AttrStrings("activations", ["Exp"]))
    [problem] = check(litert.PIPELINE.run(model))
    assert problem.what == "activations 'Exp'"
