"""Values inside a model, one batch after the other."""

from __future__ import annotations

import numpy as np
import pytest

from tapeout.lowering.analysis.probe import Probe

import support

TEXT = "g (float[2,3] x) => (float[2,3] y) { a = Abs(x) b = Neg(a) y = Exp(b) }"


def _batches(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((2, 3)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_values_come_in_the_order_of_the_batches(count: int) -> None:
    batches = _batches(count)
    model = support.from_text(TEXT)
    found = list(Probe(model, ["b", "x", "y", "b"]).stream(batches))
    assert [list(values) for values in found] == [["b", "x", "y"]] * count
    for values, feeds in zip(found, batches, strict=True):
        np.testing.assert_array_equal(values["b"], -np.abs(feeds["x"]))
        assert values["x"] is feeds["x"]
        np.testing.assert_allclose(values["y"], np.exp(values["b"]), rtol=1e-6)


def test_the_model_is_not_changed() -> None:
    model = support.from_text(TEXT)
    before = support.body(model)
    Probe(model, ["a"])
    assert support.body(model) == before
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_inputs_alone_need_no_run() -> None:
    batches = _batches(1)
    assert Probe(support.from_text(TEXT), ["x"]).run(batches[0])["x"] is batches[0]["x"]


def test_unknown_values_are_refused() -> None:
    with pytest.raises(KeyError, match="nothing"):
        Probe(support.from_text(TEXT), ["a", "nothing"])


def test_an_early_end_leaves_nothing_running() -> None:
    stream = Probe(support.from_text(TEXT), ["a"]).stream(_batches(50))
    next(stream)
    stream.close()
    assert list(stream) == []
