from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tapeout.lowering.passes.sink_quantize import SinkQuantize

import support

S, Z = np.float32(0.1), np.int8(0)


def sunk(model: ir.Model) -> str:
    return support.body(support.assert_same_numbers(model, lambda item: SinkQuantize()(item).model))


def test_what_moves_integers_moves_real_numbers() -> None:
    model = support.from_text(
        """m (float[1,2,4,3] x, float[1,2,4,3] w, float s, int8 z) => (float[1,3,4,4] y) {
            q = QuantizeLinear (x, s, z)
            r = QuantizeLinear (w, s, z)
            c = Concat <axis=1> (q, r)
            t = Transpose <perm=[0,3,2,1]> (c)
            y = DequantizeLinear (t, s, z)
        }""",
        s=S,
        z=Z,
    )
    assert sunk(model) == (
        "c = Concat <axis: int = 1> (x, w)\n"
        "t = Transpose <perm: ints = [0, 3, 2, 1]> (c)\n"
        '"t/quantized" = QuantizeLinear (t, s, z)\n'
        'y = DequantizeLinear ("t/quantized", s, z)'
    )


def test_output_keeps_its_name_and_other_readers_their_integers() -> None:
    model = support.from_text(
        """m (float[2,3] x, float s, int8 z) => (int8[3,2] y, int8[2,3] q) {
            q = QuantizeLinear (x, s, z)
            y = Transpose (q)
        }""",
        s=S,
        z=Z,
    )
    text = sunk(model)
    assert "q = QuantizeLinear (x, s, z)" in text
    assert "y = QuantizeLinear (" in text
    assert "Transpose (x)" in text


def test_concat_of_several_scales_and_what_computes_stay() -> None:
    model = support.from_text(
        """m (float[1,4] x, float s, float r, int8 z) => (int8[1,8] y, float[1,4] w) {
            p = QuantizeLinear (x, s, z)
            q = QuantizeLinear (x, r, z)
            y = Concat <axis=1> (p, q)
            w = DequantizeLinear (p, s, z)
        }""",
        s=S,
        r=np.float32(0.2),
        z=Z,
    )
    before = support.body(model)
    assert sunk(model) == before
    assert not SinkQuantize()(model).modified
