from __future__ import annotations

import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.passes.unify_reshapes import UnifyReshapes

import support


def run(model: ir.Model) -> ir.Model:
    return UnifyReshapes()(model).model


#: Nodes over x (float[2,1,3,4]), constants, and the shape that comes out.
UNIFIED = {
    "flatten": ("Flatten(x)", "", (2, 12)),
    "flatten to the last": ("Flatten<axis=-1>(x)", "", (6, 4)),
    "flatten nothing": ("Flatten<axis=0>(x)", "", (1, 24)),
    "squeeze": ("Squeeze(x, a)", "int64[1] a = {1}", (2, 3, 4)),
    "squeeze all": ("Squeeze(x)", "", (2, 3, 4)),
    "unsqueeze": ("Unsqueeze(x, a)", "int64[2] a = {0,-1}", (1, 2, 1, 3, 4, 1)),
    "the rest": ("Reshape(x, s)", "int64[2] s = {4,-1}", (4, 6)),
    "copied": ("Reshape(x, s)", "int64[3] s = {0,-1,2}", (2, 6, 2)),
}


@pytest.mark.parametrize("name", UNIFIED)
def test_becomes_a_full_reshape(name: str) -> None:
    node, constants, shape = UNIFIED[name]
    model = support.from_text(
        f"""g (float[2,1,3,4] x) => (float{list(shape)} y) <{constants}> {{
            [shaped] r = {node}
            y = Neg(r)
        }}"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == ('r = Reshape (x, "shaped/shape")\ny = Neg (r)')
    target = after.graph.initializers["shaped/shape"].const_value
    assert tuple(target.numpy()) == shape
    assert list(after.graph.initializers) == ["shaped/shape"]
    assert not UnifyReshapes()(after).modified


def test_computed_shape() -> None:
    model = support.from_text(
        """g (float[2,6] x) => (float[3,4] y) <int64[1] a = {3}, int64[1] b = {4}> {
            s = Concat<axis=0>(a, b)
            y = Reshape(x, s)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after).splitlines()[-1] == ('y = Reshape (x, "y/shape")')


def test_row_becomes_one() -> None:
    model = support.from_text(
        """g (float[2,6] x) => (float[4,3] y) <int64[1] a = {0}, int64[2] s = {4,3}> {
            b = Unsqueeze(x, a)
            c = Flatten(b)
            y = Reshape(c, s)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Reshape (x, s)"


def test_way_back_vanishes() -> None:
    model = support.from_text(
        """g (float[2,6] x) => (float[2,6] y, float[1,2,6] b) <int64[1] a = {0}> {
            b = Unsqueeze(x, a)
            c = Squeeze(b, a)
            y = Neg(c)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == ('b = Reshape (x, "b/shape")\ny = Neg (x)')


def test_output_that_is_an_input() -> None:
    model = support.from_text(
        "g (float[2,6] x) => (float[2,6] y) <int64[2] s = {2,6}> { y = Reshape(x, s) }"
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Identity (x)"
    assert dialect.check(after, "canonical") == []


def test_empty_tensor() -> None:
    model = support.from_text(
        "g (float[2,0,3] x) => (float[0,6] y) <int64[2] s = {0,6}> "
        "{ y = Reshape<allowzero=1>(x, s) }"
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Reshape <allowzero: int = 1> (x, s)"
    assert dialect.check(after, "canonical") == []
