from __future__ import annotations

from typing import Any

import litert
import numpy as np
import pytest

import kernels

RNG = np.random.default_rng(0)

CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((1, 3, 4, 5), (3, 2, 3, 3), {}),
    "strided": ((2, 3, 4, 5), (3, 2, 2, 2), {"strides": [2, 2]}),
    "cut": ((1, 3, 4, 5), (3, 2, 3, 4), {"strides": [2, 2], "pads": [1, 0, 1, 2]}),
    "padded": ((1, 3, 4, 5), (3, 2, 3, 3), {"strides": [2, 2], "output_padding": [1, 1]}),
    "cut and padded": (
        (1, 3, 4, 4),
        (3, 2, 3, 3),
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    "dilated": ((1, 3, 4, 5), (3, 2, 3, 3), {"dilations": [2, 3]}),
    "grouped": ((1, 4, 4, 5), (4, 3, 3, 3), {"group": 2, "strides": [2, 1]}),
    "by channel": ((1, 3, 4, 4), (3, 1, 4, 4), {"group": 3, "strides": [2, 2], "pads": [1] * 4}),
    "a shape": ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "output_shape": [8, 9]}),
    "signal": ((2, 3, 5), (3, 2, 4), {"strides": [2], "pads": [1, 0]}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("biased", [False, True])
def test_transposed_convolutions(name: str, biased: bool) -> None:
    shape, kernel, attributes = CASES[name]
    many = kernels.Collection()
    weights = RNG.standard_normal(kernel).astype(np.float32)
    outputs = kernel[1] * attributes.get("group", 1)
    bias = RNG.standard_normal(outputs).astype(np.float32)
    x = many.input(RNG.standard_normal(shape).astype(np.float32))
    given = [weights, bias] if biased else [weights]
    many.add("ConvTranspose", [x, *map(many.constant, given)], **attributes)
    many.add("ConvTranspose", [x, *map(many.input, given)], **attributes)
    litert.assert_same(many.model(), many.inputs)
