from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tapeout.lowering import dialect
from tapeout.lowering.passes.sign_quantization import SignQuantization

import support

SCALES = np.array([0.5, 0.25, 0.125], np.float32)


def run(model: ir.Model) -> ir.Model:
    after = SignQuantization()(model).model
    assert dialect.check(after) == []
    return after


def test_values_and_weights_are_signed() -> None:
    model = support.from_text(
        """g (float[2,3] x, float s, uint8 z, uint8[3,4] w, float[4] ws, uint8[4] wz)
        => (float[2,4] y, float[2,4] p) {
            q = QuantizeLinear(x, s, z)
            a = DequantizeLinear(q, s, z)
            b = DequantizeLinear<axis = 1>(w, ws, wz)
            y = MatMul(a, b)
            r = QuantizeLinear(y, s)
            p = DequantizeLinear(r, s)
        }""",
        s=np.float32(0.04),
        z=np.uint8(131),
        w=np.arange(12, dtype=np.uint8).reshape(3, 4) * 21,
        ws=np.array([0.5, 0.25, 0.125, 1], np.float32),
        wz=np.array([0, 128, 200, 255], np.uint8),
    )
    after = support.assert_same_numbers(model, run, tolerance=0)
    dtypes = {
        value.dtype for node in after.graph for value in (*node.inputs, *node.outputs) if value
    }
    assert dtypes == {ir.DataType.FLOAT, ir.DataType.INT8}
    assert not SignQuantization()(after).modified


def test_inputs_and_outputs_of_the_graph_stay() -> None:
    model = support.from_text(
        """g (uint8[3] x, float s, uint8 z) => (uint8[3] y) {
            a = DequantizeLinear(x, s, z)
            y = QuantizeLinear(a, s, z)
        }""",
        s=np.float32(0.5),
        z=np.uint8(3),
    )
    assert not SignQuantization()(model).modified


def test_what_others_read_and_computed_zero_points_stay() -> None:
    model = support.from_text(
        """g (float[3] x, uint8 z) => (float[3] y, uint8[3] t) <float s = {0.5}> {
            q = QuantizeLinear(x, s, z)
            y = DequantizeLinear(q, s, z)
            r = QuantizeLinear(x, s)
            t = Identity(r)
        }"""
    )
    assert not SignQuantization()(model).modified
