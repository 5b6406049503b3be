"""Convolutions and poolings, in ONNX's layout, through the whole way to TFLite."""

from __future__ import annotations

from typing import Any

import litert
import numpy as np
import pytest

import kernels

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def windowed(
    name: str, shape: tuple[int, ...], *weights: np.ndarray, **attributes: Any
) -> list[str]:
    many = kernels.Collection()
    x = many.input(draw(*shape))
    many.add(name, [x, *map(many.constant, weights)], **attributes)
    return litert.assert_same(many.model(), many.inputs)


CONVS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "valid": ((1, 3, 7, 8), (4, 3, 3, 2), {}),
    "same": ((2, 3, 7, 8), (4, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    "strided, padded evenly": (
        (1, 3, 8, 8),
        (4, 3, 3, 3),
        {"pads": [1, 1, 1, 1], "strides": [2, 2]},
    ),
    "SAME_UPPER": ((1, 3, 8, 8), (4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "SAME_LOWER": ((1, 3, 8, 8), (4, 3, 4, 4), {"auto_pad": "SAME_LOWER"}),
    "lopsided": ((1, 3, 8, 8), (4, 3, 3, 3), {"pads": [0, 1, 2, 3]}),
    "dilated": ((1, 3, 9, 9), (4, 3, 3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "pointwise": ((1, 3, 5, 5), (4, 3, 1, 1), {}),
    "grouped": ((1, 4, 6, 6), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ((1, 4, 6, 6), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "depthwise, multiplied": ((1, 3, 6, 6), (6, 1, 3, 3), {"group": 3, "strides": [2, 2]}),
    "depthwise, dilated": ((1, 4, 9, 9), (4, 1, 3, 3), {"group": 4, "dilations": [2, 2]}),
    "of one channel": ((1, 1, 6, 6), (4, 1, 3, 3), {}),
    "signal": ((2, 3, 9), (4, 3, 3), {"pads": [1, 1], "strides": [2]}),
    "dilated signal": ((1, 3, 9), (4, 3, 3), {"dilations": [2]}),
    "depthwise signal": ((1, 4, 9), (4, 1, 3), {"group": 4, "pads": [2, 0]}),
}


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("biased", [False, True])
def test_convolutions(name: str, biased: bool) -> None:
    shape, kernel, attributes = CONVS[name]
    bias = [draw(kernel[0])] if biased else []
    found = windowed("Conv", shape, draw(*kernel), *bias, **attributes)
    assert "DEPTHWISE_CONV_2D" in found or "CONV_2D" in found
    assert ("DEPTHWISE_CONV_2D" in found) == (kernel[1] == 1)


@pytest.mark.parametrize("name", ["valid", "depthwise", "signal"])
def test_weights_that_are_computed(name: str) -> None:
    shape, kernel, attributes = CONVS[name]
    many = kernels.Collection()
    given = [many.input(draw(*item)) for item in (shape, kernel, (kernel[0],))]
    many.add("Conv", given, **attributes)
    many.add("Conv", given[:2], **attributes)
    litert.assert_same(many.model(), many.inputs)


def test_pads_that_are_those_of_same_need_no_operator() -> None:
    assert "PAD" not in windowed("Conv", (1, 3, 7, 8), draw(4, 3, 3, 3), pads=[1, 1, 1, 1])


POOLS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "valid": ((1, 3, 8, 8), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "padded": ((1, 3, 7, 7), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "strided, padded": ((1, 3, 8, 8), {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}),
    "lopsided": ((1, 3, 8, 8), {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0]}),
    "rounded up": ((1, 3, 7, 7), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "rounded up, padded": (
        (1, 3, 8, 8),
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "pads": [0, 0, 1, 1]},
    ),
    "signal": ((1, 3, 9), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    "dilated": ((1, 3, 9, 9), {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 1, 2, 1]}),
    "dilated, strided": (
        (1, 3, 9, 9),
        {"kernel_shape": [2, 2], "dilations": [2, 2], "strides": [2, 3], "ceil_mode": 1},
    ),
    "dilated signal": ((1, 3, 9), {"kernel_shape": [3], "dilations": [2], "pads": [2, 1]}),
    "as large as the image": ((1, 1, 5, 5), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
}


@pytest.mark.parametrize("name", POOLS)
def test_poolings(name: str) -> None:
    shape, attributes = POOLS[name]
    windowed("MaxPool", shape, **attributes)
    for counted in (0, 1):
        windowed("AveragePool", shape, count_include_pad=counted, **attributes)


def test_the_padding_of_a_maximum_is_never_the_largest() -> None:
    many = kernels.Collection()
    x = many.input(-np.abs(draw(1, 2, 8, 8)) - 5)
    many.add("MaxPool", [x], kernel_shape=[3, 3], pads=[1, 1, 0, 0], strides=[2, 2])
    litert.assert_same(many.model(), many.inputs)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (1, 2, 8)])
def test_maxima_of_integers(dtype: type, shape: tuple[int, ...]) -> None:
    many, rank = kernels.Collection(), len(shape) - 2
    x = many.input(RNG.integers(0, 100, shape).astype(dtype))
    many.add("MaxPool", [x], kernel_shape=[3] * rank, pads=[1] * 2 * rank, strides=[2] * rank)
    litert.assert_same(many.model(), many.inputs)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 7)])
def test_global_poolings(shape: tuple[int, ...]) -> None:
    for name in ("GlobalAveragePool", "GlobalMaxPool"):
        windowed(name, shape)


def test_an_activation_is_part_of_the_convolution() -> None:
    many = kernels.Collection()
    x, w = many.input(draw(1, 3, 6, 6)), many.constant(draw(4, 3, 3, 3))
    many.add("Conv", [x, w])
    many.add("Clip", ["Conv_0_0", *(many.constant(np.float32(bound)) for bound in (0, 6))])
    model = many.model()
    model.graph.outputs.pop(0)
    found = litert.assert_same(model, many.inputs)
    assert [name for name in found if name != "TRANSPOSE"] == ["CONV_2D"]
