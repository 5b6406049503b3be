"""What was rounded inside is rounded outside; no number changes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering import dialect
from tapeout.lowering.passes.integer_borders import IntegerBorders
from tapeout.lowering.passes.sign_quantization import SignQuantization
from tapeout.lowering.passes.sink_dequantize import SinkDequantize
from tapeout.lowering.quantized import meaning_of
from tapeout.lowering.reference import Reference

import support

PARAMETERS = {
    "s": np.array(0.5, np.float32),
    "z": np.array(3, np.int8),
    "t": np.array(0.25, np.float32),
    "u": np.array(9, np.uint8),
    "n": np.array([6]),
}


MOVED = """r = Reshape(x, n) q = QuantizeLinear(r, s, z) d = DequantizeLinear(q, s, z)
           e = Neg(d) f = QuantizeLinear(e, t, z) g = DequantizeLinear(f, t, z)
           y = Reshape(g, n)"""


def test_integers_in_and_out_past_what_moves_them() -> None:
    before = support.from_text(
        f"""g (float[2,3] x, float s, float t, int8 z, int64[1] n) => (float[6] y) {{ {MOVED} }}""",
        **{name: PARAMETERS[name] for name in "stzn"},
    )
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32) * 40
    real = Reference(before).run({"x": x})["y"]
    after = IntegerBorders()(before).model
    assert dialect.check(after) == []
    (entry,), (result,) = after.graph.inputs, after.graph.outputs
    assert (entry.name, entry.dtype) == ("x", ir.DataType.INT8)
    assert (result.name, result.dtype) == ("y", ir.DataType.INT8)
    given, gives = meaning_of(entry), meaning_of(result)
    assert given is not None
    assert gives is not None
    assert (given.scale, given.zero, gives.scale, gives.zero) == (0.5, 3, 0.25, 3)
    stored = np.clip(np.rint(x / np.float32(0.5)) + 3, -128, 127).astype(np.int8)
    found = Reference(after).run({"x": stored})["y"]
    np.testing.assert_array_equal((found.astype(np.float32) - 3) * np.float32(0.25), real)
    lowered = SinkDequantize()(after).model
    assert [node.op_type for node in lowered.graph] == [
        "Reshape", "DequantizeLinear", "Neg", "QuantizeLinear", "Reshape",
    ]  # fmt: skip
    np.testing.assert_array_equal(Reference(lowered).run({"x": stored})["y"], found)


REFUSED = {
    "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) w = Neg(x)": (
        "input 'x': is read in float by node 'w' (Neg)",
        "output 'w': is computed in float by node 'w' (Neg)",
    ),
    "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) "
    "p = QuantizeLinear(x, t, z) w = DequantizeLinear(p, t, z)": (
        "input 'x': is rounded with several parameters: the scales 0.5, 0.25",
    ),
    "q = QuantizeLinear(x, s, u) y = DequantizeLinear(q, s, u) w = Identity(c)": (
        "input 'x': is rounded to UINT8, not to int8 of one scale",
        "output 'y': is computed in float",
        "output 'w': is computed in float",
    ),
}


@pytest.mark.parametrize(("text", "reasons"), REFUSED.items())
def test_every_refusal_names_the_node(text: str, reasons: tuple[str, ...]) -> None:
    names = [name for name in "stzu" if f" {name}" in text]
    kinds = {"s": "float", "t": "float", "z": "int8", "u": "uint8"}
    declared = "".join(f", {kinds[name]} {name}" for name in names) + ", float[6] c"
    model = support.from_text(
        f"g (float[6] x{declared}) => (float[6] y, float[6] w) {{ {text} }}",
        c=np.ones(6, np.float32),
        **{name: PARAMETERS[name] for name in names},
    )
    with pytest.raises(ModelError) as caught:
        IntegerBorders()(model)
    found = [str(problem) for problem in caught.value.problems]
    assert [item.startswith(reason) for item, reason in zip(found, reasons, strict=True)] == [
        True
    ] * len(reasons)
    assert all("--io float" in item for item in found)


def test_indices_stay_indices() -> None:
    model = support.from_text(
        """g (int64[2] i, float[4,3] x, float s, int8 z) => (int64[3] y) {
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) r = Gather(d, i)
            y = ArgMax <axis = 0, keepdims = 0> (r)
        }""",
        s=PARAMETERS["s"],
        z=PARAMETERS["z"],
    )
    after = IntegerBorders()(model).model
    assert [value.dtype for value in (*after.graph.inputs, *after.graph.outputs)] == [
        ir.DataType.INT64, ir.DataType.INT8, ir.DataType.INT64,
    ]  # fmt: skip


def test_unsigned_integers_are_made_signed_first() -> None:
    model = support.from_text(
        """g (float[6] x, float s, uint8 u) => (float[6] y) {
            q = QuantizeLinear(x, s, u) y = DequantizeLinear(q, s, u)
        }""",
        s=PARAMETERS["s"],
        u=PARAMETERS["u"],
    )
    x = np.array([-100, -4.5, 0, 0.3, 90, 1000], np.float32)
    real = Reference(model).run({"x": x})["y"]
    after = IntegerBorders()(SignQuantization()(model).model).model
    meaning = meaning_of(after.graph.inputs[0])
    assert meaning is not None
    assert (meaning.dtype, meaning.zero) == (ir.DataType.INT8, 9 - 128)
    stored = np.clip(np.rint(x / np.float32(0.5)) + 9 - 128, -128, 127).astype(np.int8)
    found = Reference(after).run({"x": stored})["y"]
    np.testing.assert_array_equal((found.astype(np.float32) + 119) * np.float32(0.5), real)
