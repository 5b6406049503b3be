"""Constant weights that kernels read as they are stored: the numbers, and what is kept of them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.canonical import canonical
from tapeout.lowering.passes.convert_precision import ConvertPrecision
from tapeout.lowering.passes.quantize_weights import QuantizeWeights
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.memory import memory_of

import kernels
import quantized
import support

RNG = np.random.default_rng(0)

#: Stored in: (dtype of the integers, block, whether there are zero points).
INTEGERS = {
    "int8": (np.int8, 0, False),
    "int8 by tensor": (np.int8, None, False),
    "uint8 with zero points": (np.uint8, 0, True),
    "uint8 in blocks": (np.uint8, 4, True),
    "int4": (ml_dtypes.int4, 4, False),
    "int4 by channel": (ml_dtypes.int4, 0, False),
    "uint4 with zero points": (ml_dtypes.uint4, 4, True),
}

#: The products: text of a graph from float x, the shape of the constant w, and its axes of
#: channels and of sums.
PRODUCTS = {
    "MatMul": ("(float[2,3,8] x, {w}[8,6] w) => (float[2,3,6] y) {{ {d} y = MatMul(x, v) }}", 1, 0),
    "of a vector": ("(float[8] x, {w}[8,6] w) => (float[6] y) {{ {d} y = MatMul(x, v) }}", 1, 0),
    "Gemm": (
        """(float[3,8] x, {w}[6,8] w, float[6] b) => (float[3,6] y)
            {{ {d} y = Gemm<transB=1, alpha=0.5>(x, v, b) }}""",
        0,
        1,
    ),
    "Gemm of turned data": (
        "(float[8,3] x, {w}[8,6] w) => (float[3,6] y) {{ {d} y = Gemm<transA=1>(x, v) }}",
        1,
        0,
    ),
    "Conv": (
        """(float[2,8,5,5] x, {w}[6,8,3,2] w, float[6] b) => (float[2,6,3,3] y)
            {{ {d} y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, v, b) }}""",
        0,
        1,
    ),
    "in groups": (
        """(float[1,8,9] x, {w}[6,4,3] w) => (float[1,6,5] y)
            {{ {d} y = Conv<group=2, dilations=[2]>(x, v) }}""",
        0,
        1,
    ),
    "in depth": (
        "(float[1,4,4,4,4] x, {w}[6,4,2,2,2] w) => (float[1,6,3,3,3] y) {{ {d} y = Conv(x, v) }}",
        0,
        1,
    ),
    "depthwise": (
        """(float[1,6,5,5] x, {w}[6,1,3,3] w) => (float[1,6,3,3] y)
            {{ {d} y = Conv<group=6>(x, v) }}""",
        0,
        1,
    ),
}

#: Those that are tried channels-last; the others are channels-first, or have no channels.
LAST = ("Conv", "depthwise")


def shape_of_weight(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("{w}[")[1].split("]")[0].split(",")))


def kept(model: ir.Model) -> int:
    """Return the bytes of constants that the engine holds."""
    return memory_of(compile_model(model, kernels.host().toolchain, kernels.core())).weights


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("name", INTEGERS)
def test_integers(product: str, name: str) -> None:
    text, channels, summed = PRODUCTS[product]
    dtype, block, with_zeros = INTEGERS[name]
    shape = shape_of_weight(text)
    if block and shape[summed] % block:
        block = 1
    if block is None:
        parameters, axis = (), channels
    elif block:
        parameters, axis = (
            tuple(-(-size // block) if k == summed else size for k, size in enumerate(shape)),
            summed,
        )
    else:
        parameters, axis = (shape[channels],), channels
    info = ml_dtypes.iinfo(dtype)
    onnx_name = ir.DataType.from_numpy(np.dtype(dtype)).name.lower()
    zeros = f", {onnx_name}[{','.join(map(str, parameters))}] z" if with_zeros else ""
    scales = f"float[{','.join(map(str, parameters))}] s" if parameters else "float s"
    attributes = f"axis={axis}" + (f", block_size={block}" if block else "")
    node = f"v = DequantizeLinear<{attributes}>(w, s{', z' if with_zeros else ''})"
    graph = text.format(w=onnx_name, d=node)
    graph = graph.replace(") =>", f", {scales}{zeros}) =>", 1)
    constants = {
        "w": RNG.integers(int(info.min), int(info.max) + 1, shape).astype(dtype),
        "s": RNG.uniform(0.01, 0.05, parameters).astype(np.float32),
    }
    if with_zeros:
        low, high = (3, 12) if info.bits == 4 else (100, 150)
        constants["z"] = RNG.integers(low, high, parameters).astype(dtype)
    if " b)" in text or " b," in text:
        constants["b"] = RNG.standard_normal(6).astype(np.float32)
    model = support.from_text(f"g {graph}", **constants)
    kernels.assert_same(canonical("nhwc").run(model) if product in LAST else model)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_floats(product: str, dtype: str) -> None:
    text, _, _ = PRODUCTS[product]
    shape = shape_of_weight(text)
    constants = {"w": RNG.standard_normal(shape).astype(np.float32)}
    if " b)" in text:
        constants["b"] = RNG.standard_normal(6).astype(np.float32)
    model = support.from_text("g " + text.format(w="float", d="v = Identity(w)"), **constants)
    short = ConvertPrecision(dtype)(canonical("nhwc").run(model)).model
    # The sums are the same, in another order: one of the last digits may be rounded otherwise.
    kernels.assert_same(short, tolerance=1e-3 if dtype == "float16" else 1e-2)


def test_kernels_keep_the_stored_bytes() -> None:
    model = support.from_text(
        """g (float[1,64] x, float[64,64] w, float[1,64,4,4] i, float[32,64,3,3] k)
            => (float[1,64] y, float[1,32,4,4] j) {
            y = MatMul(x, w)
            j = Conv<pads=[1,1,1,1]>(i, k)
        }""",
        w=RNG.standard_normal((64, 64)).astype(np.float32),
        k=RNG.standard_normal((32, 64, 3, 3)).astype(np.float32),
    )
    count = 64 * 64 + 32 * 64 * 9
    lowered = {
        name: canonical("nhwc").run(after(canonical("nchw").run(model.clone())).model)
        for name, after in (
            ("int8", QuantizeWeights("weights-int8")),
            ("int4", QuantizeWeights("weights-int4")),
            ("float16", ConvertPrecision("float16")),
            ("bfloat16", ConvertPrecision("bfloat16")),
        )
    }
    assert {name: kept(item) for name, item in lowered.items()} == {
        "int8": count + 4 * (64 + 32),  # a scale for each channel; zero points are zero
        "int4": count // 2 + 2 * count // 32,  # two in a byte, and a scale for each block
        "float16": 2 * count,
        "bfloat16": 2 * count,
    }


#: How far the engine may be from the reference of the same model, relative to the largest output.
#: Where results are rounded to 16 bits, sums in another order may be rounded otherwise.
NEAR = {"weights-int8": 1e-4, "weights-int4": 1e-4, "float16": 5e-3, "bfloat16": 5e-2}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(("digits_cnn", how) for how in NEAR),
        ("ad_autoencoder", "weights-int4"),
        ("resnet8_cifar10", "float16"),
    ],
)
def test_real_models(name: str, how: str) -> None:
    model = quantized.real_model(name)
    [batch] = quantized.real_batches(name, model, 1)
    convert = ConvertPrecision(how) if "float" in how else QuantizeWeights(how)
    lowered = canonical("nhwc").run(convert(model).model)
    kernels.assert_same(lowered, batch, NEAR[how])
    stored = sum(
        value.const_value.nbytes
        for value in lowered.graph.initializers.values()
        if value.const_value is not None
    )
    # Zero points are left out, and what few 16-bit constants are no weights is kept as float32;
    # the last weight, which is float32, has 10 columns in vectors of 16.
    assert 0.97 * stored < kept(lowered) < 1.05 * stored
