"""Convolutions and poolings with drawn windows, against ONNX Runtime."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tapeout.lowering.canonical import canonical

import kernels
import support

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def window(rank: int, rng: np.random.Generator, largest_pad: int = 2) -> dict[str, list[int]]:
    """Draw strides, dilations and pads; a pad is smaller than the window, as poolings want."""
    kernel = rng.integers(1, 4, rank)
    pads = np.minimum(rng.integers(0, largest_pad + 1, 2 * rank), np.tile(kernel, 2) - 1)
    return {
        "kernel_shape": kernel.tolist(),
        "strides": rng.integers(1, 4, rank).tolist(),
        "dilations": rng.integers(1, 3, rank).tolist(),
        "pads": pads.tolist(),
    }


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions(rank: int) -> None:
    rng = np.random.default_rng(rank)
    many = kernels.Collection()
    x = many.input(draw(2, 6, *(9, 8, 7)[:rank]))
    for number in range(8):
        attributes = window(rank, rng)
        group = [1, 2, 3, 6][number % 4]
        weight = draw(6, 6 // group, *attributes["kernel_shape"])
        make = many.input if number == 3 else many.constant
        inputs = [x, make(weight), *([many.constant(draw(6))] if number % 2 else [])]
        many.add("Conv", inputs, group=group, **attributes)
    many.assert_same()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolutions(rank: int) -> None:
    rng = np.random.default_rng(10 + rank)
    many = kernels.Collection()
    x = many.input(draw(2, 6, *(5, 4, 3)[:rank]))
    for number in range(8):
        attributes = window(rank, rng)
        attributes["output_padding"] = [int(rng.integers(0, s)) for s in attributes["strides"]]
        group = [1, 2, 3, 6][number % 4]
        weight = draw(6, 2, *attributes["kernel_shape"])
        make = many.input if number == 3 else many.constant
        inputs = [x, make(weight), *([many.constant(draw(2 * group))] if number % 2 else [])]
        many.add("ConvTranspose", inputs, group=group, **attributes)
    many.assert_same()


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_pads_by_name(auto_pad: str) -> None:
    many = kernels.Collection()
    x = many.input(draw(1, 4, 7, 10))
    for kernel, strides in itertools.product(([3, 3], [2, 4]), ([1, 1], [2, 3])):
        weight = many.constant(draw(4, 4, *kernel))
        many.add("Conv", [x, weight], auto_pad=auto_pad, strides=strides)
        many.add("ConvTranspose", [x, weight], auto_pad=auto_pad, strides=strides)
        many.add("MaxPool", [x], auto_pad=auto_pad, strides=strides, kernel_shape=kernel)
        many.add("AveragePool", [x], auto_pad=auto_pad, strides=strides, kernel_shape=kernel)
    many.assert_same()


def test_an_output_shape_that_pads_are_made_for() -> None:
    many = kernels.Collection()
    x = many.input(draw(1, 2, 4, 5))
    weight = many.constant(draw(2, 3, 3, 3))
    many.add("ConvTranspose", [x, weight], strides=[2, 3], output_shape=[8, 14])
    many.assert_same()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_poolings(rank: int) -> None:
    rng = np.random.default_rng(20 + rank)
    many = kernels.Collection()
    x = many.input(draw(2, 3, *(11, 10, 9)[:rank]))
    for number in range(6):
        attributes = window(rank, rng)
        ceil = number % 2
        many.add("MaxPool", [x], ceil_mode=ceil, **attributes)
        for with_pads in (0, 1):
            many.add("AveragePool", [x], ceil_mode=ceil, count_include_pad=with_pads, **attributes)
        many.add("LpPool", [x], p=1 + number % 3, **attributes)
    for op_type in ("GlobalAveragePool", "GlobalMaxPool"):
        many.add(op_type, [x])
    many.assert_same(2e-5)


def test_global_norms() -> None:
    """ONNX Runtime has no GlobalLpPool of this opset."""
    model = support.from_text(
        "g (float[2,3,4,5] x) => (float[2,3,1,1] y) { y = GlobalLpPool <p = 3> (x) }"
    )
    x = draw(2, 3, 4, 5)
    expected = (np.abs(x) ** 3).sum((2, 3), keepdims=True) ** (1 / 3)
    np.testing.assert_allclose(kernels.run(model, {"x": x})["y"], expected, rtol=1e-5)


def test_poolings_of_integers() -> None:
    many = kernels.Collection()
    x = many.input(RNG.integers(-128, 128, (1, 2, 8, 8)).astype(np.int8))
    many.add("MaxPool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    many.assert_same()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_channels_last_operators_of_the_canonical_pipeline(rank: int) -> None:
    """A chain of them, as the canonical pipeline lays it out."""
    space = (12, 10, 8)[:rank]
    sizes = ",".join(map(str, space))
    model = support.from_text(
        f"""g (float[1,4,{sizes}] x, float[8,4,{"3," * (rank - 1)}3] w, float[8] b,
              float[8,1,{"3," * (rank - 1)}3] d) => (float[1,8] y) {{
            c = Conv <pads = [{",".join("1" * 2 * rank)}]> (x, w, b)
            r = Relu(c)
            e = Conv <group = 8, strides = [{",".join("2" * rank)}]> (r, d)
            m = MaxPool <kernel_shape = [{",".join("2" * rank)}], ceil_mode = 1> (e)
            a = AveragePool <kernel_shape = [{",".join("2" * rank)}]> (m)
            g = GlobalAveragePool(a)
            y = Flatten(g)
        }}""",
        w=draw(8, 4, *(3,) * rank),
        b=draw(8),
        d=draw(8, 1, *(3,) * rank),
    )
    lowered = canonical("nhwc", volumes=True).run(model)
    suffix = ("Nwc", "Nhwc", "Ndhwc")[rank - 1]
    assert {f"Conv{suffix}", f"MaxPool{suffix}", f"AveragePool{suffix}"} <= {
        node.op_type for node in lowered.graph
    }
    kernels.assert_same(lowered)
