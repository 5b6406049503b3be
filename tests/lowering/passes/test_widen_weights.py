"""Constants of half precision become float32; what is computed stays as it is."""

from __future__ import annotations

import numpy as np

from tapeout.lowering.passes.widen_weights import WidenWeights

import support


def test_only_constants_are_widened() -> None:
    model = support.from_text(
        """g (float16[4] x, float16[4] h) => (float[4] y, float[4] z) {
            a = Cast <to = 1> (x) w = Cast <to = 1> (h) y = Mul(a, w) z = Cast <to = 1> (h)
        }""",
        h=np.array([1, 2, 0.1, 65504], np.float16),
    )
    after = support.assert_same_numbers(model, lambda item: WidenWeights()(item).model, tolerance=0)
    assert [node.op_type for node in after.graph] == ["Cast", "Mul", "Identity"]
    assert {str(value.dtype) for value in after.graph.initializers.values()} == {"FLOAT"}
