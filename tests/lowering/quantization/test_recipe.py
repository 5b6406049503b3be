"""A recipe's digest: the same for the same decisions, another for any other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.quantization.parameters import Parameters, of_range, of_weights
from tapeout.lowering.quantization.recipe import Recipe, Weights
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme

INT8 = SCHEMES["int8"]
assert isinstance(INT8, Scheme)


def recipe() -> Recipe:
    weights = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)
    found = of_weights(weights, 0, INT8)
    return Recipe(
        scheme=INT8,
        activations={"x": of_range(0, 1, INT8), "y": of_range(-1, 3, INT8)},
        weights={"fc": Weights(found.integers(weights), found, np.ones(3, np.float32))},
        kept={"softmax": "is sensitive"},
    )


def test_digest_is_of_what_the_recipe_says() -> None:
    first, second = recipe(), recipe()
    assert len(first.digest) == 64
    assert first.digest == second.digest
    turned = dict(reversed(first.activations.items()))
    assert dataclasses.replace(first, activations=turned).digest == first.digest


def _weights(change: Callable[[Weights], Weights]) -> Callable[[Recipe], Recipe]:
    return lambda it: dataclasses.replace(it, weights={"fc": change(it.weights["fc"])})


def _parameters(**changes: object) -> Callable[[Recipe], Recipe]:
    def change(it: Recipe) -> Recipe:
        x: Parameters = dataclasses.replace(it.activations["x"], **changes)
        return dataclasses.replace(it, activations={**it.activations, "x": x})

    return change


CHANGES: dict[str, Callable[[Recipe], Recipe]] = {
    "scheme": lambda it: dataclasses.replace(it, scheme=SCHEMES["tensorrt"]),
    "kept": lambda it: dataclasses.replace(it, kept={}),
    "reason": lambda it: dataclasses.replace(it, kept={"softmax": "is not supported"}),
    "name": lambda it: dataclasses.replace(
        it, activations={"z": it.activations["x"], "y": it.activations["y"]}
    ),
    "scale": _parameters(scale=np.array(0.5, np.float32)),
    "zero point": _parameters(zero_point=np.array(3, np.int8)),
    "dtype": _parameters(dtype=ir.DataType.UINT8),
    "narrow": _parameters(narrow=True),
    "integers": _weights(lambda it: dataclasses.replace(it, integers=it.integers[::-1])),
    "shape": _weights(lambda it: dataclasses.replace(it, integers=it.integers.reshape(4, 3))),
    "bias": _weights(lambda it: dataclasses.replace(it, bias=np.zeros(3, np.float32))),
    "no bias": _weights(lambda it: dataclasses.replace(it, bias=None)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_digest_tells_every_decision(change: Callable[[Recipe], Recipe]) -> None:
    assert change(recipe()).digest != recipe().digest
