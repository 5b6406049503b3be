from __future__ import annotations

import itertools

import numpy as np
import pytest

from tapeout.lowering.reference import Reference

import kernels

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_images_and_volumes_at_places_inside_and_out(padding: str, corners: int) -> None:
    many = kernels.Collection()
    image = many.input(draw(2, 3, 5, 7))
    places = many.input(RNG.uniform(-1.4, 1.4, (2, 4, 6, 2)).astype(np.float32))
    for mode in ("linear", "nearest", "cubic"):
        many.add(
            "GridSample", [image, places], mode=mode, padding_mode=padding, align_corners=corners
        )
    volume = many.input(draw(1, 2, 3, 4, 5))
    points = many.input(RNG.uniform(-1.3, 1.3, (1, 2, 3, 4, 3)).astype(np.float32))
    for mode in ("linear", "nearest"):
        many.add(
            "GridSample", [volume, points], mode=mode, padding_mode=padding, align_corners=corners
        )
    many.assert_same()


def test_affine_grids() -> None:
    many = kernels.Collection()
    for corners in (0, 1):
        flat = many.input(draw(2, 2, 3))
        many.add("AffineGrid", [flat, many.constant(np.array([2, 1, 4, 5]))], align_corners=corners)
        solid = many.input(draw(1, 3, 4))
        sizes = many.constant(np.array([1, 1, 2, 3, 4]))
        many.add("AffineGrid", [solid, sizes], align_corners=corners)
    many.assert_same()


def test_regions() -> None:
    many = kernels.Collection()
    image = many.input(draw(2, 3, 12, 16))
    corners = RNG.uniform(0, 20, (5, 2))
    regions = np.concatenate([corners, corners + RNG.uniform(1, 12, (5, 2))], axis=1)
    inputs = [image, many.input(regions.astype(np.float32)), many.input(np.array([0, 1, 1, 0, 1]))]
    for mode, scale in itertools.product(("half_pixel", "output_half_pixel"), (1.0, 0.5)):
        many.add(
            "RoiAlign", inputs, coordinate_transformation_mode=mode, spatial_scale=scale,
            output_height=3, output_width=4, sampling_ratio=2,
        )  # fmt: skip
    # ONNX Runtime has this operator up to opset 16, where it means the same.
    expected = Reference(many.model(opset=16)).run(many.inputs)
    found = kernels.run(many.model(), many.inputs)
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-5, err_msg=name)
