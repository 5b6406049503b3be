from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import resizing
from tapeout.lowering.reference import Reference

import support


def resize(attributes: str, size: int, out: int) -> tuple[ir.Model, ir.Node]:
    model = support.from_text(
        f"g (float[1,{size}] x, int64[2] n) => (float[1,{out}] y)"
        f" {{ y = Resize <{attributes}> (x, , , n) }}",
        n=np.array([1, out]),
    )
    return model, model.graph[0]


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("out", [3, 8, 11])
def test_an_axis_is_multiplied_by_its_matrix(mode: str, coordinates: str, out: int) -> None:
    attributes = f'mode = "{mode}", coordinate_transformation_mode = "{coordinates}"'
    model, node = resize(attributes, 5, out)
    x = np.random.default_rng(0).standard_normal((1, 5)).astype(np.float32)
    (wanted,) = Reference(model).run({"x": x}).values()
    axis = resizing.axes_of(node)[-1]
    assert (axis.axis, axis.size, axis.out) == (1, 5, out)
    np.testing.assert_allclose(x @ resizing.matrix(node, axis).T, wanted, atol=1e-5)


def test_every_output_is_a_mean_of_its_taps() -> None:
    _, node = resize('mode = "linear", antialias = 1', 9, 4)
    index, weights = resizing.taps(node, resizing.axes_of(node)[-1])
    assert index.shape == weights.shape
    assert index.min() >= 0
    assert index.max() <= 8
    np.testing.assert_allclose(weights.sum(1), 1)


def test_a_length_that_is_not_whole() -> None:
    graph = (
        "g (float[1,5] x, float[2] s) => (float[1,8] y)"
        ' { y = Resize <coordinate_transformation_mode = "MODE", mode = "linear"> (x, , s) }'
    )
    scales = np.array([1, 1.7], np.float32)
    for mode, wanted in (("align_corners", 8.5), ("half_pixel", None)):
        model = support.from_text(graph.replace("MODE", mode), s=scales)
        assert resizing.broken_length(model.graph[0]) == (
            None if wanted is None else pytest.approx(wanted)
        )
