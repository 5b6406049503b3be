"""How quantized tensors are read off the graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.quantized import Quantized, dequantized, quantized

import support


def read(text: str, **constants: np.ndarray) -> Quantized | None:
    """Return what the only node of a graph says about its integers."""
    [node] = support.from_text(text, **constants).graph
    return quantized(node) if node.op_type == "QuantizeLinear" else dequantized(node.outputs[0])


SCALE = np.array(0.5, np.float32)


def test_one_scale_and_no_zero_point() -> None:
    found = read(
        "g (int8[2,3] x, float s) => (float[2,3] y) { y = DequantizeLinear(x, s) }", s=SCALE
    )
    assert found is not None
    assert (found.scale, found.zero, found.axis) == (0.5, 0, None)
    assert found.is_narrow
    assert found.integers.name == "x"


def test_a_scale_for_each_channel_counts_its_axis_from_the_front() -> None:
    found = read(
        "g (int8[2,3] x, float[3] s, int8[3] z) => (float[2,3] y)"
        " { y = DequantizeLinear <axis = -1> (x, s, z) }",
        s=np.ones(3, np.float32),
        z=np.arange(3, dtype=np.int8),
    )
    assert found is not None
    assert (found.axis, found.zero.tolist(), found.is_narrow) == (1, [0, 1, 2], False)


def test_vectors_of_one_element_are_one_scale() -> None:
    found = read(
        "g (float[2] x, float[1] s, uint8[1] z) => (uint8[2] y) { y = QuantizeLinear(x, s, z) }",
        s=np.ones(1, np.float32),
        z=np.array([7], np.uint8),
    )
    assert found is not None
    assert (found.axis, found.zero.shape, found.dtype) == (None, (), ir.DataType.UINT8)
    assert found.integers.name == "y"


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("g (int8[4] x, float s) => (float[4] y) { y = DequantizeLinear(x, s) }", None),
        ("g (int8[4] x, float s) => (float[4] y) { y = DequantizeLinear(x, s) }", -SCALE),
        (
            "g (int8[4] x, float[2] s) => (float[4] y)"
            " { y = DequantizeLinear <axis = 0, block_size = 2> (x, s) }",
            np.ones(2, np.float32),
        ),
        (
            "g (int8[4] x, float16 s) => (float16[4] y) { y = DequantizeLinear(x, s) }",
            np.array(1, np.float16),
        ),
        ("g (float[4] x, float s) => (float[4] y) { y = Mul(x, s) }", SCALE),
    ],
)
def test_what_integer_kernels_do_not_read(text: str, scale: np.ndarray | None) -> None:
    """A scale that is computed or negative, blocks, half precision, another operator."""
    assert read(text, **({} if scale is None else {"s": scale})) is None


def test_alike_are_those_of_equal_parameters() -> None:
    def of(scale: float, dtype: str = "int8") -> Quantized:
        found = read(
            f"g ({dtype}[4] x, float s) => (float[4] y) {{ y = DequantizeLinear(x, s) }}",
            s=np.array(scale, np.float32),
        )
        assert found is not None
        return found

    assert of(0.5).is_like(of(0.5))
    assert not of(0.5).is_like(of(0.25))
    assert not of(0.5).is_like(of(0.5, "uint8"))
