"""What is found out once of a model."""

from __future__ import annotations

import gc
import weakref

import onnx_ir as ir

from tapeout.targets.memo import per_model

import support


def test_an_answer_is_found_once_and_does_not_keep_its_model() -> None:
    asked: list[str | None] = []

    @per_model
    def name(model: ir.Model) -> str | None:
        asked.append(model.graph.name)
        return model.graph.name

    model = support.from_text("m (float[1] x) => (float[1] y) { y = Relu(x) }")
    other = support.from_text("n (float[1] x) => (float[1] y) { y = Relu(x) }")
    assert [name(model), name(model), name(other), name(model)] == ["m", "m", "n", "m"]
    assert asked == ["m", "n"]
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
