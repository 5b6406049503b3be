from __future__ import annotations

import litert
import numpy as np
import pytest

import kernels

RNG = np.random.default_rng(0)
MODES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric", "align_corners")


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def resized(many: kernels.Collection, x: str, sizes: tuple[int, ...], **attributes: object) -> None:
    many.add("Resize", [x, "", "", many.constant(np.array(sizes))], **attributes)


@pytest.mark.parametrize("coordinates", MODES)
@pytest.mark.parametrize("sizes", [(2, 3, 10, 12), (2, 3, 7, 4), (2, 3, 4, 3)])
def test_images(coordinates: str, sizes: tuple[int, ...]) -> None:
    many = kernels.Collection()
    x = many.input(draw(2, 3, 5, 6))
    mode = {"coordinate_transformation_mode": coordinates}
    for nearest in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        resized(many, x, sizes, mode="nearest", nearest_mode=nearest, **mode)
    resized(many, x, sizes, mode="linear", **mode)
    resized(many, x, sizes, mode="cubic", **mode)
    litert.assert_same(many.model(), many.inputs)


@pytest.mark.parametrize(
    ("mode", "coordinates", "nearest", "operator"),
    [
        ("linear", "half_pixel", "floor", "RESIZE_BILINEAR"),
        ("linear", "align_corners", "floor", "RESIZE_BILINEAR"),
        ("linear", "asymmetric", "floor", "RESIZE_BILINEAR"),
        ("nearest", "asymmetric", "floor", "RESIZE_NEAREST_NEIGHBOR"),
        ("nearest", "half_pixel", "round_prefer_floor", "RESIZE_NEAREST_NEIGHBOR"),
    ],
)
def test_what_the_runtime_has_is_one_operator(
    mode: str, coordinates: str, nearest: str, operator: str
) -> None:
    many = kernels.Collection()
    x = many.input(draw(1, 3, 4, 6))
    named = {"coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    resized(many, x, (1, 3, 8, 12), mode=mode, **named)
    found = litert.assert_same(many.model(), many.inputs)
    assert [name for name in found if name != "RESHAPE"] == [operator]


def test_signals_and_antialiasing() -> None:
    many = kernels.Collection()
    signal, image = many.input(draw(2, 3, 8)), many.input(draw(1, 2, 8, 8))
    resized(many, signal, (2, 3, 13), mode="linear")
    resized(many, signal, (2, 3, 16), mode="nearest")
    resized(many, image, (1, 2, 5, 3), mode="linear", antialias=1)
    litert.assert_same(many.model(), many.inputs)


def test_channels_last() -> None:
    many = kernels.Collection()
    resized(many, many.input(draw(1, 4, 5, 3)), (1, 8, 10, 3), mode="linear")
    assert litert.assert_same(many.model(), many.inputs) == ["RESIZE_BILINEAR"]
