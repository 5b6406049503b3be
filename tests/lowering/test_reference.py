from __future__ import annotations

import numpy as np
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.reference import Reference

import support


def test_runs_a_model_and_a_file() -> None:
    model = support.from_text(
        "g (float[2] x) => (float[2] y, float[2] z) { y = Abs(x) z = Neg(x) }"
    )
    reference = Reference(model)
    assert (reference.inputs, reference.outputs) == (("x",), ("y", "z"))
    outputs = reference.run({"x": np.array([-1, 2], np.float32)})
    assert {name: array.tolist() for name, array in outputs.items()} == {"y": [1, 2], "z": [1, -2]}
    assert Reference(support.MODELS / "digits_cnn.onnx").inputs


@pytest.mark.parametrize("alpha", ["", "<alpha=1.5>"])
def test_runs_swish_and_leaves_the_model_as_it_is(alpha: str) -> None:
    model = support.from_text(f"g (float[5] x) => (float[5] y) {{ y = Swish{alpha}(x) }}")
    text = support.body(model)
    x = np.linspace(-4, 4, 5, dtype=np.float32)
    factor = 1.5 if alpha else 1.0
    actual = Reference(model).run({"x": x})["y"]
    np.testing.assert_allclose(actual, x / (1 + np.exp(-factor * x)), rtol=1e-5)
    assert support.body(model) == text
    assert not model.graph.initializers


def test_what_cannot_be_loaded_or_run_is_an_error_that_quotes_the_message() -> None:
    model = support.from_text(
        "g (double[1,1,3,3] x) => (double[1,1,1,1] y) { y = GlobalMaxPool(x) }"
    )
    with pytest.raises(ModelError, match="GlobalMaxPool"):
        Reference(model)
    reference = Reference(support.from_text("g (float[2] x) => (float[2] y) { y = Abs(x) }"))
    with pytest.raises(ModelError, match="cannot run"):
        reference.run({"x": np.zeros(3, np.float32)})
