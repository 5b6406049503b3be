from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import provenance
from tapeout.lowering.passes.restore_gelu import RestoreGelu

import support

CONSTANTS = {
    "half": 0.5,
    "one": 1.0,
    "two": 2.0,
    "root": math.sqrt(2),
    "inverse": math.sqrt(0.5),
    "three": 3.0,
    "cube": 0.044715,
    "k": math.sqrt(2 / math.pi),
    "kcube": 0.044715 * math.sqrt(2 / math.pi),
}

#: As exporters write it: PyTorch, JAX, TensorFlow, and what folding and sharing make of them.
ERF = {
    "torch": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "half first": "d = Mul(inverse, x) e = Erf(d) a = Add(one, e) h = Mul(half, x) y = Mul(h, a)",
    "half later": "d = Div(x, root) e = Erf(d) a = Add(e, one) h = Mul(a, half) y = Mul(h, x)",
    "divided": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Div(m, two)",
    "distributed": "d = Div(x, root) e = Erf(d) h = Mul(e, half) a = Add(half, h) y = Mul(x, a)",
    "expanded": "d = Div(x, root) e = Erf(d) h = Mul(half, x) m = Mul(h, e) g = Mul(x, half) "
    "y = Add(m, g)",
    "negated": "n = Neg(x) d = Mul(n, inverse) e = Erf(d) a = Sub(one, e) h = Mul(x, half) "
    "y = Mul(a, h)",
}
TANH = {
    "torch": "p = Pow(x, three) c = Mul(p, cube) s = Add(x, c) i = Mul(s, k) t = Tanh(i) "
    "a = Add(t, one) h = Mul(x, half) y = Mul(h, a)",
    "products": "q = Mul(x, x) p = Mul(q, x) c = Mul(cube, p) s = Add(x, c) i = Mul(k, s) "
    "t = Tanh(i) a = Add(one, t) m = Mul(x, a) y = Mul(half, m)",
    "factored": "q = Mul(x, x) c = Mul(cube, q) s = Add(one, c) m = Mul(x, k) i = Mul(m, s) "
    "t = Tanh(i) a = Add(one, t) h = Mul(half, a) y = Mul(x, h)",
    "distributed": "p = Pow(x, three) c = Mul(p, kcube) m = Mul(k, x) i = Add(m, c) t = Tanh(i) "
    "a = Add(one, t) h = Mul(half, a) y = Mul(x, h)",
}


def run(model: ir.Model) -> ir.Model:
    return RestoreGelu()(model).model


def written_out(nodes: str, dtype: type = np.float32, outputs: str = "", rank: int = 0) -> ir.Model:
    name = {np.float16: "float16", np.float32: "float", np.float64: "double"}[dtype]
    ones = ",".join("1" * rank)
    kind = f"{name}[{ones}]" if rank else name
    inputs = ", ".join(f"{kind} {constant}" for constant in CONSTANTS)
    return support.from_text(
        f"g ({name}[2,3,4] x, {inputs}) => ({name}[2,3,4] y{outputs}) {{ {nodes} }}",
        **{constant: np.full((1,) * rank, value, dtype) for constant, value in CONSTANTS.items()},
    )


@pytest.mark.parametrize("spelling", ERF)
def test_the_erf_form(spelling: str) -> None:
    after = support.assert_same_numbers(written_out(ERF[spelling]), run)
    assert support.body(after) == 'y = Gelu <approximate: string = "none"> (x)'
    assert not RestoreGelu()(after).modified


@pytest.mark.parametrize("spelling", TANH)
def test_the_tanh_form(spelling: str) -> None:
    after = support.assert_same_numbers(written_out(TANH[spelling]), run)
    assert support.body(after) == 'y = Gelu <approximate: string = "tanh"> (x)'


def test_provenance() -> None:
    after = run(written_out(ERF["torch"]))
    assert provenance.origins(after.graph[0]) == ("d", "e", "a", "m", "y")


@pytest.mark.parametrize("rank", [1, 3])
def test_constants_of_one_element(rank: int) -> None:
    after = support.assert_same_numbers(written_out(ERF["torch"], rank=rank), run)
    assert [node.op_type for node in after.graph] == ["Gelu"]


def test_constants_that_add_a_dimension_keep_it_written_out() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[1,2] y) <float root = {1.4142135}, float one = {1},
            float[1,1] half = {0.5}> {
            d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)
        }"""
    )
    assert not RestoreGelu()(model).modified


def test_half_precision() -> None:
    after = support.assert_same_numbers(written_out(ERF["torch"], np.float16), run, tolerance=5e-3)
    assert [node.op_type for node in after.graph] == ["Gelu"]


def test_double_precision() -> None:
    after = support.assert_same_numbers(written_out(TANH["torch"], np.float64), run, tolerance=1e-6)
    assert [node.op_type for node in after.graph] == ["Gelu"]


TORCH = "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) "
KEEPS = {
    "wrong constant": "d = Mul(x, half) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "tanh for erf": "d = Div(x, root) e = Tanh(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "no half": TORCH + "y = Neg(m)",
    "other x": "z = Exp(x) d = Div(z, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) "
    "y = Mul(m, half)",
    "x squared": TORCH + "n = Mul(m, x) y = Mul(n, half)",
    "function used twice": TORCH + "h = Mul(m, half) y = Add(h, e)",
    "argument used twice": TORCH + "h = Mul(m, half) y = Add(h, d)",
    "product used twice": TORCH + "h = Mul(m, half) y = Add(h, m)",
}


@pytest.mark.parametrize("name", KEEPS)
def test_keeps(name: str) -> None:
    assert not RestoreGelu()(written_out(KEEPS[name])).modified


def test_keeps_where_an_output_lies_inside() -> None:
    model = written_out(ERF["torch"], outputs=", float[2,3,4] m")
    assert not RestoreGelu()(model).modified


def test_keeps_factors_that_are_no_constants() -> None:
    model = support.from_text(
        """g (float[2] x, float half) => (float[2] y)
            <float root = {1.4142135}, float one = {1}> {
            d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)
        }"""
    )
    assert not RestoreGelu()(model).modified
