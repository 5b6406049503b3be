from __future__ import annotations

import onnx_ir as ir
import pytest

from tapeout.lowering.passes.eliminate_dead_code import EliminateDeadCode
from tapeout.lowering.passes.eliminate_identities import EliminateIdentities

import support


def run(model: ir.Model) -> ir.Model:
    return EliminateIdentities()(model).model


#: Nodes on x (float[2,3]) that return x, with the constants they need.
NOTHING = {
    "identity": ("Identity(x)", ""),
    "cast": ("Cast<to=1>(x)", ""),
    "cast like": ("CastLike(x, x)", ""),
    "transpose": ("Transpose<perm=[0,1]>(x)", ""),
    "reshape": ("Reshape(x, s)", "int64[2] s = {2,-1}"),
    "flatten": ("Flatten<axis=1>(x)", ""),
    "squeeze of nothing": ("Squeeze(x)", ""),
    "pad": ("Pad(x, p)", "int64[4] p = {0,0,0,0}"),
    "slice": ("Slice(x, b, e)", "int64[2] b = {0,0}, int64[2] e = {2,100}"),
    "slice with steps": (
        "Slice(x, b, e, v, k)",
        "int64[1] b = {0}, int64[1] e = {100}, int64[1] v = {1}, int64[1] k = {1}",
    ),
    "expand": ("Expand(x, s)", "int64[2] s = {1,3}"),
    "tile": ("Tile(x, s)", "int64[2] s = {1,1}"),
    "concat": ("Concat<axis=0>(x)", ""),
    "sum": ("Sum(x)", ""),
    "split": ("Split<axis=1, num_outputs=1>(x)", ""),
    "clip": ("Clip(x)", ""),
    "dropout": ("Dropout(x)", ""),
    "dropout not training": ("Dropout(x, r, t)", "float r = {0.5}, bool t = {0}"),
    "dropout of ratio 0": ("Dropout(x, r, t)", "float r = {0.0}, bool t = {1}"),
    "x + 0": ("Add(x, z)", "float z = {0}"),
    "0 + x": ("Add(z, x)", "float[3] z = {0,0,0}"),
    "x - 0": ("Sub(x, z)", "float z = {0}"),
    "x * 1": ("Mul(x, o)", "float[1,1] o = {1}"),
    "1 * x": ("Mul(o, x)", "float[2,1] o = {1,1}"),
    "x / 1": ("Div(x, o)", "float o = {1}"),
    "x ** 1": ("Pow(x, o)", "int64 o = {1}"),
    "where always": ("Where(c, x, z)", "bool[1,3] c = {1,1,1}, float z = {2}"),
    "where never": ("Where(c, z, x)", "bool c = {0}, float z = {2}"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_removes(name: str) -> None:
    node, constants = NOTHING[name]
    model = support.from_text(
        f"g (float[2,3] x) => (float[2,3] y) <{constants}> {{ a = {node} y = Exp(a) }}"
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Exp (x)"
    assert not after.graph.initializers
    assert not EliminateIdentities()(after).modified


#: Nodes on x (float[2,3]) that look like the above but change something.
SOMETHING = {
    "cast": ("float16", "Cast<to=10>(x)", ""),
    "reshape": ("float[3,2]", "Reshape(x, s)", "int64[2] s = {3,2}"),
    "transpose of a square": ("float[3,3]", "Transpose(w)", "float[3,3] w = {1,2,3,4,5,6,7,8,9}"),
    "pad and crop": ("float[2,3]", "Pad(x, p)", "int64[4] p = {0,1,0,-1}"),
    "slice backwards": (
        "float[2,3]",
        "Slice(x, b, e, v, k)",
        "int64[1] b = {-1}, int64[1] e = {-100}, int64[1] v = {1}, int64[1] k = {-1}",
    ),
    "expand": ("float[4,2,3]", "Expand(x, s)", "int64[3] s = {4,1,1}"),
    "x + 0 of a larger shape": ("float[2,2,3]", "Add(x, z)", "float[2,1,1] z = {0,0}"),
    "where not everywhere": ("float[2,3]", "Where(c, x, z)", "bool[3] c = {1,0,1}, float z = {2}"),
    "where never": ("float[2,3]", "Where(c, x, z)", "bool c = {0}, float z = {2}"),
    "0 - x": ("float[2,3]", "Sub(z, x)", "float z = {0}"),
    "1 / x": ("float[2,3]", "Div(o, x)", "float o = {1}"),
    "1 ** x": ("float[2,3]", "Pow(o, x)", "float[2,3] o = {1,1,1,1,1,1}"),
    "x * (1, 1, 2)": ("float[2,3]", "Mul(x, o)", "float[3] o = {1,1,2}"),
    "concat": ("float[4,3]", "Concat<axis=0>(x, x)", ""),
}


@pytest.mark.parametrize("name", SOMETHING)
def test_keeps(name: str) -> None:
    dtype, node, constants = SOMETHING[name]
    dims = dtype if "[" in dtype else f"{dtype}[2,3]"
    model = support.from_text(
        f"g (float[2,3] x) => ({dims} y) <{constants}> {{ a = {node} y = Relu(a) }}"
    )
    assert not EliminateIdentities()(model).modified


def test_keeps_a_non_constant_neutral_and_a_training_dropout() -> None:
    model = support.from_text(
        """g (float[2,3] x, float z, bool t) => (float[2,3] y, float[2,3] d) <float r = {0.5}> {
            a = Add(x, z)
            b = Dropout(x, r, t)
            y = Exp(a)
            d = Exp(b)
        }"""
    )
    assert not EliminateIdentities()(model).modified


def test_keeps_the_mask_of_a_dropout() -> None:
    model = support.from_text(
        """g (float[2,3] x) => (float[2,3] y, bool[2,3] mask) {
            a, mask = Dropout(x)
            y = Exp(a)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "a, mask = Dropout (x)\ny = Exp (x)"
    assert not EliminateIdentities()(after).modified


def test_booleans() -> None:
    model = support.from_text(
        """g (bool[2] x) => (bool[2] y) <bool t = {1}, bool f = {0}> {
            a = And(x, t)
            b = Or(f, a)
            y = Not(b)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Not (x)"


def test_an_output_keeps_its_name() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] y) <float z = {0}> {
            a = Exp(x)
            b = Identity(a)
            y = Add(b, z)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Exp (x)"


def test_an_output_that_is_an_input_a_constant_or_another_output_stays_an_identity() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] p, float[2] q, float[2] r, float[2] s)
            <float[2] w = {1, 2}, float z = {0}> {
            p = Add(x, z)
            q = Add(w, z)
            r = Exp(x)
            s = Sub(r, z)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        "p = Identity (x)\nq = Identity (w)\nr = Exp (x)\ns = Identity (r)"
    )
    assert not EliminateIdentities()(after).modified


def test_the_body_of_control_flow_keeps_its_own_output() -> None:
    model = support.from_text(
        """g (bool c, float[2] x) => (float[2] y) <float z = {0}> {
            e = Exp(x)
            y = If (c) <
                then_branch = t () => (float[2] a) { a = Add(e, z) },
                else_branch = f () => (float[2] d) { i = Identity(x) d = Neg(i) }
            >
        }"""
    )
    after = support.assert_same_numbers(model, run)
    node = after.graph[-1]
    assert [inner.op_type for inner in node.attributes["then_branch"].as_graph()] == ["Identity"]
    assert [inner.op_type for inner in node.attributes["else_branch"].as_graph()] == ["Neg"]


@pytest.mark.parametrize(("given", "left"), [("e, x", "y = Exp (x)"), ("x, e, x", "a = Concat")])
def test_nothing_is_concatenated_with_nothing(given: str, left: str) -> None:
    model = support.from_text(
        f"""g (float[2,3] x) => (float[2,?] y) <int64[1] b = {{3}}, int64[1] n = {{1}}> {{
            e = Slice(x, b, b, n) a = Concat<axis = 1>({given}) y = Exp(a)
        }}"""
    )
    after = support.assert_same_numbers(model, lambda it: EliminateDeadCode()(run(it)).model)
    assert support.body(after).startswith(left)
    assert not any(0 in (value.shape or ()) for node in after.graph for value in node.outputs)


def test_nothing_is_split_off() -> None:
    model = support.from_text(
        """g (float[2,3] x) => (float[2,3] y) <int64[2] n = {0, 3}> {
            e, a = Split<axis = 1>(x, n) b = Exp(a) y = Concat<axis = 1>(e, b)
        }"""
    )
    after = support.assert_same_numbers(model, lambda it: EliminateDeadCode()(run(it)).model)
    assert support.body(after) == "y = Exp (x)"
