from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering import dialect
from tapeout.lowering.passes.unify_activations import UnifyActivations

import support

SPECIAL = np.array([-np.inf, -7, -1, -0.0, 0, 0.5, 3, 6, 9, np.inf, np.nan], np.float32)


def run(model: ir.Model) -> ir.Model:
    return UnifyActivations()(model).model


def bounds(model: ir.Model) -> list[tuple[float | None, float | None]]:
    """Return the bounds of every Clip."""
    found = []
    for node in model.graph:
        if node.op_type == "Clip":
            given = [*node.inputs[1:], None, None][:2]
            found.append(
                tuple(
                    None if value is None else value.const_value.numpy().item() for value in given
                )
            )
    return found


#: Nodes over x (float[11]), constants, and the bounds of the one Clip that comes out.
UNIFIED = {
    "relu": ("y = Relu(x)", "", (0, None)),
    "relu6": ("a = Relu(x) y = Min(a, h)", "float h = {6}", (0, 6)),
    "relu6 the other way": ("a = Min(x, h) y = Relu(a)", "float h = {6}", (0, 6)),
    "max, min": ("a = Max(l, x) y = Min(h, a)", "float l = {-1}, float[1] h = {6}", (-1, 6)),
    "min, max that cross": ("a = Min(x, h) y = Max(a, l)", "float l = {3}, float h = {-1}", (3, 3)),
    "max, min that cross": (
        "a = Max(x, l) y = Min(a, h)",
        "float l = {3}, float h = {-1}",
        (-1, -1),
    ),
    "several numbers": ("y = Max(x, l, m)", "float l = {-1}, float m = {0.5}", (0.5, None)),
    "relu of relu": ("a = Relu(x) y = Relu(a)", "", (0, None)),
    "clip in clip": (
        "a = Clip(x, l, h) y = Clip(a, m)",
        "float l = {-1}, float h = {6}, float m = {0.5}",
        (0.5, 6),
    ),
    "clip outside clip": (
        "a = Clip(x, l, h) b = Clip(a, m)  y = Relu(b)",
        "float l = {-1}, float h = {6}, float m = {9}",
        (9, 9),
    ),
    "a vector of one": ("y = Clip(x, l)", "float[1] l = {0.5}", (0.5, None)),
    "largest number": (
        "y = Clip(x, l, h)",
        "float l = {0}, float h = {3.4028234663852886e38}",
        (0, None),
    ),
}


@pytest.mark.parametrize("name", UNIFIED)
def test_becomes_one_clip(name: str) -> None:
    nodes, constants, wanted = UNIFIED[name]
    model = support.from_text(
        f"g (float[11] x) => (float[11] z) <{constants}> {{ {nodes} z = Neg(y) }}"
    )
    finite = np.where(np.isinf(SPECIAL), np.float32(100), SPECIAL)
    after = support.assert_same_numbers(model, run, {"x": finite})
    assert [node.op_type for node in after.graph] == ["Clip", "Neg"]
    assert bounds(after) == [wanted]
    assert dialect.check(after) == []
    assert not UnifyActivations()(after).modified


def test_text() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] y) <float h = {6}> {
            [act] a = Relu(x)
            [six] y = Min(h, a)
        }"""
    )
    assert support.body(run(model)) == 'y = Clip (x, "six/min", "six/max")'
    assert {name: value.shape for name, value in model.graph.initializers.items()} == {
        "six/min": (),
        "six/max": (),
    }


def test_upper_bound_alone() -> None:
    model = support.from_text("g (float[2] x) => (float[2] y) <float h = {6}> { y = Min(x, h) }")
    assert support.body(run(model)) == 'y = Clip (x, "", "y/max")'


def test_numbers_beside_several_tensors() -> None:
    model = support.from_text(
        """g (float[2] x, float[3,1] z) => (float[3,2] y) <float h = {0.25}, float[2] v = {1,-1}> {
            y = Min(x, h, z, v)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        '"y/tensors" = Min (x, z, v)\ny = Clip ("y/tensors", "", "y/max")'
    )
    assert not UnifyActivations()(after).modified


#: Left as it is: not a bound by numbers.
LEFT = {
    "tensors": "y = Max(x, x)",
    "a vector": "y = Max(x, v)",
    "computed bounds": "y = Clip(x, s)",
    "a bound that is no number": "y = Max(x, n)",
}


@pytest.mark.parametrize("name", LEFT)
def test_leaves(name: str) -> None:
    model = support.from_text(
        f"""g (float[2] x, float s, float n) => (float[2] y) <float[2] v = {{1,2}}>
            {{ {LEFT[name]} }}""",
        n=np.array(np.nan, np.float32),
    )
    assert not UnifyActivations()(model).modified


def test_a_number_that_enlarges_the_rank() -> None:
    model = support.from_text(
        "g (float[2] x) => (float[1,2] y) <float[1,1] l = {0}> { y = Max(x, l) }"
    )
    before = support.body(model)
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == before


def test_a_value_with_other_uses_keeps_its_clip() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] y, float[2] a) <float h = {6}> {
            a = Relu(x)
            y = Min(a, h)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert bounds(after) == [(0, None), (None, 6)]


def test_clip_that_keeps_everything_vanishes() -> None:
    model = support.from_text(
        """g (uint8[4] x) => (uint8[4] z) <uint8 l = {0}, uint8 h = {255}> {
            y = Clip(x, l, h)
            z = Mul(y, y)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "z = Mul (x, x)"
    assert not after.graph.initializers


@pytest.mark.parametrize(
    "dtype", ["int8", "int32", "int64", "uint8", "uint64", "double", "float16"]
)
def test_dtypes(dtype: str) -> None:
    model = support.from_text(
        f"""g ({dtype}[5] x, {dtype} l, {dtype} h) => ({dtype}[5] y) {{
            a = Max(x, l)
            y = Min(a, h)
        }}""",
        l=np.array(2, dtype.replace("double", "float64")),
        h=np.array(3, dtype.replace("double", "float64")),
    )
    after = support.assert_same_numbers(model, run, tolerance=0)
    assert [node.op_type for node in after.graph] == ["Clip"]
    assert dialect.check(after) == []


def test_large_integers_stay_exact() -> None:
    bound = 2**62 + 1
    model = support.from_text(
        f"g (int64[2] x) => (int64[2] y) <int64 l = {{{bound}}}> {{ y = Max(x, l) }}"
    )
    after = support.assert_same_numbers(model, run, tolerance=0)
    assert bounds(after) == [(bound, None)]


@settings(max_examples=80)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["Relu", "Min", "Max", "Clip"]),
            st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]),
            st.sampled_from([None, -1.5, 0.0, 1.5]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_rows_of_bounds(steps: list[tuple[str, float, float | None]]) -> None:
    lines, constants, value = [], [], "x"
    for index, (kind, low, high) in enumerate(steps):
        constants += [f"float l{index} = {{{low}}}"]
        operands = [] if kind == "Relu" else [f"l{index}"]
        if kind == "Clip" and high is not None:
            constants.append(f"float h{index} = {{{high}}}")
            operands.append(f"h{index}")
        lines.append(f"v{index} = {kind}({', '.join([value, *operands])})")
        value = f"v{index}"
    model = support.from_text(
        f"g (float[11] x) => (float[11] {value}) <{', '.join(constants)}> {{ {' '.join(lines)} }}"
    )
    finite = np.where(np.isinf(SPECIAL), np.float32(100), SPECIAL)
    after = support.assert_same_numbers(model, run, {"x": finite}, tolerance=0)
    assert [node.op_type for node in after.graph] == ["Clip"]
    assert not UnifyActivations()(after).modified
