from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import provenance
from tapeout.lowering.passes.restore_layer_norm import RestoreLayerNorm

import support

RNG = np.random.default_rng(0)
MOMENTS = (
    "m = ReduceMean(x, a) d = Sub(x, m) q = Pow(d, two) v = ReduceMean(q, a) t = Add(v, eps) "
    "r = Sqrt(t) "
)
#: As exporters write it, with scale g and bias b; d2 and m2 are computed a second time.
FORMS = {
    "torch": MOMENTS + "n = Div(d, r) s = Mul(n, g) y = Add(s, b)",
    "product": "m = ReduceMean(x, a) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, a) "
    "t = Add(eps, v) r = Sqrt(t) n = Div(d, r) s = Mul(g, n) y = Add(b, s)",
    "subtracted twice": "m = ReduceMean(x, a) d = Sub(x, m) d2 = Sub(x, m) q = Pow(d, two) "
    "v = ReduceMean(q, a) t = Add(v, eps) r = Sqrt(t) n = Div(d2, r) s = Mul(n, g) y = Add(s, b)",
    "averaged twice": "m = ReduceMean(x, a) m2 = ReduceMean(x, a) d = Sub(x, m) d2 = Sub(x, m2) "
    "q = Mul(d, d2) v = ReduceMean(q, a) t = Add(v, eps) r = Sqrt(t) n = Div(d, r) s = Mul(n, g) "
    "y = Add(s, b)",
    "reciprocal": MOMENTS + "i = Reciprocal(r) n = Mul(d, i) s = Mul(n, g) y = Add(s, b)",
    "one divided": MOMENTS + "i = Div(one, r) n = Mul(i, d) s = Mul(n, g) y = Add(s, b)",
    "tensorflow": MOMENTS + "i = Reciprocal(r) k = Mul(i, g) p = Mul(x, k) w = Mul(m, k) "
    "z = Sub(b, w) y = Add(p, z)",
}
#: The same without scale, bias or both.
PARTS = {
    "no bias": (MOMENTS + "n = Div(d, r) y = Mul(n, g)", 2),
    "no scale": (MOMENTS + "n = Div(d, r) y = Add(n, b)", 3),
    "neither": (MOMENTS + "y = Div(d, r)", 2),
    "tensorflow, no bias": (
        MOMENTS + "i = Reciprocal(r) k = Mul(i, g) p = Mul(x, k) w = Mul(k, m) y = Sub(p, w)",
        2,
    ),
    "tensorflow, no scale": (
        MOMENTS + "i = Reciprocal(r) p = Mul(x, i) w = Mul(m, i) z = Sub(b, w) y = Add(z, p)",
        3,
    ),
}


def run(model: ir.Model) -> ir.Model:
    return RestoreLayerNorm()(model).model


def written_out(
    nodes: str,
    *,
    axes: str = "-1",
    parameters: tuple[int, ...] = (5,),
    dtype: str = "float",
    outputs: str = "",
    constant: bool = True,
) -> ir.Model:
    numpy = {"float16": np.float16, "float": np.float32, "double": np.float64}[dtype]
    dims = ",".join(map(str, parameters))
    given = {name: RNG.standard_normal(parameters).astype(numpy) for name in "gb"}
    return support.from_text(
        f"""g ({dtype}[2,4,5] x, {dtype}[{dims}] g, {dtype}[{dims}] b, {dtype} eps, {dtype} two,
            {dtype} one, int64[{axes.count(",") + 1}] a) => ({dtype}[2,4,5] y{outputs}) {{
            {nodes}
        }}""",
        **(given if constant else {}),
        eps=np.array(1e-3, numpy),
        two=np.array(2, numpy),
        one=np.array(1, numpy),
        a=np.array([int(axis) for axis in axes.split(",")], np.int64),
    )


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    after = support.assert_same_numbers(written_out(FORMS[form]), run)
    assert support.body(after) == (
        "y = LayerNormalization <axis: int = 2, epsilon: float = 0.001> (x, g, b)"
    )
    assert set(after.graph.initializers) <= {"g", "b", "one", "two"}
    assert not RestoreLayerNorm()(after).modified


def test_provenance() -> None:
    after = run(written_out(FORMS["torch"]))
    assert provenance.origins(after.graph[0]) == tuple("mdqvtrnsy")


@pytest.mark.parametrize("part", PARTS)
def test_parts(part: str) -> None:
    nodes, inputs = PARTS[part]
    after = support.assert_same_numbers(written_out(nodes), run)
    (norm,) = after.graph
    assert norm.op_type == "LayerNormalization"
    assert len(norm.inputs) == inputs
    assert norm.inputs[1] is not None
    assert norm.inputs[1].shape == (5,)


@pytest.mark.parametrize(
    ("axes", "parameters"),
    [
        ("1,2", (4, 5)),
        ("-1,-2", (4, 5)),
        ("-2,-1", (1, 4, 5)),
        ("1,2", (5,)),
        ("1,2", (4, 1)),
        ("2", ()),
    ],
)
def test_axes_and_shapes_of_the_parameters(axes: str, parameters: tuple[int, ...]) -> None:
    model = written_out(FORMS["torch"], axes=axes, parameters=parameters)
    after = support.assert_same_numbers(model, run)
    (norm,) = after.graph
    assert [value.shape for value in norm.inputs[1:] if value is not None] == (
        [(4, 5), (4, 5)] if "," in axes else [(5,), (5,)]
    )


def test_parameters_may_be_computed() -> None:
    after = support.assert_same_numbers(written_out(FORMS["torch"], constant=False), run)
    assert [node.op_type for node in after.graph] == ["LayerNormalization"]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 5e-3), ("double", 1e-8)])
def test_dtypes(dtype: str, tolerance: float) -> None:
    model = written_out(FORMS["torch"], dtype=dtype)
    after = support.assert_same_numbers(model, run, tolerance=tolerance)
    assert [node.op_type for node in after.graph] == ["LayerNormalization"]


def test_a_scale_along_other_axes_stays_outside() -> None:
    model = written_out(FORMS["torch"], parameters=(4, 1))
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["LayerNormalization", "Mul", "Add"]


TAIL = "n = Div(d, r) s = Mul(n, g) y = Add(s, b)"
KEEPS = {
    "axes that are not the last": (FORMS["torch"], {"axes": "1", "parameters": (1, 5)}),
    "spread used twice": (MOMENTS + "n = Div(d, r) s = Mul(n, g) y = Add(s, r)", {}),
    "deviation used twice": (MOMENTS + "n = Div(d, r) s = Mul(n, g) y = Add(s, d)", {}),
    "mean used twice": (MOMENTS + "n = Div(d, r) s = Mul(n, g) y = Add(s, m)", {}),
    "an output inside": (FORMS["torch"], {"outputs": ", float[2,4,1] v"}),
    "a cube": (FORMS["torch"].replace("two", "one"), {}),
    "another mean": (
        "e = Exp(x) m = ReduceMean(e, a) d = Sub(x, m) q = Pow(d, two) v = ReduceMean(q, a) "
        "t = Add(v, eps) r = Sqrt(t) " + TAIL,
        {},
    ),
    "another deviation": (
        "m = ReduceMean(x, a) d1 = Sub(x, m) e = Exp(x) m2 = ReduceMean(e, a) d = Sub(e, m2) "
        "q = Pow(d1, two) v = ReduceMean(q, a) t = Add(v, eps) r = Sqrt(t) " + TAIL,
        {},
    ),
    "the inverse of the quotient": (MOMENTS + "n = Div(r, d) s = Mul(n, g) y = Add(s, b)", {}),
    "mean minus x": (FORMS["torch"].replace("Sub(x, m)", "Sub(m, x)"), {}),
    "epsilon that is not constant": (FORMS["torch"].replace("eps)", "b)"), {"constant": False}),
    "tensorflow, signs exchanged": (FORMS["tensorflow"].replace("Sub(b, w)", "Sub(w, b)"), {}),
}


@pytest.mark.parametrize("name", KEEPS)
def test_keeps(name: str) -> None:
    nodes, options = KEEPS[name]
    assert not RestoreLayerNorm()(written_out(nodes, **options)).modified


def test_parameters_that_must_be_made_are_bounded() -> None:
    model = written_out(MOMENTS + "y = Div(d, r)", axes="1,2")
    assert not RestoreLayerNorm(limit=79)(model).modified
    after = support.assert_same_numbers(model, lambda m: RestoreLayerNorm(limit=80)(m).model)
    assert [node.op_type for node in after.graph] == ["LayerNormalization"]
