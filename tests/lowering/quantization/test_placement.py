from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.quantization.placement import Quantized, channel_axis, place
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme

import support

OWN = Quantized()
POSITIVE = Quantized(bounds=(0.0, math.inf))
SHARES = Quantized(bounds=(0.0, 1.0))


def scheme(name: str) -> Scheme:
    found = SCHEMES[name]
    assert isinstance(found, Scheme)
    return found


def model_of(nodes: str, output: str = "1,2,4,4") -> ir.Model:
    """Return a model of an input x and of 1x1 convolutions' weights v, w."""
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((2, 2, 1, 1)).astype(np.float32) for name in "vw"}
    unused = "".join(f" z{name} = Neg({name})" for name in "vw")
    outputs = "".join(f", float[2,2,1,1] z{name}" for name in "vw")
    return support.from_text(
        f"""g (float[1,2,4,4] x, float[2,2,1,1] v, float[2,2,1,1] w)
        => (float[{output}] y{outputs}) <float zero = {{0}}> {{ {nodes}{unused} }}""",
        **weights,
    )


#: Nodes; scheme; kept; the linear nodes; the values.
PLACES: Mapping[str, tuple[str, str, tuple[str, ...], tuple[str, ...], dict[str, Quantized]]] = {
    "sums leave the last linear operator in float": (
        "y = Conv(x, w)",
        "int8",
        (),
        ("y",),
        {"x": OWN},
    ),
    "integers up to the output": (
        "y = Conv(x, w)",
        "tflite",
        (),
        ("y",),
        {"x": OWN, "y": OWN},
    ),
    "an activation is part of the sum": (
        "a = Conv(x, w) r = Clip(a, zero) y = Conv(r, v)",
        "int8",
        (),
        ("a", "y"),
        {"x": OWN, "r": POSITIVE},
    ),
    "not where others read the sum": (
        "a = Conv(x, w) r = Clip(a, zero) s = Add(r, a) y = Conv(s, v)",
        "int8",
        (),
        ("a", "y"),
        {"x": OWN, "a": OWN, "r": POSITIVE, "s": OWN},
    ),
    "what follows the last linear operator is float": (
        "a = Conv(x, w) r = Clip(a, zero) y = Add(r, x)",
        "int8",
        (),
        ("a",),
        {"x": OWN},
    ),
    "between operators in float nothing is rounded": (
        "e = Exp(x) t = Transpose<perm=[0,1,3,2]>(e) y = Neg(t)",
        "tflite",
        (),
        (),
        {},
    ),
    "what passes numbers on keeps the parameters": (
        "t = Transpose<perm=[0,1,3,2]>(x) u = Transpose<perm=[0,2,1,3]>(t) "
        "s = Transpose<perm=[0,2,1,3]>(u) y = Conv(s, w)",
        "int8",
        (),
        ("y",),
        {"x": OWN, "t": Quantized("x"), "u": Quantized("x"), "s": Quantized("x")},
    ),
    "kept": (
        "a = Conv(x, w) r = Clip(a, zero) y = Conv(r, v)",
        "int8",
        ("a",),
        ("y",),
        {"r": POSITIVE},
    ),
    "kept at the end": (
        "a = Conv(x, w) r = Clip(a, zero) y = Conv(r, v)",
        "int8",
        ("y",),
        ("a",),
        {"x": OWN},
    ),
    "the scheme fixes parameters": (
        "y = Softmax(x)",
        "tflite",
        (),
        (),
        {"x": OWN, "y": Quantized(None, (1 / 256, -128), (0.0, 1.0))},
    ),
    "sums go into what is computed in float as they are": (
        "a = Conv(x, w) b = Conv(x, v) s = Add(a, b) t = Mul(s, x) y = Conv(t, v)",
        "tensorrt-fp16",
        (),
        ("a", "b", "y"),
        {"x": OWN, "t": OWN},
    ),
    "the factors of sums alone": (
        "a = Conv(x, w) r = Clip(a, zero) s = Add(r, x) y = Conv(s, v)",
        "tensorrt-rtx",
        (),
        ("a", "y"),
        {"x": OWN, "s": OWN},
    ),
    "but for sums that others read, and what is not a sum": (
        "a = Conv(x, w) s = Add(a, x) r = LeakyRelu(a) t = Mul(s, r) y = Conv(t, v)",
        "tensorrt-fp16",
        (),
        ("a", "y"),
        {"x": OWN, "a": OWN, "r": OWN, "t": OWN},
    ),
    "softmax in float": (
        "s = Softmax(x) y = Conv(s, w)",
        "int8",
        (),
        ("y",),
        {"s": SHARES},
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_place(name: str) -> None:
    nodes, kind, kept, linear, values = PLACES[name]
    found = place(model_of(nodes), scheme(kind), kept)
    assert found.nodes == linear
    assert dict(found.values) == values
    assert list(found.values) == list(values)


@pytest.mark.parametrize(
    ("operator", "bounds"),
    [
        ("Clip(a, zero, six)", (0, 6)),
        ("Clip(a, less, six)", (-1, 6)),
        ("Clip(a, , six)", (-math.inf, 6)),
        ("Relu(a)", (0, math.inf)),
        ("Tanh(a)", (-1, 1)),
        ("Sigmoid(a)", (0, 1)),
        ("Neg(a)", (-math.inf, math.inf)),
    ],
)
def test_bounds_of_activations(operator: str, bounds: tuple[float, float]) -> None:
    model = support.from_text(
        f"""g (float[1,2,4,4] x, float[2,2,1,1] w) => (y)
            <float zero = {{0}}, float six = {{6}}, float less = {{-1}}> {{
            a = Conv(x, w) r = {operator} y = Conv(r, w)
        }}""",
        w=np.ones((2, 2, 1, 1), np.float32),
    )
    assert place(model, scheme("int8")).values["r"].bounds == bounds


def test_same_parameters_in_concat() -> None:
    nodes = """a = Conv(x, w) t = Transpose<perm=[0,1,3,2]>(a) k = Concat<axis=1>(t, x)
    y = Concat<axis=1>(k, x)"""
    found = place(model_of(nodes, "1,6,4,4"), scheme("tflite"))
    assert found.values == {name: Quantized("y") for name in "xatk"} | {"y": OWN}


def test_a_concat_of_fixed_parameters_is_float() -> None:
    nodes = "s = Softmax(x) t = Transpose<perm=[0,1,3,2]>(s) y = Concat<axis=1>(t, x)"
    found = place(model_of(nodes, "1,4,4,4"), scheme("tflite"))
    assert found.integer == ("s", "t")
    assert found.values["t"] == Quantized("s")


def test_gather_and_pad() -> None:
    model = support.from_text(
        """g (float[1,2,4,4] x, int64[3] i) => (float[1,2,6,4] y)
        <int64[8] p = {0,0,1,0,0,0,2,0}, float one = {1}> {
            k = Gather<axis=2>(x, i)
            y = Pad(k, p, one)
        }"""
    )
    assert place(model, scheme("tflite")).integer == ()


def test_channel_axis() -> None:
    model = support.from_text(
        """g (float[1,2,4,4] x, float[2,3,1,1] t, float[3,4,5] m)
        => (float[1,3,4,4] y, float[3,4,5] z) {
            y = ConvTranspose(x, t)
            k = ReduceSum<keepdims=0>(x)
            z = Mul(m, k)
        }""",
        t=np.ones((2, 3, 1, 1), np.float32),
        m=np.ones((3, 4, 5), np.float32),
    )
    assert channel_axis(model.graph[0]) == 1
    assert place(model, scheme("int8")).nodes == ("y",)
