from __future__ import annotations

import onnx_ir as ir
import pytest

from tapeout.lowering.polynomials import Polynomial, climb, read, term

import support


def values(nodes: str, outputs: str = "float[2] y") -> dict[str, ir.Value]:
    model = support.from_text(
        f"""g (float[2] u, float[2] v, float f) => ({outputs}) <float two = {{2}},
            float[1] three = {{3}}, float zero = {{0}}, float[2] w = {{1, 2}}, int64 n = {{2}}> {{
            {nodes}
        }}"""
    )
    found = {str(value.name): value for value in model.graph.inputs}
    return found | {str(value.name): value for node in model.graph for value in node.outputs}


def terms(nodes: str, depth: int = 6) -> dict[str, float]:
    found = read(values(nodes)["y"], depth=depth)
    assert found is not None
    return {
        "*".join(sorted(str(value.name) for value, power in key for _ in range(power))): figure
        for key, figure in found.terms.items()
    }


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("a = Add(u, two) y = Mul(a, three)", {"u": 3, "": 6}),
        ("a = Sub(u, v) y = Div(a, two)", {"u": 0.5, "v": -0.5}),
        ("a = Sub(two, u) b = Neg(a) y = Sum(b, u, v)", {"u": 2, "": -2, "v": 1}),
        ("a = Add(u, v) y = Pow(a, n)", {"u*u": 1, "u*v": 2, "v*v": 1}),
        ("a = Sub(u, v) b = Add(u, v) y = Mul(a, b)", {"u*u": 1, "v*v": -1}),
        ("a = Mul(u, zero) y = Add(a, v)", {"v": 1}),
        ("a = Div(u, v) y = Mul(a, two)", {"a": 2}),
        ("a = Div(u, zero) y = Mul(a, two)", {"a": 2}),
        ("a = Mul(u, f) y = Mul(a, w)", {"f*u*w": 1}),
        ("a = Exp(u) y = Add(a, two)", {"a": 1, "": 2}),
        ("a = Add(u, v) y = Mul(a, a)", {"a*a": 1}),
    ],
)
def test_terms(nodes: str, expected: dict[str, float]) -> None:
    assert terms(nodes) == expected


def test_depth() -> None:
    assert terms("a = Add(u, two) y = Mul(a, three)", depth=1) == {"a": 3}
    assert terms("a = Add(u, two) y = Mul(a, three)", depth=0) == {"y": 1}


def test_what_has_another_user_or_is_an_output_is_a_variable() -> None:
    known = values("a = Add(u, two) b = Exp(a) y = Mul(a, three)")
    found = read(known["y"])
    assert found is not None
    assert found.line() == (known["a"], 3, 0)
    known = values("a = Add(u, two) y = Mul(a, three)", "float[2] y, float[2] a")
    found = read(known["y"])
    assert found is not None
    assert found.line() == (known["a"], 3, 0)
    assert [node.name for node in found.nodes] == ["y"]


def test_too_many_terms() -> None:
    nodes = "a = Add(u, v) b = Add(a, two) c = Pow(b, n) d = Mul(c, c0) y = Add(d, v)"
    known = values(nodes.replace("d = Mul(c, c0)", "c0 = Add(u, f) d = Mul(c, c0)"))
    assert read(known["y"]) is None


def test_only_floating_point_is_read() -> None:
    model = support.from_text("g (int32[2] x) => (int32[2] y) { y = Add(x, x) }")
    assert read(model.graph.outputs[0]) is None


def test_comparison_is_as_exact_as_the_dtype() -> None:
    known = values("a = Div(u, three) y = Add(a, two)")
    found = read(known["y"])
    assert found is not None
    assert found.equals({term(known["u"]): 1 / 3, term(): 2.0})
    assert not found.equals({term(known["u"]): 0.3333, term(): 2.0})
    assert not found.equals({term(known["u"]): 1 / 3})
    assert found.line() == (known["u"], pytest.approx(1 / 3), 2)


def test_lines() -> None:
    assert isinstance(read(values("y = Mul(u, v)")["y"]), Polynomial)
    for nodes in ("y = Mul(u, v)", "y = Mul(u, u)", "y = Add(u, v)"):
        found = read(values(nodes)["y"])
        assert found is not None
        assert found.line() is None


def test_climbing() -> None:
    known = values("a = Exp(u) b = Add(a, two) c = Mul(b, u) d = Exp(c) y = Neg(d)")
    found = list(climb(known["a"], (known["a"], known["u"])))
    assert [item.value.name for item in found] == ["b", "c"]
    assert found[1].equals({term(known["u"], known["a"]): 1, term(known["u"]): 2})
    assert not list(climb(known["c"], (known["c"],)))
    known = values("a = Exp(u) b = Mul(a, v) y = Add(b, a)")
    assert not list(climb(known["a"], (known["a"], known["u"])))
