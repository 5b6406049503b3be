from __future__ import annotations

import itertools

import numpy as np
import pytest
from recurrent import CASES

from tapeout.lowering.reference import Reference
from tapeout.targets.base import Plan, target_for

import kernels
import support

RNG = np.random.default_rng(0)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, WIDTH, HIDDEN = 3, 2, 3, 4


def draw(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) * 0.5).astype(np.float32)


def add(
    many: kernels.Collection,
    name: str,
    x: str,
    inputs: str,
    constant: bool = True,
    **attributes: object,
) -> None:
    """Add a cell; `inputs` says which optional ones it gets: bias, h, c, peepholes."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    width = GATES[name] * HIDDEN
    state = (BATCH, directions, HIDDEN) if attributes.get("layout") else (directions, BATCH, HIDDEN)
    arrays = {
        "bias": draw(directions, 2 * width),
        "lengths": np.full(BATCH, STEPS, np.int32),
        "h": draw(*state),
        "c": draw(*state),
        "peepholes": draw(directions, 3 * HIDDEN),
    }
    place = many.constant if constant else many.input
    given = [x, place(draw(directions, width, WIDTH)), place(draw(directions, width, HIDDEN))]
    given += [place(arrays[part]) if part in inputs.split() else "" for part in arrays]
    while not given[-1]:
        given.pop()
    if name != "LSTM":
        given = given[:6]
    many.add(name, given, outputs=3 if name == "LSTM" else 2, hidden_size=HIDDEN, **attributes)


@pytest.mark.parametrize("name", GATES)
def test_directions_and_initial_states(name: str) -> None:
    many = kernels.Collection()
    x = many.input(draw(STEPS, BATCH, WIDTH))
    for direction in ("forward", "reverse", "bidirectional"):
        for inputs in ("", "bias", "bias lengths h c"):
            add(many, name, x, inputs, direction=direction)
    many.assert_same()


@pytest.mark.parametrize("name", GATES)
def test_weights_that_are_data(name: str) -> None:
    many = kernels.Collection()
    x = many.input(draw(STEPS, BATCH, WIDTH))
    add(many, name, x, "bias h c peepholes" if name == "LSTM" else "bias h", constant=False)
    many.assert_same()


def test_reset_after_the_product() -> None:
    many = kernels.Collection()
    x = many.input(draw(STEPS, BATCH, WIDTH))
    for after, inputs in itertools.product((0, 1), ("", "bias h")):
        add(many, "GRU", x, inputs, linear_before_reset=after, direction="bidirectional")
    many.assert_same()


def test_peepholes_coupled_gates_and_bounds() -> None:
    many = kernels.Collection()
    x = many.input(draw(STEPS, BATCH, WIDTH) * 4)
    add(many, "LSTM", x, "bias h c peepholes", direction="bidirectional")
    add(many, "LSTM", x, "bias peepholes", input_forget=1)
    add(many, "LSTM", x, "bias", clip=0.3)
    add(many, "GRU", x, "bias", clip=0.3)
    many.assert_same()


def test_named_activations() -> None:
    many = kernels.Collection()
    x = many.input(draw(STEPS, BATCH, WIDTH))
    add(many, "RNN", x, "bias", activations=["Relu"])
    add(many, "RNN", x, "", activations=["Sigmoid", "Tanh"], direction="bidirectional")
    add(many, "LSTM", x, "bias", activations=["Sigmoid", "Relu", "Tanh"])
    many.assert_same()


@pytest.mark.parametrize("name", GATES)
def test_the_batch_first(name: str) -> None:
    """ONNX Runtime wants the steps first: the same network both ways."""
    first, second = (_run_with_layout(name, layout) for layout in (0, 1))
    np.testing.assert_allclose(second[0], first[0].transpose(2, 0, 1, 3), atol=1e-6)
    for left, right in zip(first[1:], second[1:], strict=True):
        np.testing.assert_allclose(right, left.transpose(1, 0, 2), atol=1e-6)


def _run_with_layout(name: str, layout: int) -> list[np.ndarray]:
    many = kernels.Collection()
    rng = np.random.default_rng(7)
    x = rng.standard_normal((STEPS, BATCH, WIDTH)).astype(np.float32)
    given = [many.input(x.transpose(1, 0, 2) if layout else x)]
    for size in (WIDTH, HIDDEN):
        weight = rng.standard_normal((2, GATES[name] * HIDDEN, size)).astype(np.float32)
        given.append(many.constant(weight))
    attributes = {"hidden_size": HIDDEN, "layout": layout, "direction": "bidirectional"}
    many.add(name, given, outputs=3 if name == "LSTM" else 2, **attributes)
    return list(kernels.run(many.model(), many.inputs).values())


@pytest.mark.parametrize("name", ["gru, both ways, of lengths", "gru, hard"])
def test_what_has_no_kernel_is_unrolled(name: str) -> None:
    model = CASES[name].model()
    pipeline = target_for("tvm").pipeline(kernels.host(), Plan("tvm", "fp32"))
    found = kernels.run(pipeline.run(model.clone()), support.random_feeds(model))
    for output, wanted in Reference(model).run(support.random_feeds(model)).items():
        support.assert_close(found[output], wanted, 1e-5, output)
