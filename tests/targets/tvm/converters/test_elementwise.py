from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

import kernels
import support

RNG = np.random.default_rng(0)
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, -1e30], np.float32)
#: Functions that ONNX Runtime has for single precision, and those that it has for double too.
SINGLE = """
Acos Asin Asinh Atan Atanh Cos Cosh Erf Sinh Tan Elu Celu Selu LeakyRelu ThresholdedRelu HardSigmoid
HardSwish Gelu Softplus Softsign Shrink
"""
DOUBLE = "Abs Ceil Exp Floor Neg Reciprocal Round Sigmoid Sign Sin Tanh Relu"
INTEGERS = tuple(
    np.dtype(name)
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_one_tensor(dtype: type) -> None:
    many = kernels.Collection()
    x = many.input(RNG.uniform(-0.99, 0.99, (3, 40)).astype(dtype))
    positive = many.input(RNG.uniform(1.01, 9, (3, 40)).astype(dtype))
    for name in [*DOUBLE.split(), *(SINGLE.split() if dtype == np.float32 else [])]:
        many.add(name, [x])
    for name in ("Log", "Sqrt", *(["Acosh"] if dtype == np.float32 else [])):
        many.add(name, [positive])
    many.assert_same(2e-6)


def test_large_arguments_neither_overflow_nor_vanish() -> None:
    """Against double precision: ONNX Runtime itself loses digits here."""
    x = np.concatenate([np.linspace(-30, 30, 41), [-100, 100, 1000]]).astype(np.float32)
    model = support.from_text(
        "g (float[44] x) => (float[44] s, float[44] m, float[44] g)"
        " { s = Softplus(x) m = Mish(x) g = Sigmoid(x) }"
    )
    found = kernels.run(model, {"x": x})
    exact = x.astype(np.float64)
    softplus = np.logaddexp(0, exact)
    np.testing.assert_allclose(found["s"], softplus, rtol=1e-6, atol=1e-38)
    np.testing.assert_allclose(found["m"], exact * np.tanh(softplus), rtol=2e-6, atol=1e-38)
    np.testing.assert_allclose(found["g"], np.exp(-np.logaddexp(0, -exact)), rtol=1e-5, atol=1e-38)


def test_parameters_of_activations() -> None:
    many = kernels.Collection()
    x = many.input(draw(4, 33) * 3)
    many.add("Elu", [x], alpha=0.3)
    many.add("Celu", [x], alpha=2.5)
    many.add("Selu", [x], alpha=1.1, gamma=0.7)
    many.add("LeakyRelu", [x], alpha=-0.4)
    many.add("ThresholdedRelu", [x], alpha=0.5)
    many.add("HardSigmoid", [x], alpha=0.4, beta=0.1)
    many.add("Shrink", [x], lambd=1.0, bias=0.3)
    many.add("Gelu", [x], approximate="tanh")
    many.add("Swish", [x], alpha=1.7)
    many.add("PRelu", [x, many.constant(draw(33))])
    many.assert_same(2e-6)


def test_pairs_broadcast() -> None:
    many = kernels.Collection()
    x, y = many.input(draw(3, 1, 5)), many.input(draw(4, 1))
    scalar = many.constant(np.float32(1.5))
    for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Less", "GreaterOrEqual", "Equal"):
        many.add(name, [x, y])
        many.add(name, [x, scalar])
    many.add("Sum", [x, y, scalar])
    many.add("Mean", [x, y, scalar, x])
    many.add("Max", [x, y, scalar])
    many.assert_same()


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers(dtype: np.dtype) -> None:
    low = -20 if dtype.kind == "i" else 0
    many = kernels.Collection()
    x = many.input(RNG.integers(low, 20, 64).astype(dtype))
    divisor = RNG.integers(1, 7, 64) * (RNG.choice([-1, 1], 64) if dtype.kind == "i" else 1)
    y = many.input(divisor.astype(dtype))
    for name in ("Add", "Sub", "Mul", "Div", "Mod"):
        if name == "Mod" or dtype.itemsize >= 4:
            many.add(name, [x, y])
    many.add("Mod", [x, y], fmod=1)
    for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        many.add(name, [x, y])
    many.add("BitwiseNot", [x])
    if dtype.itemsize >= 4:
        many.add("Max", [x, y])
        many.add("Min", [x, y])
    if dtype.itemsize >= 4 and dtype.kind == "i":
        many.add("Abs", [x])
        many.add("Sign", [x])
    many.assert_same()


def test_integer_powers_are_exact() -> None:
    base = np.array([0, 1, -1, 2, -3, 7, 3037000499, -2, -1, 10], np.int64)
    exponent = np.array([0, 99, 99, 62, 39, 22, 2, 63, 98, 18], np.int64)
    model = support.from_text("g (int64[10] x, int64[10] e) => (int64[10] y) { y = Pow(x, e) }")
    exact = [int(b) ** int(e) for b, e in zip(base, exponent, strict=True)]
    assert kernels.run(model, {"x": base, "e": exponent})["y"].tolist() == exact


def test_powers_of_mixed_dtypes() -> None:
    many = kernels.Collection()
    x = many.input(RNG.uniform(0.1, 3, 20).astype(np.float32))
    i = many.input(RNG.integers(1, 5, 20).astype(np.int32))
    d = many.input(RNG.uniform(0.5, 2, 20))
    for pair in itertools.product((x, i, d), repeat=2):
        many.add("Pow", pair)
    many.assert_same()


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
def test_shifts_by_the_width_or_more_give_zero(direction: str, dtype: str) -> None:
    bits = np.iinfo(dtype).bits
    x = np.full(5, np.iinfo(dtype).max, dtype)
    amount = np.array([0, 1, bits - 1, bits, bits + 9], dtype)
    onnx_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = support.from_text(
        f"g ({dtype}[5] x, {dtype}[5] n) => ({dtype}[5] y)"
        f' {{ y = BitShift <direction = "{direction}"> (x, n) }}'
    )
    assert model.graph.inputs[0].dtype == onnx_type
    found = kernels.run(model, {"x": x, "n": amount})["y"].tolist()
    shifted = [
        int(v) << int(n) if direction == "LEFT" else int(v) >> int(n)
        for v, n in zip(x, amount, strict=True)
    ]
    assert found == [value & int(np.iinfo(dtype).max) for value in shifted]


def test_remainders_of_floats_follow_the_divisor_or_the_dividend() -> None:
    x = np.array([5.5, -5.5, 5.5, -5.5, 6, -6, 0.0], np.float32)
    y = np.array([2, 2, -2, -2, 3, 3, 5], np.float32)
    model = support.from_text(
        "g (float[7] x, float[7] y) => (float[7] f, float[7] m)"
        " { f = Mod <fmod = 1> (x, y) m = Mod(x, y) }"
    )
    found = kernels.run(model, {"x": x, "y": y})
    np.testing.assert_array_equal(found["f"], np.fmod(x, y))
    np.testing.assert_array_equal(found["m"], np.mod(x, y))


def test_what_is_not_a_number() -> None:
    many = kernels.Collection()
    x = many.input(SPECIAL)
    many.add("IsNaN", [x])
    for positive, negative in itertools.product((0, 1), repeat=2):
        if positive or negative:
            many.add("IsInf", [x], detect_positive=positive, detect_negative=negative)
    many.add("Cast", [x], to=onnx.TensorProto.BOOL)
    many.assert_same()


def test_casts_between_all_dtypes() -> None:
    many = kernels.Collection()
    values = np.array([0, 1, 2.75, 100.5, 7])
    dtypes = [*INTEGERS, *map(np.dtype, ("float16", "float32", "float64", "bool"))]
    for source, target in itertools.product(dtypes, repeat=2):
        name = many.input(values.astype(source))
        many.add("Cast", [name], to=onnx.helper.np_dtype_to_tensor_dtype(target))
    negative = many.input(np.array([-1.9, -0.5, -100.0], np.float32))
    for target in ("int8", "int32", "int64", "float16", "bool"):
        many.add("Cast", [negative], to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(target)))
    many.assert_same(1e-3)


def test_the_same_bits() -> None:
    x = np.concatenate([SPECIAL, draw(7)])
    model = support.from_text(
        "g (float[16] x) => (int32[16] b, float[16] y)"
        " { b = BitCast <to = 6> (x) y = BitCast <to = 1> (b) }"
    )
    found = kernels.run(model, {"x": x})
    np.testing.assert_array_equal(found["b"], x.view(np.int32))
    np.testing.assert_array_equal(found["y"].view(np.int32), x.view(np.int32))


def test_booleans() -> None:
    many = kernels.Collection()
    x, y = (many.input(RNG.integers(0, 2, (3, 7)).astype(bool)) for _ in range(2))
    for name in ("And", "Or", "Xor", "Equal"):
        many.add(name, [x, y])
    many.add("Not", [x])
    many.add("Where", [x, many.input(draw(3, 7)), many.constant(np.float32(2))])
    many.assert_same()


def test_bounds_may_be_left_out_or_be_data() -> None:
    many = kernels.Collection()
    x = many.input(draw(5, 6) * 3)
    low, high = many.constant(np.float32(-1)), many.input(np.array(0.5, np.float32))
    for bounds in ([low], ["", high], [low, high], []):
        many.add("Clip", [x, *bounds])
    many.add(
        "Clip", [many.input(RNG.integers(-100, 100, 9).astype(np.int8)), many.constant(np.int8(3))]
    )
    many.assert_same()


@pytest.mark.parametrize(("name", "step"), [("float16", 2.0**-10), ("bfloat16", 2.0**-7)])
def test_half_precision_is_computed_in_single_and_rounded_once(name: str, step: float) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    x, y = (draw(64, 64).astype(dtype) for _ in range(2))
    model = support.from_text(
        f"g ({name}[64,64] x, {name}[64,64] y, int64[1] a)"
        f" => ({name}[64,64] p, {name}[64,1] s, {name}[64,64] e)"
        " { p = MatMul(x, y) s = ReduceSum(x, a) e = Softmax(x) }",
        a=np.array([1]),
    )
    found = kernels.run(model, {"x": x, "y": y})
    wide, other = x.astype(np.float64), y.astype(np.float64)
    powers = np.exp(wide)
    expected = {
        "p": wide @ other,
        "s": wide.sum(1, keepdims=True),
        "e": powers / powers.sum(1, keepdims=True),
    }
    for key, exact in expected.items():
        assert found[key].dtype == dtype
        error = np.abs(found[key].astype(np.float64) - exact)
        assert (error <= step * np.abs(exact) + 1e-5).all()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_what_half_precision_computes_exactly(name: str) -> None:
    """Of bfloat16, TVM leaves out roundings between the steps of one kernel."""
    to = int(ir.DataType[name.upper()])
    nodes = ["Add(x, z)", "Sub(x, z)", "Mul(x, z)", "Max(x, z)", "Min(x, z)", "Clip(x, l, h)"]
    nodes += ["Abs(x)", "Neg(x)", "Relu(x)", "MaxPool<kernel_shape=[2,2], pads=[1,0,1,0]>(x)"]
    outputs = [f"o{k}" for k in range(len(nodes))]
    body = [
        f"y{k} = {node} {output} = Cast<to=1>(y{k})"
        for k, (node, output) in enumerate(zip(nodes, outputs, strict=True))
    ]
    shapes = ["1,2,16,16"] * (len(nodes) - 1) + ["1,2,17,15"]
    declared = [f"float[{shape}] {name}" for name, shape in zip(outputs, shapes, strict=True)]
    model = support.from_text(
        f"""g (float[1,2,16,16] a, float[1,2,16,16] b, {name} l, {name} h)
            => ({", ".join(declared)}) {{
            x = Cast<to={to}>(a)
            z = Cast<to={to}>(b)
            {" ".join(body)}
        }}""",
        l=np.array(-0.5).astype(np.dtype(getattr(ml_dtypes, name, name))),
        h=np.array(1.5).astype(np.dtype(getattr(ml_dtypes, name, name))),
    )
    a, b = (draw(1, 2, 16, 16) * 200 for _ in range(2))
    a[0, 0, 0, :6] = [np.inf, -np.inf, 65504, 1e-7, 3e-5, 0]
    kernels.assert_same(model, {"a": a, "b": b}, 0 if name == "float16" else 2.0**-8)
