from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tapeout.lowering import matching

import support

MODEL = """g (float[2,3] x, float i) => (float[2,3] y)
    <float[1,1] s = {0.5}, float[2] v = {1, 2}, int64[2] k = {3, 4}, float i = {1}> {
    a = Mul(x, s)
    b = Mul(a, a)
    y = Add(b, i)
}"""


def values() -> dict[str, ir.Value]:
    model = support.from_text(MODEL)
    found = dict(model.graph.initializers) | {str(v.name): v for v in model.graph.inputs}
    return found | {str(v.name): v for node in model.graph for v in node.outputs}


def test_constants_are_initializers_that_no_caller_can_replace() -> None:
    known = values()
    assert matching.scalar_of(known["s"]) == 0.5
    assert matching.scalar_of(known["v"]) is None
    assert matching.scalar_of(known["i"]) is None
    assert matching.scalar_of(known["a"]) is None
    assert matching.scalar_of(None) is None
    assert matching.ints_of(known["k"]) == (3, 4)
    assert matching.ints_of(known["v"]) is None
    array = matching.array_of(known["v"])
    assert array is not None
    np.testing.assert_array_equal(array, [1, 2])


def test_shapes() -> None:
    assert matching.shape_of(values()["a"]) == (2, 3)
    assert matching.shape_of(ir.val("v", ir.DataType.FLOAT, ["N", 3])) is None
    assert matching.shape_of(ir.val("v")) is None


def test_uses() -> None:
    known = values()
    user = matching.sole_user(known["x"])
    assert user is not None
    assert user.name == "a"
    assert matching.sole_user(known["a"]) is None, "it is read twice"
    assert matching.sole_user(known["y"]) is None, "it is an output"
    assert matching.is_interior(known["a"], [known["b"].producer()])
    assert not matching.is_interior(known["a"], [])
    assert not matching.is_interior(known["y"], [])
    assert matching.other_input(user, known["x"]) is known["s"]
    assert matching.other_input(user, known["s"]) is known["x"]


def test_how_close_a_constant_must_be() -> None:
    assert matching.is_close(0.70710678, 0.5**0.5, ir.DataType.FLOAT)
    assert not matching.is_close(0.707, 0.5**0.5, ir.DataType.FLOAT)
    assert matching.is_close(float(np.float16(0.5**0.5)), 0.5**0.5, ir.DataType.FLOAT16)
    assert not matching.is_close(None, 1, ir.DataType.FLOAT)
    assert not matching.is_close(1, 1, ir.DataType.INT32)
