from __future__ import annotations

import itertools

import numpy as np
import pytest

import kernels

RNG = np.random.default_rng(0)
COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
SCALES = ((1, 1, 2, 3), (1, 1, 0.6, 1.7), (1, 1, 0.5, 0.5))
WHOLE = ((1, 1, 2, 3), (1, 1, 0.6, 2), (1, 1, 1, 3))
SIZES = ((1, 2, 9, 4), (1, 2, 3, 13))


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def resized(mode: str, coordinates: str, **attributes: object) -> kernels.Collection:
    many = kernels.Collection()
    x = many.input(draw(1, 2, 5, 7))
    chosen = {"mode": mode, "coordinate_transformation_mode": coordinates, **attributes}
    for scales in WHOLE if coordinates == "align_corners" else SCALES:
        many.add("Resize", [x, "", many.constant(np.array(scales, np.float32))], **chosen)
    for sizes in SIZES:
        many.add("Resize", [x, "", "", many.constant(np.array(sizes))], **chosen)
    return many


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation(mode: str, coordinates: str) -> None:
    resized(mode, coordinates).assert_same()


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_the_nearest(coordinates: str) -> None:
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        resized("nearest", coordinates, nearest_mode=rounding).assert_same()


def test_cubic_kernels() -> None:
    resized("cubic", "half_pixel", cubic_coeff_a=-0.5, exclude_outside=1).assert_same()


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias(mode: str) -> None:
    many = kernels.Collection()
    x = many.input(draw(1, 1, 9, 12))
    for scales in ((1, 1, 0.6, 0.4), (1, 1, 0.5, 1)):
        inputs = [x, "", many.constant(np.array(scales, np.float32))]
        many.add("Resize", inputs, mode=mode, antialias=1)
    many.assert_same()


def test_a_region_beyond_the_image() -> None:
    many = kernels.Collection()
    x = many.input(draw(1, 1, 6, 6))
    region = many.constant(np.array([0, 0, 0.3, -0.4, 1, 1, 1.2, 0.9], np.float32))
    sizes = many.constant(np.array([1, 1, 5, 4]))
    for mode in ("linear", "nearest"):
        many.add(
            "Resize", [x, region, "", sizes], mode=mode, extrapolation_value=7.0,
            coordinate_transformation_mode="tf_crop_and_resize",
        )  # fmt: skip
    many.assert_same()


def test_some_axes_and_kept_proportions() -> None:
    many = kernels.Collection()
    x = many.input(draw(1, 2, 6, 9))
    for policy, axes in itertools.product(("not_larger", "not_smaller"), ([2, 3], [3, 2])):
        sizes = many.constant(np.array([8, 7]))
        many.add(
            "Resize", [x, "", "", sizes], axes=axes, keep_aspect_ratio_policy=policy, mode="nearest"
        )
    many.add("Resize", [x, "", many.constant(np.array([2], np.float32))], axes=[3], mode="linear")
    many.assert_same()


def test_integers_are_repeated() -> None:
    many = kernels.Collection()
    x = many.input(RNG.integers(0, 256, (1, 3, 4, 4)).astype(np.uint8))
    many.add("Resize", [x, "", many.constant(np.array([1, 1, 2, 2], np.float32))])
    many.assert_same()


def test_one_and_three_dimensions() -> None:
    many = kernels.Collection()
    many.add(
        "Resize", [many.input(draw(1, 2, 5)), "", many.constant(np.array([1, 1, 2.5], np.float32))],
        mode="linear",
    )  # fmt: skip
    volume = many.input(draw(1, 1, 3, 4, 5))
    many.add(
        "Resize", [volume, "", many.constant(np.array([1, 1, 2, 1.5, 2], np.float32))],
        mode="linear",
    )  # fmt: skip
    many.assert_same()
