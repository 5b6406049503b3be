from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import provenance
from tapeout.lowering.passes.restore_silu import RestoreSilu

import support


def run(model: ir.Model) -> ir.Model:
    return RestoreSilu()(model).model


def written_out(nodes: str, dtype: str = "float", outputs: str = "") -> ir.Model:
    numpy = {"float16": np.float16, "float": np.float32, "double": np.float64}[dtype]
    return support.from_text(
        f"""g ({dtype}[3,4] x, {dtype} alpha, {dtype} two, {dtype} v)
            => ({dtype}[3,4] y{outputs}) {{ {nodes} }}""",
        alpha=np.array(1.702, numpy),
        two=np.array(2, numpy),
    )


SPELLINGS = {
    "silu": ("s = Sigmoid(x) y = Mul(x, s)", 1.0),
    "turned": ("s = Sigmoid(x) y = Mul(s, x)", 1.0),
    "alpha": ("a = Mul(x, alpha) s = Sigmoid(a) y = Mul(x, s)", 1.702),
    "divided": ("a = Div(x, two) s = Sigmoid(a) y = Mul(s, x)", 0.5),
    "halves cancel": ("s = Sigmoid(x) h = Div(s, two) m = Mul(x, h) y = Mul(m, two)", 1.0),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("dtype", ["float16", "float", "double"])
def test_restores(spelling: str, dtype: str) -> None:
    nodes, alpha = SPELLINGS[spelling]
    tolerance = 2e-3 if dtype == "float16" else 1e-6
    after = support.assert_same_numbers(written_out(nodes, dtype), run, tolerance=tolerance)
    (swish,) = after.graph
    assert swish.op_type == "Swish"
    assert swish.attributes["alpha"].as_float() == pytest.approx(alpha, rel=1e-3)
    assert not RestoreSilu()(after).modified


def test_provenance() -> None:
    after = run(written_out(SPELLINGS["alpha"][0]))
    assert provenance.origins(after.graph[0]) == ("a", "s", "y")


def test_behind_arithmetic_the_argument_itself_is_x() -> None:
    model = written_out("a = Mul(x, alpha) s = Sigmoid(a) m = Mul(a, s) y = Exp(m)")
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Mul", "Swish", "Exp"]
    assert after.graph[1].attributes["alpha"].as_float() == 1


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Sigmoid(x) e = Exp(x) y = Mul(e, s)",
        "s = Sigmoid(x) m = Mul(x, s) y = Add(m, s)",
        "s = Sigmoid(x) y = Add(x, s)",
        "a = Add(x, two) s = Sigmoid(a) y = Mul(x, s)",
        "a = Mul(x, v) s = Sigmoid(a) y = Mul(x, s)",
        "a = Mul(x, two) s = Sigmoid(a) m = Mul(x, s) y = Add(m, a)",
    ],
)
def test_keeps(nodes: str) -> None:
    assert not RestoreSilu()(written_out(nodes)).modified


def test_keeps_where_an_output_lies_inside_or_shapes_differ() -> None:
    model = written_out(SPELLINGS["silu"][0], outputs=", float[3,4] s")
    assert not RestoreSilu()(model).modified
    model = support.from_text(
        """g (float[4] x) => (float[1,4] y) <float[1,1] one = {1}> {
            a = Mul(x, one) s = Sigmoid(a) y = Mul(x, s)
        }"""
    )
    assert not RestoreSilu()(model).modified
