from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.passes.expand_quantization import ExpandQuantization

import support

HALVES = np.arange(-12, 12).reshape(2, 3, 4).astype(np.float32) / 4


def run(model: ir.Model) -> ir.Model:
    after = ExpandQuantization()(model).model
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in after.graph}
    assert dialect.check(after) == []
    return after


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize(
    ("shape", "axis"), [("", 1), ("[1]", 1), ("[3]", 1), ("[4]", -1), ("[2,2,4]", 1)]
)
def test_computed_scales(dtype: str, shape: str, axis: int) -> None:
    block = ", block_size = 2" if shape == "[2,2,4]" else ""
    model = support.from_text(
        f"""g (float[2,3,4] x, float{shape} s, {dtype}{shape} z)
        => ({dtype}[2,3,4] q, float[2,3,4] y) {{
            q = QuantizeLinear <axis = {axis}{block}> (x, s, z)
            y = DequantizeLinear <axis = {axis}{block}> (q, s, z)
        }}"""
    )
    sizes = tuple(int(size) for size in shape.strip("[]").split(",") if size)
    scales = np.asarray(np.linspace(0.25, 2, int(np.prod(sizes))).reshape(sizes), np.float32)
    feeds = {"x": HALVES * 100, "s": scales, "z": np.full(sizes, 3, dtype)}
    support.assert_same_numbers(model, run, feeds, tolerance=0)


def test_rounds_halves_to_even_and_saturates() -> None:
    model = support.from_text(
        "g (float[2,3,4] x, float s) => (uint8[2,3,4] q) { q = QuantizeLinear(x, s) }"
    )
    support.assert_same_numbers(
        model, run, {"x": HALVES * 200, "s": np.array(1, np.float32)}, tolerance=0
    )


def test_constants_of_int8_stay() -> None:
    model = support.from_text(
        """g (float[3] x, float s, int8 z) => (float[3] y) {
            q = QuantizeLinear(x, s, z)
            y = DequantizeLinear(q, s, z)
        }""",
        s=np.float32(0.5),
        z=np.int8(3),
    )
    assert not ExpandQuantization()(model).modified


AMBIGUOUS = {
    "between two": "q = QuantizeLinear(x, a) r = Reshape(q, n) y = DequantizeLinear(r, b)",
    "at once": "q = QuantizeLinear(x, a) y = DequantizeLinear(q, b)",
    "to two": """q = QuantizeLinear(x, a) s = DequantizeLinear(q, a) r = Transpose(q)
        t = DequantizeLinear(r, b) y = Add(s, t)""",
    "of two": """q = QuantizeLinear(x, a) p = QuantizeLinear(x, b) r = Concat<axis = 0>(q, p)
        y = DequantizeLinear(r, a)""",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_integers_of_several_meanings(name: str) -> None:
    zero = ", z)"
    nodes = AMBIGUOUS[name].replace(", a)", ", a" + zero).replace(", b)", ", b" + zero)
    model = support.from_text(
        f"""g (float[3,3] x, float a, float b, int8 z) => (float[?,?] y)
        {"<int64[2] n = {3, 3}>" if "n)" in nodes else ""} {{ {nodes} }}""",
        a=np.float32(0.5),
        b=np.float32(0.125),
        z=np.int8(3),
    )
    support.assert_same_numbers(model, run, {"x": HALVES.reshape(-1)[:9].reshape(3, 3) * 9})
