"""Real numbers begin where something computes with them; integers are moved as they are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.passes.sink_dequantize import SinkDequantize
from tapeout.lowering.reference import Reference

import quantized
import support
from quantized import Integers


def sunk(model: ir.Model) -> str:
    """Run the pass, check that no number changes, and return the operators as text."""
    feeds = quantized.integer_feeds(model)
    expected = Reference(model).run(feeds)
    after = SinkDequantize()(model).model
    assert dialect.check(after) == []
    for name, found in Reference(after).run(feeds).items():
        np.testing.assert_array_equal(found, expected[name])
    return support.body(after)


def operators(model: ir.Model) -> list[str]:
    sunk(model)
    return [node.op_type for node in model.graph]


X = Integers((1, 2, 4, 4), 0.5, 3)


def test_a_pair_around_what_moves_numbers_vanishes() -> None:
    model = quantized.network(
        """m = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)
        y = Transpose <perm = [0, 2, 3, 1]> (m)""",
        {"y": Integers((1, 4, 4, 2), 0.5, 3)},
        x=X,
    )
    assert sunk(model) == (
        "m = MaxPool <kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]> (x_q)\n"
        "y_q = Transpose <perm: ints = [0, 2, 3, 1]> (m)"
    )


def test_it_ends_before_what_computes() -> None:
    model = quantized.network(
        "t = Transpose <perm = [0, 2, 3, 1]> (x) y = Exp(t)", {"y": "float[1,4,4,2]"}, x=X
    )
    assert operators(model) == ["Transpose", "DequantizeLinear", "Exp"]


def test_every_reader_gets_one_of_its_own() -> None:
    model = quantized.network("e = Exp(x) y = Mul(e, x)", {"y": "float[1,2,4,4]"}, x=X)
    assert operators(model) == ["DequantizeLinear", "Exp", "DequantizeLinear", "Mul"]


def test_the_same_numbers_may_be_two_outputs() -> None:
    model = quantized.network(
        "y = Transpose <perm = [0, 2, 3, 1]> (x) z = Identity(y)",
        {"y": "float[1,4,4,2]", "z": "float[1,4,4,2]"},
        x=X,
    )
    assert operators(model) == ["Transpose", "DequantizeLinear", "Identity"]


def test_the_output_of_the_network_stays_real() -> None:
    model = quantized.network(
        "y = Transpose <perm = [0, 2, 3, 1]> (x)", {"y": "float[1,4,4,2]"}, x=X
    )
    assert sunk(model).splitlines()[1].startswith("y = DequantizeLinear")


@pytest.mark.parametrize(
    ("scale", "kinds"),
    [
        (0.5, ["Concat"]),
        (0.25, ["DequantizeLinear", "QuantizeLinear", "Concat"]),
    ],
)
def test_integers_of_another_scale_are_rescaled_before_a_concat(
    scale: float, kinds: list[str]
) -> None:
    model = quantized.network(
        "y = Concat <axis = 1> (x, a)",
        {"y": Integers((1, 4, 4, 4), 0.5, 3)},
        x=X,
        a=Integers((1, 2, 4, 4), scale, 3),
    )
    assert operators(model) == kinds


def test_a_split_passes_integers_on() -> None:
    model = support.from_text(
        """g (uint8[4] x, float s, uint8 z, int64[2] n) => (uint8[2] p, float[2] q) {
            d = DequantizeLinear(x, s, z)
            a, b = Split <axis = 0> (d, n)
            p = QuantizeLinear(a, s, z)
            q = Neg(b)
        }""",
        s=np.array(0.5, np.float32),
        z=np.array(9, np.uint8),
        n=np.array([2, 2]),
    )
    assert operators(model) == ["Split", "DequantizeLinear", "Neg"]


def test_zeros_of_a_pad_become_zero_points() -> None:
    model = support.from_text(
        """g (int8[4] x, float s, int8 z, int64[2] n, float v) => (int8[6] y) {
            d = DequantizeLinear(x, s, z)
            p = Pad(d, n, v)
            y = QuantizeLinear(p, s, z)
        }""",
        s=np.array(0.5, np.float32),
        z=np.array(9, np.int8),
        n=np.array([1, 1]),
        v=np.array(0, np.float32),
    )
    assert operators(model) == ["Pad"]


def test_a_quantization_moves_up_before_what_keeps_the_order() -> None:
    model = support.from_text(
        """g (float[2,4] x, float s, int8 z, int64[1] n) => (int8[8] y) {
            e = Neg(x)
            r = Reshape(e, n)
            y = QuantizeLinear(r, s, z)
        }""",
        s=np.array(0.5, np.float32),
        z=np.array(9, np.int8),
        n=np.array([8]),
    )
    found = support.assert_same_numbers(model, lambda item: SinkDequantize()(item).model)
    assert [node.op_type for node in found.graph] == ["Neg", "QuantizeLinear", "Reshape"]


def test_a_maximum_over_pads_is_moved_too() -> None:
    """Pads of a maximum are less than every number, in integers as in real numbers."""
    model = quantized.network(
        "y = MaxPool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], strides = [3, 3]> (x)",
        {"y": Integers((1, 2, 2, 2), 0.5, 3)},
        x=X,
    )
    assert operators(model) == ["MaxPool"]


@pytest.mark.parametrize(
    "x",
    [
        Integers((2, 3), np.ones(3), np.zeros(3), axis=1),
        Integers((2, 3), 0.5, 0, np.int16),
        Integers(np.ones((2, 3), np.int8), 0.5),
    ],
    ids=["several scales", "16 bits", "a constant"],
)
def test_left_alone(x: Integers) -> None:
    tensors = {"x": x, "a": Integers((3, 2), 0.5)}
    model = quantized.network(
        "t = Transpose <perm = [1, 0]> (x) y = Mul(t, a)", {"y": "float[3,2]"}, **tensors
    )
    before = support.body(model)
    assert sunk(model) == before
