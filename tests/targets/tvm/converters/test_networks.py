from __future__ import annotations

import numpy as np
import pytest

import kernels
import support

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_gemm_in_all_its_forms() -> None:
    many = kernels.Collection()
    for a_turned in (0, 1):
        for b_turned in (0, 1):
            a = many.input(draw(*((4, 3) if a_turned else (3, 4))))
            b = many.constant(draw(*((5, 4) if b_turned else (4, 5))))
            for bias in (draw(5), draw(3, 1), np.array(2, np.float32)):
                inputs = [a, b, many.constant(bias)]
                many.add("Gemm", inputs, transA=a_turned, transB=b_turned, alpha=0.5, beta=1.5)
            many.add("Gemm", [a, b], transA=a_turned, transB=b_turned)
    many.add("Gemm", [many.input(draw(2, 3)), many.input(draw(3, 2))])
    many.assert_same()


def test_products_of_all_ranks() -> None:
    many = kernels.Collection()
    for left, right in (
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((4,), (4, 3)),
        ((2, 3, 4), (4,)),
        ((4,), (4,)),
    ):
        many.add("MatMul", [many.input(draw(*left)), many.input(draw(*right))])
        many.add("MatMul", [many.input(draw(*left)), many.constant(draw(*right))])
    many.assert_same()


def test_einsum() -> None:
    many = kernels.Collection()
    x, y = many.input(draw(2, 3, 4)), many.input(draw(2, 4, 5))
    many.add("Einsum", [x, y], equation="bij, bjk -> bik")
    many.add("Einsum", [x], equation="bij->b")
    many.add("Einsum", [x, y], equation="bij,bjk->ki")
    many.add("Einsum", [x], equation="...ij->...ji")
    many.add("Einsum", [many.input(draw(4, 4))], equation="ii->i")
    many.assert_same()


@pytest.mark.parametrize("space", [(), (6,), (3, 4)])
def test_normalizations(space: tuple[int, ...]) -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 6, *space) * 2 + 1)
    scale, bias, mean = (many.constant(draw(6)) for _ in range(3))
    variance = many.constant(np.abs(draw(6)) + 0.1)
    many.add("BatchNormalization", [x, scale, bias, mean, variance], epsilon=1e-3)
    if space:
        many.add("InstanceNormalization", [x, scale, bias], epsilon=1e-3)
        size = many.constant(draw(space[-1]))
        many.add("LayerNormalization", [x, size], axis=-1)
        both = [many.constant(draw(6, *space)) for _ in range(2)]
        many.add("LayerNormalization", [x, *both], outputs=3, axis=1, epsilon=1e-2)
        many.add("RMSNormalization", [x, size], axis=-1)
    for p in (1, 2):
        many.add("LpNormalization", [x], axis=1, p=p)
    many.assert_same()


def test_groups_of_channels() -> None:
    model = support.from_text(
        """g (float[2,6,3,4] x, float[6] s, float[6] b) => (float[2,6,3,4] y)
            { y = GroupNormalization <num_groups = 3, epsilon = 0.01> (x, s, b) }""",
        s=draw(6),
        b=draw(6),
    )
    kernels.assert_same(model)


def test_a_norm_of_zero_leaves_zeros() -> None:
    """ONNX says so; ONNX Runtime divides."""
    model = support.from_text(
        "g (float[2,3] x) => (float[2,3] y) { y = LpNormalization <axis = 1> (x) }"
    )
    x = np.array([[3, 0, 4], [0, 0, 0]], np.float32)
    found = kernels.run(model, {"x": x})["y"]
    np.testing.assert_allclose(found, [[0.6, 0, 0.8], [0, 0, 0]])


def test_mean_and_variance() -> None:
    model = support.from_text(
        "g (float[2,3,4,5] x) => (float[2,3,4,5] y)"
        " { y = MeanVarianceNormalization <axes = [0, 2]> (x) }"
    )
    x = draw(2, 3, 4, 5)
    exact = (x - x.mean((0, 2), keepdims=True)) / x.std((0, 2), keepdims=True)
    np.testing.assert_allclose(kernels.run(model, {"x": x})["y"], exact, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_responses_normalized_by_their_neighbours(size: int) -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 7, 3, 4))
    many.add("LRN", [x], size=size, alpha=0.1, beta=0.6, bias=1.2)
    many.assert_same() if size % 2 else _assert_around(x, many, size)


def _assert_around(x: str, many: kernels.Collection, size: int) -> None:
    """An even number of neighbours, against the definition: ONNX Runtime takes odd ones only."""
    data = many.inputs[x]
    squares = np.zeros_like(data)
    for channel in range(7):
        first, last = channel - (size - 1) // 2, channel + size // 2
        squares[:, channel] = (data[:, max(0, first) : last + 1] ** 2).sum(1)
    exact = data / (1.2 + 0.1 / size * squares) ** 0.6
    (found,) = kernels.run(many.model(), many.inputs).values()
    np.testing.assert_allclose(found, exact, rtol=1e-5)
