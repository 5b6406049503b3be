"""Data that is rounded at run time: as nodes of ONNX, and as the reference computes it."""

from __future__ import annotations

import numpy as np

from tapeout.lowering import dialect
from tapeout.lowering.reference import Reference
from tapeout.lowering.run_time import let_round, rounds_at_run_time, written_out

import support

W = np.array([[1, -2], [3, 4]], np.float32)


def test_the_reference_rounds_what_a_kernel_may_round() -> None:
    model = support.from_text(
        """g (float[2,2] x, float[2,2] w) => (float[2,2] y) {
            "y/data" = Neg(x) y = MatMul("y/data", w)
        }""",
        w=W,
    )
    before = support.body(model)
    assert written_out(model) is model
    let_round(model.graph[1])
    after = written_out(model)
    assert (support.body(model), rounds_at_run_time(model.graph[1])) == (before, True)
    assert dialect.check(after) == []
    assert support.body(after) == (
        '"y/data" = Neg (x)\n'
        '"y/data_1", "y/scale", "y/zero_point" = DynamicQuantizeLinear ("y/data")\n'
        '"y/rounded" = DequantizeLinear ("y/data_1", "y/scale", "y/zero_point")\n'
        'y = MatMul ("y/rounded", w)'
    )
    x = np.array([[1.5, -0.34], [2.5, 0.1]], np.float32)
    scale = np.float32(2.84 / 255)  # from -2.5 to 0.34
    rounded = np.rint(-x / scale) * scale
    found = Reference(model).run({"x": x})["y"]
    np.testing.assert_allclose(found, rounded @ W, rtol=1e-5)
    assert np.abs(found + x @ W).max() > 1e-3
