from __future__ import annotations

import litert
import numpy as np
import pytest

import kernels

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


SHAPES = [
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (3, 4, 5)),
    ((4,), (4, 5)),
    ((2, 3, 4), (4,)),
    ((4,), (4,)),
]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_products(left: tuple[int, ...], right: tuple[int, ...], constant: bool) -> None:
    many = kernels.Collection()
    x, array = many.input(draw(*left)), draw(*right)
    many.add("MatMul", [x, many.constant(array) if constant else many.input(array)])
    litert.assert_same(many.model(), many.inputs)


def test_a_constant_on_the_left() -> None:
    many = kernels.Collection()
    many.add("MatMul", [many.constant(draw(3, 4)), many.input(draw(2, 4, 5))])
    litert.assert_same(many.model(), many.inputs)


@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (), (3, 1), (3, 5)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(bias: tuple[int, ...] | None, transposed: int) -> None:
    many = kernels.Collection()
    weight = many.constant(draw(5, 4) if transposed else draw(4, 5))
    added = [] if bias is None else [many.constant(np.asarray(draw(*bias)))]
    x = many.input(draw(3, 4))
    many.add("Gemm", [x, weight, *added], transB=transposed)
    many.add("Gemm", [x, weight, *added], transB=transposed, alpha=0.5, beta=2.0)
    many.add("Gemm", [many.input(draw(4, 3)), weight, *added], transA=1, transB=transposed)
    litert.assert_same(many.model(), many.inputs)


def test_gemm_of_two_variables() -> None:
    many = kernels.Collection()
    x, y, z = many.input(draw(3, 4)), many.input(draw(5, 4)), many.input(draw(5))
    many.add("Gemm", [x, y], transB=1)
    many.add("Gemm", [x, y, z], transB=1)
    litert.assert_same(many.model(), many.inputs)


def test_attention_is_taken_apart() -> None:
    many = kernels.Collection()
    q, k, v = (many.input(draw(1, 2, 4, 8)) for _ in range(3))
    many.add("Attention", [q, k, v])
    many.add("Attention", [q, k, v], is_causal=1)
    found = litert.assert_same(many.model(), many.inputs)
    assert {"BATCH_MATMUL", "SOFTMAX"} <= set(found)
