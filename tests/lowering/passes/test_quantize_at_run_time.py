"""Which nodes may round their data at run time: those of integer weights and real data alone."""

from __future__ import annotations

import numpy as np

from tapeout.lowering.passes.quantize_at_run_time import QuantizeAtRunTime
from tapeout.lowering.run_time import rounds_at_run_time

import quantized
import support
from quantized import Integers

W = np.ones((3, 3), np.int8)


def test_products_of_integer_weights_and_real_data_are_marked() -> None:
    model = quantized.network(
        """a = Neg(x) p = MatMul(a, w) q = MatMul(p, z) r = MatMul(q, h) t = MatMul(x, w)
           u = Add(r, t) y = MatMul(u, u)""",
        {"y": "float[3,3]"},
        x=Integers((3, 3), 0.5),
        w=Integers(W, 0.25 * np.ones(3), np.zeros(3), axis=1),
        z=Integers(W, 0.5, 1),
        h=Integers(W.astype(np.int16), 0.5, 0, np.int16),
    )
    before = support.body(model)
    assert QuantizeAtRunTime()(model).modified
    assert [str(node.name) for node in model.graph if rounds_at_run_time(node)] == ["p"]
    assert support.body(model) == before
    assert not QuantizeAtRunTime()(model).modified
