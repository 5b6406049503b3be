from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import provenance
from tapeout.lowering.passes.restore_hard_swish import RestoreHardSwish

import support

CONSTANTS = {
    "zero": 0.0,
    "one": 1.0,
    "three": 3.0,
    "six": 6.0,
    "half": 0.5,
    "sixth": 1 / 6,
    "fifth": 0.2,
    "five": 5.0,
    "big": 2.5,
}


def run(model: ir.Model) -> ir.Model:
    return RestoreHardSwish()(model).model


def written_out(nodes: str, dtype: type = np.float32, outputs: str = "") -> ir.Model:
    name = {np.float16: "float16", np.float32: "float", np.float64: "double"}[dtype]
    inputs = ", ".join(f"{name} {constant}" for constant in CONSTANTS)
    return support.from_text(
        f"g ({name}[4,25] x, {inputs}) => ({name}[4,25] y{outputs}) {{ {nodes} }}",
        **{constant: np.array(value, dtype) for constant, value in CONSTANTS.items()},
    )


def wide(dtype: type = np.float32) -> dict[str, np.ndarray]:
    return {"x": np.linspace(-8, 8, 100).reshape(4, 25).astype(dtype)}


SWISH = {
    "torch": "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
    "gate first": "a = Add(three, x) c = Clip(a, zero, six) g = Div(c, six) y = Mul(g, x)",
    "sixth": "a = Add(x, three) c = Clip(a, zero, six) g = Mul(sixth, c) y = Mul(x, g)",
    "sixth of x": "a = Add(x, three) c = Clip(a, zero, six) g = Mul(sixth, x) y = Mul(c, g)",
    "unit clip": "s = Mul(x, sixth) a = Add(s, half) c = Clip(a, zero, one) y = Mul(c, x)",
    "operator": "h = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(x, h)",
}


@pytest.mark.parametrize("spelling", SWISH)
def test_hard_swish(spelling: str) -> None:
    after = support.assert_same_numbers(written_out(SWISH[spelling]), run, wide())
    assert support.body(after) == "y = HardSwish (x)"
    assert not RestoreHardSwish()(after).modified


SIGMOID = {
    "torch": ("a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)", 1 / 6),
    "sixth": ("a = Add(x, three) c = Clip(a, zero, six) y = Mul(c, sixth)", 1 / 6),
    "unit clip": ("s = Mul(fifth, x) a = Add(half, s) y = Clip(a, zero, one)", 0.2),
    "other slope": ("a = Add(x, big) c = Clip(a, zero, five) y = Div(c, five)", 0.2),
    "gate of another value": (
        "a = Add(x, three) c = Clip(a, zero, six) h = Div(c, six) e = Exp(x) y = Mul(h, e)",
        1 / 6,
    ),
    "slope of no swish": (
        "s = Mul(fifth, x) a = Add(half, s) c = Clip(a, zero, one) y = Mul(c, x)",
        0.2,
    ),
}


@pytest.mark.parametrize("spelling", SIGMOID)
def test_hard_sigmoid(spelling: str) -> None:
    nodes, alpha = SIGMOID[spelling]
    after = support.assert_same_numbers(written_out(nodes), run, wide())
    (gate,) = (node for node in after.graph if node.op_type == "HardSigmoid")
    assert gate.attributes["alpha"].as_float() == pytest.approx(alpha)
    assert gate.attributes["beta"].as_float() == 0.5
    assert "Clip" not in [node.op_type for node in after.graph]
    assert not RestoreHardSwish()(after).modified


def test_provenance() -> None:
    after = run(written_out(SWISH["torch"]))
    assert provenance.origins(after.graph[0]) == ("a", "c", "m", "y")


def test_half_precision() -> None:
    model = written_out(SWISH["sixth"], np.float16)
    after = support.assert_same_numbers(model, run, wide(np.float16), tolerance=2e-3)
    assert support.body(after) == "y = HardSwish (x)"


CLIPPED = "a = Add(x, three) c = Clip(a, zero, six) "
KEEPS = {
    "relu6": "y = Clip(x, zero, six)",
    "scaled relu6": "c = Clip(x, zero, six) y = Div(c, six)",
    "no sixth": CLIPPED + "y = Mul(x, c)",
    "wrong offset": "a = Add(x, one) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
    "wrong bound": "a = Add(x, three) c = Clip(a, zero, five) m = Mul(x, c) y = Div(m, six)",
    "wrong lower bound": "a = Add(x, three) c = Clip(a, one, six) m = Mul(x, c) y = Div(m, six)",
    "no upper bound": "a = Add(x, three) c = Clip(a, zero) m = Mul(x, c) y = Div(m, six)",
    "clip used twice": CLIPPED + "m = Mul(x, c) d = Div(m, six) y = Add(d, c)",
    "sum used twice": CLIPPED + "m = Mul(x, c) d = Div(m, six) y = Add(d, a)",
    "product used twice": CLIPPED + "m = Mul(x, c) d = Div(m, six) y = Add(d, m)",
    "operator with other slope": "h = HardSigmoid(x) y = Mul(x, h)",
    "operator alone": "y = HardSigmoid(x)",
}


@pytest.mark.parametrize("name", KEEPS)
def test_keeps(name: str) -> None:
    assert not RestoreHardSwish()(written_out(KEEPS[name])).modified


def test_keeps_double_for_which_the_reference_has_no_hard_sigmoid() -> None:
    assert not RestoreHardSwish()(written_out(SWISH["torch"], np.float64)).modified


def test_keeps_where_an_output_lies_inside() -> None:
    model = written_out(SWISH["torch"], outputs=", float[4,25] m")
    assert not RestoreHardSwish()(model).modified


def test_keeps_bounds_that_are_no_constants() -> None:
    model = support.from_text(
        """g (float[4] x, float six) => (float[4] y)
            <float zero = {0}, float three = {3}, float divisor = {6}> {
            a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, divisor)
        }"""
    )
    assert not RestoreHardSwish()(model).modified
