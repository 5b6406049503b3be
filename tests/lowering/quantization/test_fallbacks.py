from __future__ import annotations

import numpy as np
import pytest

from tapeout.lowering.quantization.fallbacks import in_float
from tapeout.lowering.quantization.placement import place
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme

import support

AFTER = "computed in float32 between dequantization and quantization"

#: Nodes behind `a = Conv(x, w)` -> scheme -> the nodes in float, and why.
FOUND: dict[str, tuple[str, dict[str, str]]] = {
    "b = Relu(a) y = Conv(b, w)": ("tflite", {}),
    "b = Sin(a) y = Conv(b, w)": ("tflite", {"b": "Sin: no int8 kernel in TFLite"}),
    "b = Sin(a) c = Relu(b) y = Transpose(c)": (
        "tflite",
        {
            "b": "Sin: no int8 kernel in TFLite",
            "c": "Relu: it bounds what is in float",
            "y": "Transpose: it passes on what is in float",
        },
    ),
    "y = Softmax(a)": ("int8", {"y": "Softmax: no int8 kernel in the scheme 'int8'"}),
    "y = Add(a, x)": ("int8", {"y": "Add: nothing that computes in integers reads it"}),
    "y = Conv(a, x)": (
        "tflite",
        {
            "y": "Conv: no int8 kernel for it as it is: weight and bias must be constants, those "
            "of Gemm in the normal form"
        },
    ),
    "i = ArgMax<axis = 1>(a) k = Neg(i) j = Cast<to = 1>(k) y = Mul(a, j)": (
        "tflite",
        {
            "i": "ArgMax: no int8 kernel in TFLite",
            "j": "Cast: no int8 kernel in TFLite",
        },
    ),
}


@pytest.mark.parametrize("nodes", FOUND)
def test_every_node_in_float_is_named(nodes: str) -> None:
    name, expected = FOUND[nodes]
    scheme = SCHEMES[name]
    assert isinstance(scheme, Scheme)
    model = support.from_text(
        f"""g (float[2,2,1,1] x, float[2,2,1,1] w) => (float[?,?,?,?] y)
        {{ a = Conv(x, w) {nodes} }}""",
        w=np.ones((2, 2, 1, 1), np.float32),
    )
    found = in_float(model, scheme, place(model, scheme), {})
    assert found == {node: f"{why}; {AFTER}" for node, why in expected.items()}


def test_groups_of_few_channels_stay_in_float() -> None:
    scheme = SCHEMES["tensorrt-rtx"]
    assert isinstance(scheme, Scheme)
    model = support.from_text(
        """g (float[1,8,4,4] x, float[8,1,1,1] w, float[8,4,1,1] v) => (float[1,8,4,4] y)
        { a = Conv<group = 8>(x, w) y = Conv<group = 2>(a, v) }""",
        w=np.ones((8, 1, 1, 1), np.float32),
        v=np.ones((8, 4, 1, 1), np.float32),
    )
    assert in_float(model, scheme, place(model, scheme), {}) == {
        "a": "Conv: its groups have 1 channels; int8 kernels fill to 4; computed in float16 "
        "between dequantization and quantization"
    }


def test_what_the_rest_is_in_is_said_and_what_it_cannot_hold() -> None:
    scheme = SCHEMES["tensorrt-fp16"]
    assert isinstance(scheme, Scheme)
    model = support.from_text("g (float[2] x) => (float[2] z) { y = Exp(x) z = Neg(y) }")
    found = in_float(model, scheme, place(model, scheme), {"z": "it is large"})
    why = "no int8 kernel in the scheme 'tensorrt-fp16'; computed in"
    between = "between dequantization and quantization"
    assert found == {
        "y": f"Exp: {why} float16 {between}",
        "z": f"Neg: {why} float32 {between}, as it is large",
    }
