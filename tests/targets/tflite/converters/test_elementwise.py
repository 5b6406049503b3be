from __future__ import annotations

import math

import litert
import numpy as np
import pytest

from tapeout.targets.tflite.lower import to_tflite

import kernels
import support

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def same(many: kernels.Collection, tolerance: float = 1e-5) -> list[str]:
    return litert.assert_same(many.model(), many.inputs, tolerance)


UNARY = (
    "Abs Ceil Cos Elu Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Neg Reciprocal Relu Round"
    " Sigmoid Sign Sin Swish Tanh Softplus Softsign Selu Celu Mish ThresholdedRelu Shrink Identity"
)


def test_functions_of_one_number() -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 3, 4) * 3)
    for name in UNARY.split():
        many.add(name, [x])
    positive = many.input(np.abs(draw(2, 3, 4)) + 0.1)
    for name in ("Log", "Sqrt"):
        many.add(name, [positive])
    same(many)


def test_the_error_function() -> None:
    """Close everywhere: to the result where it is small, and to 1 where it is all but that."""
    many = kernels.Collection()
    sizes = np.concatenate([np.geomspace(1e-6, 3, 500), np.linspace(3, 40, 500)])
    values = np.concatenate([sizes, -sizes, [0, np.inf, -np.inf]]).astype(np.float32)
    many.add("Erf", [many.input(values)])
    content = to_tflite(litert.PIPELINE.run(many.model()))
    [found] = litert.run(content, many.inputs).values()
    np.testing.assert_allclose(found, [math.erf(x) for x in values], rtol=5e-7)


def test_attributes_of_activations() -> None:
    many = kernels.Collection()
    x = many.input(draw(3, 5) * 3)
    many.add("LeakyRelu", [x], alpha=0.3)
    many.add("HardSigmoid", [x], alpha=0.4, beta=0.3)
    many.add("Gelu", [x], approximate="tanh")
    many.add("Swish", [x], alpha=1.7)
    many.add("Elu", [x], alpha=1.5)
    many.add("PRelu", [x, many.constant(np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32))])
    same(many)


@pytest.mark.parametrize(
    "shapes", [((2, 3, 4),) * 2, ((2, 3, 4), (4,)), ((3, 1), (1, 5)), ((), (2,))]
)
def test_arithmetic_and_comparison_broadcast(shapes: tuple[tuple[int, ...], ...]) -> None:
    many = kernels.Collection()
    a, b = (many.input(np.asarray(draw(*shape))) for shape in shapes)
    for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum"):
        many.add(name, [a, b])
    for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        many.add(name, [a, b])
    same(many)


def test_powers() -> None:
    many = kernels.Collection()
    x = many.input(np.abs(draw(3, 4)) + 0.1)
    for power in (0.5, 2.0, 3.0, -1.0):
        many.add("Pow", [x, many.constant(np.float32(power))])
    for dtype in (np.int32, np.int64):
        many.add("Pow", [x, many.input(RNG.integers(-3, 4, (3, 4)).astype(dtype))])
        bases = many.input(RNG.integers(1, 5, (3, 4)).astype(dtype))
        many.add("Pow", [bases, many.constant(np.float32(2))])
    integers = many.input(RNG.integers(-4, 5, (3, 4)).astype(np.int32))
    many.add("Pow", [integers, many.constant(np.int32(3))])
    same(many)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.int8])
def test_integers(dtype: type) -> None:
    many = kernels.Collection()
    a, b = (many.input(RNG.integers(-20, 20, (3, 4)).astype(dtype)) for _ in range(2))
    for name in ("Add", "Sub", "Mul", "Max", "Min", "Equal", "Less", "GreaterOrEqual"):
        many.add(name, [a, b])
    many.add("Neg", [a])
    many.add("Mod", [a, many.constant(np.array(7, dtype))])
    many.add("Clip", [a, many.constant(np.array(-3, dtype)), many.constant(np.array(9, dtype))])
    same(many)


def test_division_of_integers_goes_towards_zero() -> None:
    many = kernels.Collection()
    a = many.input(np.array([7, -7, 8, -9], np.int32))
    many.add("Div", [a, many.constant(np.array([2, 2, -3, 4], np.int32))])
    same(many)


def test_logic() -> None:
    many = kernels.Collection()
    a, b = (many.input(RNG.integers(0, 2, (4, 5)).astype(bool)) for _ in range(2))
    for name in ("And", "Or", "Xor", "Equal"):
        many.add(name, [a, b])
    many.add("Not", [a])
    x, y = many.input(draw(4, 5)), many.input(draw(1, 5))
    many.add("Where", [a, x, y])
    same(many)


@pytest.mark.parametrize("bounds", [(0.0, 6.0), (-1.0, 1.0), (0.0, None), (None, 0.5), (-0.3, 0.7)])
def test_clips(bounds: tuple[float | None, float | None]) -> None:
    many = kernels.Collection()
    x = many.input(draw(4, 5) * 4)
    given = ["" if bound is None else many.constant(np.float32(bound)) for bound in bounds]
    many.add("Clip", [x, *given])
    same(many)


def test_bounds_that_are_computed() -> None:
    many = kernels.Collection()
    x, low, high = (
        many.input(draw(4, 5)),
        many.input(np.array(-0.5, np.float32)),
        many.input(np.array(1, np.float32)),
    )
    many.add("Clip", [x, low, high])
    same(many)


@pytest.mark.parametrize("wanted", [np.float32, np.int32, np.int64, np.uint8, np.int8, bool])
def test_casts(wanted: type) -> None:
    many = kernels.Collection()
    to = np.dtype(wanted)
    for dtype in (np.float32, np.int32, np.int64, np.uint8, bool):
        x = many.input(RNG.integers(0, 2 if dtype is bool else 100, (3, 4)).astype(dtype))
        from onnx import helper

        many.add("Cast", [x], to=helper.np_dtype_to_tensor_dtype(to))
    same(many)


def test_an_activation_is_part_of_the_sum_before_it() -> None:
    for bounds, count in (((0.0, 6.0), 1), ((0.0, 3.0), 3)):
        many = kernels.Collection()
        a, b = many.input(draw(4, 5) * 3), many.input(draw(4, 5) * 3)
        many.add("Add", [a, b])
        many.add("Clip", ["Add_0_0", *(many.constant(np.float32(bound)) for bound in bounds)])
        model = many.model()
        model.graph.outputs.pop(0)
        assert len(litert.assert_same(model, many.inputs)) == count


def test_infinite_masks_stay_infinite() -> None:
    """TFLite's sums stop at the largest finite number."""
    mask = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    many = kernels.Collection()
    x = many.input(draw(4, 4))
    many.add("Add", [x, many.constant(mask)])
    many.add("Sub", [x, many.constant(mask)])
    many.add("Sub", [many.constant(mask), x])
    many.add("Equal", [x, many.constant(np.float32(-np.inf))])
    same(many)


def test_no_numbers_are_found() -> None:
    many = kernels.Collection()
    x = draw(3, 4)
    x[1, 2] = np.nan
    many.add("IsNaN", [many.input(x)])
    same(many)


def test_rank_five_where_shapes_are_equal() -> None:
    model = support.from_text(
        "g (float[2,1,2,3,2] x, float[2,1,2,3,2] z) => (float[2,1,2,3,2] y) { y = Add(x, z) }"
    )
    litert.assert_same(model)


def test_far_from_zero_nothing_overflows() -> None:
    many = kernels.Collection()
    x = many.input(np.array([-200, -30, -9, 9, 30, 200], np.float32))
    for name in ("Softplus", "Mish", "Swish", "Gelu", "Sigmoid"):
        many.add(name, [x])
    same(many)
