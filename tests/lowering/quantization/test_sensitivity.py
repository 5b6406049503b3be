from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.quantization.placement import place
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.lowering.quantization.sensitivity import sensitivity
from tapeout.lowering.quantization.sqnr import sqnr

import quantized
import support

INT8 = SCHEMES["int8"]
assert isinstance(INT8, Scheme)
RNG = np.random.default_rng(0)
EVEN = RNG.uniform(-1, 1, (8, 6)).astype(np.float32)
#: One weight in each row is far larger than the others, which one scale rounds to nothing.
HARSH = EVEN.copy()
HARSH[:, 0] *= 300


def two_gemms() -> ir.Model:
    return support.from_text(
        """g (float[1,6] x, float[8,6] a, float[8,6] b) => (float[1,8] y, float[1,8] z) {
            y = Gemm<transB=1>(x, a)
            z = Gemm<transB=1>(x, b)
        }""",
        a=EVEN,
        b=HARSH,
    )


def found_by(model: ir.Model, data: Sequence[quantized.Feeds], samples: int) -> dict[str, float]:
    recipe = quantized.min_max(model, INT8, data)
    nodes = place(model, INT8).integer

    def alone(name: str) -> ir.Model:
        kept = {other: "not under test" for other in nodes if other != name}
        return Quantize(dataclasses.replace(recipe, kept=kept))(model.clone()).model

    return sensitivity(model, tuple(recipe.weights), alone, data, samples)


def batches(count: int) -> list[dict[str, np.ndarray]]:
    # The largest weight meets a number that is small, so that what is rounded away counts.
    scales = np.array([0.001, 1, 1, 1, 1, 1])
    return [{"x": (RNG.uniform(-1, 1, (1, 6)) * scales).astype(np.float32)} for _ in range(count)]


def test_the_harsh_node_costs_more() -> None:
    model = two_gemms()
    data = batches(20)
    found = found_by(model, data, samples=20)
    assert list(found) == ["y", "z"]
    assert found["y"] > found["z"] + 6


def test_every_real_node_costs_something_and_less_than_all_together() -> None:
    model = quantized.real_model("digits_cnn")
    data = quantized.real_batches("digits_cnn", model, 4)
    found = found_by(model, data, samples=2)
    assert list(found) == list(place(model, INT8).nodes)
    assert all(10 < item < 100 for item in found.values())
    assert found_by(model, data, samples=2) == found


def test_needs_samples() -> None:
    model = two_gemms()
    with pytest.raises(ValueError, match="at least one"):
        sensitivity(model, ("y",), lambda _: model, [])


def test_sqnr() -> None:
    reference = np.array([3.0, 4.0], np.float32)
    assert sqnr(reference, reference) == math.inf
    assert sqnr(reference, np.array([3.0, 4.5])) == pytest.approx(20.0)
    assert sqnr(np.zeros(2), reference) == -math.inf
    with pytest.raises(ValueError, match="differ"):
        sqnr(reference, np.zeros(3))
