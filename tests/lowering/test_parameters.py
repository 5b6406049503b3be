from __future__ import annotations

import numpy as np
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.parameters import corrections

import support


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        ("Concat<axis=-2>(x, x)", "axis = 0, 2 inputs, 1 outputs"),
        ("Elu<alpha=1.0>(x)", "no alpha, 1 inputs, 1 outputs"),
        ("ReduceSum(x, a)", "input 1 = [1], 2 inputs, 1 outputs"),
        ("Clip(x, , )", "1 inputs, 1 outputs"),
        ("Softmax<axis=1>(x)", None),
        ("Elu<alpha=0.1>(x)", None),
    ],
)
def test_says_what_to_correct(node: str, wanted: str | None) -> None:
    model = support.from_text(
        f"g (float[2,3] x) => (float[n,m] y) <int64[1] a = {{-1}}> {{ y = {node} }}"
    )
    found = corrections(model.graph[0])
    assert (None if found is None else str(found)) == wanted


def test_says_nothing_of_other_domains_and_unknown_operators() -> None:
    model = support.from_text("g (float[2,3] x) => (float[2,3] y) { y = Elu<alpha=1.0>(x) }")
    model.graph[0].domain = dialect.DOMAIN
    assert corrections(model.graph[0]) is None
    model.graph[0].domain, model.graph[0].op_type = "", "Pull"
    assert corrections(model.graph[0]) is None


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        ("DequantizeLinear<axis=0>(x, s, z)", "no axis, 3 inputs, 1 outputs"),
        ("DequantizeLinear(x, s)", "input 2 = 0, 3 inputs, 1 outputs"),
        ("DequantizeLinear(x, t, u)", "input 1 = 0.5, input 2 = 3, 3 inputs, 1 outputs"),
        (
            "DequantizeLinear<axis=0>(x, t, u)",
            "no axis, input 1 = 0.5, input 2 = 3, 3 inputs, 1 outputs",
        ),
        ("DequantizeLinear(x, v, w)", "axis = 1, 3 inputs, 1 outputs"),
        ("DequantizeLinear<axis=-1>(x, v)", "axis = 1, input 2 = [0, 0, 0], 3 inputs, 1 outputs"),
        ("DequantizeLinear<axis=1>(x, v, w)", None),
        ("DequantizeLinear<output_dtype=1>(x, s, z)", "no output_dtype, 3 inputs, 1 outputs"),
        ("DequantizeLinear<output_dtype=10>(x, s, z)", None),
        ("DequantizeLinear<axis=1, block_size=2>(x, k)", None),
        ("DequantizeLinear(x, s, z)", None),
        ("QuantizeLinear(f, s)", "input 2 = 0, 3 inputs, 1 outputs"),
        (
            "QuantizeLinear<output_dtype=3>(f, s)",
            "no output_dtype, input 2 = 0, 3 inputs, 1 outputs",
        ),
        (
            "QuantizeLinear<axis=1, saturate=1>(f, s, z)",
            "no axis, no saturate, 3 inputs, 1 outputs",
        ),
        ("QuantizeLinear(f, s, z)", None),
    ],
)
def test_quantization(node: str, wanted: str | None) -> None:
    result = "float"
    if node.startswith("QuantizeLinear"):
        result = "int8" if "output_dtype=3" in node else "uint8"
    elif "output_dtype=10" in node:
        result = "float16"
    model = support.from_text(
        f"""g (uint8[2,3] x, float[2,3] f) => ({result}[n,m] y)
            <float s = {{0.5}}, uint8 z = {{3}}, float[1] t = {{0.5}}, uint8[1] u = {{3}},
             float[3] v = {{1,2,3}}, uint8[3] w = {{1,2,3}}, float[2,2] k = {{1,2,3,4}}>
            {{ y = {node} }}"""
    )
    found = corrections(model.graph[0])
    assert (None if found is None else str(found)) == wanted


def test_the_zero_point_that_is_written_is_of_the_output() -> None:
    model = support.from_text(
        """g (float[2] f) => (int8[2] y) <float s = {0.5}>
           { y = QuantizeLinear<output_dtype=3>(f, s) }"""
    )
    found = corrections(model.graph[0])
    assert found is not None
    assert found.constants[2].dtype == np.int8
