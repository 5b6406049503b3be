from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering import dialect
from tapeout.lowering.canonical import canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.reference import Reference

RNG = np.random.default_rng(0)
UINT8, INT8 = np.dtype(np.uint8), np.dtype(np.int8)


def scale(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def zero(value: int, dtype: np.dtype[Any] = UINT8) -> np.ndarray:
    return np.array(value, dtype)


def write(
    path: Path,
    op_type: str,
    inputs: list[tuple[int, ...] | np.ndarray | None],
    *,
    dtype: np.dtype[Any] = UINT8,
    result: np.dtype[Any] | None = None,
    domain: str = "com.microsoft",
    **attributes: Any,
) -> Path:
    """Write a model of one node; shapes are inputs of random integers, arrays are constants."""
    helper = onnx.helper
    elements = helper.np_dtype_to_tensor_dtype
    names = ["" if item is None else f"i{index}" for index, item in enumerate(inputs)]
    node = helper.make_node(op_type, names, ["y"], name="node", domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(name, elements(dtype), item)
            for name, item in zip(names, inputs, strict=True)
            if isinstance(item, tuple)
        ],
        [helper.make_tensor_value_info("y", elements(result or dtype), None)],
        [
            onnx.numpy_helper.from_array(item, name)
            for name, item in zip(names, inputs, strict=True)
            if isinstance(item, np.ndarray)
        ],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def feeds(model: ir.Model) -> dict[str, np.ndarray]:
    found = {}
    for value in model.graph.inputs:
        assert value.dtype is not None
        dtype = value.dtype.numpy()
        limits = np.iinfo(dtype)
        shape = tuple(int(dim) for dim in value.shape or ())
        found[str(value.name)] = RNG.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return found


def compare(path: Path, steps: float = 0) -> ir.Model:
    """Import a file and compare it, canonical in both layouts, with ONNX Runtime of the file.

    Args:
        path: the file.
        steps: how far an output may be off; in steps of integers, or of 1e-5 of float numbers.
    """
    model = load(path)
    assert dialect.check(model) == []
    given = feeds(model)
    wanted = Reference(path).run(given)["y"]
    size = 1e-5 * float(np.abs(wanted).max()) if wanted.dtype.kind == "f" else 1
    assert len(np.unique(wanted)) > 4  # a network that saturates compares nothing
    for layout in ("nchw", "nhwc"):
        after = canonical("nhwc" if layout == "nhwc" else "nchw").run(model.clone(), dialect.check)
        assert dialect.check(after, "canonical") == []
        actual = Reference(after).run(given)["y"]
        assert actual.dtype == wanted.dtype
        difference = np.abs(actual.astype(np.float64) - wanted.astype(np.float64)).max()
        assert difference <= steps * size
    return model


X = (scale(0.02), zero(120))
A = (scale(0.02), zero(3, INT8))
Y = (scale(0.03), zero(100))
B = (scale(0.03), zero(-5, INT8))

IMAGE = (2, 4, 7, 7)

#: Operator, inputs, attributes, dtype of the data, ONNX's operator that stands for it.
OPERATORS: dict[str, tuple[str, list[Any], dict[str, Any], np.dtype[Any], str]] = {
    "add": ("QLinearAdd", [IMAGE, *X, IMAGE, *Y, *Y], {}, UINT8, "Add"),
    "add a row": ("QLinearAdd", [IMAGE, *A, (7,), *B, *A], {}, INT8, "Add"),
    "mul": ("QLinearMul", [IMAGE, *X, IMAGE, *Y, *Y], {}, UINT8, "Mul"),
    "average pool": (
        "QLinearAveragePool",
        [IMAGE, *X, *Y],
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        UINT8,
        "AveragePool",
    ),
    "average pool that counts padding": (
        "QLinearAveragePool",
        [IMAGE, *A, *B],
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
        INT8,
        "AveragePool",
    ),
    "global average pool": (
        "QLinearGlobalAveragePool",
        [IMAGE, *X, scale(0.004), zero(120)],
        {},
        UINT8,
        "GlobalAveragePool",
    ),
    "concat": (
        "QLinearConcat",
        [*Y, IMAGE, *X, (2, 3, 7, 7), *Y],
        {"axis": 1},
        UINT8,
        "Concat",
    ),
    "sigmoid": ("QLinearSigmoid", [IMAGE, *X, scale(1 / 256), zero(0)], {}, UINT8, "Sigmoid"),
    "leaky relu": ("QLinearLeakyRelu", [IMAGE, *A, *B], {"alpha": 0.1}, INT8, "LeakyRelu"),
    "softmax": (
        "QLinearSoftmax",
        [(2, 9), *X, scale(1 / 256), zero(0)],
        {"axis": 1, "opset": 13},
        UINT8,
        "Softmax",
    ),
    "where": (
        "QLinearWhere",
        [RNG.random(IMAGE) > 0.5, IMAGE, *X, IMAGE, *Y, *Y],
        {},
        UINT8,
        "Where",
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(tmp_path: Path, name: str) -> None:
    op_type, inputs, attributes, dtype, standard = OPERATORS[name]
    path = write(tmp_path / "m.onnx", op_type, inputs, dtype=dtype, **attributes)
    kinds = Counter(node.op_type for node in compare(path, steps=1).graph)
    assert kinds.pop("QuantizeLinear") == 1
    assert 1 <= kinds.pop("DequantizeLinear") <= 2
    assert kinds == {standard: 1}


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("rounded", [False, True])
def test_gemm(tmp_path: Path, turned: int, columns: bool, rounded: bool) -> None:
    """With an output scale it gives integers, without one numbers."""
    weight = RNG.integers(-127, 128, (5, 16) if turned else (16, 5), np.int8)
    scales = RNG.uniform(0.01, 0.02, 5).astype(np.float32) if columns else scale(0.015)
    zeros = np.zeros(scales.shape, np.int8)
    bias = RNG.integers(-9999, 9999, 5, np.int32)
    output = [scale(0.4), zero(100)] if rounded else []
    path = write(
        tmp_path / "m.onnx",
        "QGemm",
        [(8, 16), *X, weight, scales, zeros, bias, *output],
        result=None if rounded else np.dtype(np.float32),
        transB=turned,
        alpha=0.5,
    )
    model = compare(path, steps=1)
    after = canonical("nchw").run(model)
    gemm = next(node for node in after.graph if node.op_type == "Gemm")
    assert set(gemm.attributes) == {"transB"}
    assert [value.producer().op_type for value in gemm.inputs[1:]] == ["DequantizeLinear"] * 2
    if not rounded:
        assert gemm.outputs[0] is after.graph.outputs[0]


@pytest.mark.parametrize("op_type", ["QuantizeLinear", "DequantizeLinear"])
def test_the_operators_that_onnx_has_too(tmp_path: Path, op_type: str) -> None:
    """Of ONNX Runtime's domain, which had 16 bits before ONNX."""
    data, wide = np.dtype(np.uint16), np.dtype(np.float32)
    dtype, result = (wide, data) if op_type == "QuantizeLinear" else (data, wide)
    zeros = np.arange(3, dtype=np.uint16)
    scales = np.array([0.1, 0.2, 0.3], np.float32)
    path = write(
        tmp_path / "m.onnx", op_type, [(2, 3, 4), scales, zeros], dtype=dtype, result=result, axis=1
    )
    model = load(path)
    x = RNG.integers(0, 9, (2, 3, 4)).astype(dtype)
    expected, actual = Reference(path).run({"i0": x})["y"], Reference(model).run({"i0": x})["y"]
    np.testing.assert_array_equal(actual, expected)
    assert [node.domain for node in model.graph] == [""]


FAULTS: dict[str, tuple[str, list[Any], dict[str, Any], str]] = {
    "channels last": (
        "QLinearGlobalAveragePool",
        [IMAGE, *X, *Y],
        {"channels_last": 1},
        "channels_last = 1 is not supported",
    ),
    "old softmax": (
        "QLinearSoftmax",
        [(2, 3, 4), *X, *Y],
        {"axis": 1, "opset": 11},
        "QLinearSoftmax of opset < 13 with axis 1 is not supported",
    ),
    "attribute": ("QLinearAdd", [IMAGE, *X, IMAGE, *X, *Y], {"axis": 1}, "no attribute 'axis'"),
    "no scale": ("QLinearSigmoid", [IMAGE, None, zero(0), *Y], {}, "lacks an input or its scale"),
    "no scale of the output": ("QLinearSigmoid", [IMAGE, *X], {}, "lacks the scale of its output"),
    "length": (
        "QLinearSigmoid",
        [IMAGE, np.ones(3, np.float32), np.zeros(3, np.uint8), *Y],
        {},
        "its scale has shape [3], but one that goes with its input of shape [2, 4, 7, 7] has [4]",
    ),
    "zero point": (
        "QLinearAdd",
        [IMAGE, scale(1), np.zeros(4, np.uint8), IMAGE, *X, *Y],
        {},
        "its zero point has shape [4], but its scale has []",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_said(tmp_path: Path, name: str) -> None:
    op_type, inputs, attributes, message = FAULTS[name]
    path = write(tmp_path / "m.onnx", op_type, inputs, **attributes)
    with pytest.raises(ModelError) as caught:
        load(path)
    [problem] = caught.value.problems
    assert "node" in problem.where
    assert message in str(problem)


PRODUCTS: dict[str, tuple[str, list[Any], dict[str, Any], int]] = {
    "conv": (
        "QLinearConv",
        [
            IMAGE, *X, RNG.integers(-127, 128, (6, 2, 3, 3), np.int8),
            RNG.uniform(0.01, 0.02, 6).astype(np.float32), np.zeros(6, np.int8),
            scale(0.3), zero(130), RNG.integers(-999, 999, 6, np.int32),
        ],
        {"pads": [1, 1, 1, 1], "strides": [2, 2], "group": 2},
        1,
    ),
    "conv of one scale": (
        "QLinearConv",
        [
            IMAGE, *X, RNG.integers(0, 255, (6, 4, 1, 1), np.uint8),
            scale(0.01), zero(128), scale(0.05), zero(130),
        ],
        {},
        1,
    ),
    "matmul": (
        "QLinearMatMul",
        [
            (8, 16), *X, RNG.integers(-127, 128, (16, 5), np.int8),
            RNG.uniform(0.01, 0.02, 5).astype(np.float32), np.zeros(5, np.int8),
            scale(0.3), zero(130),
        ],
        {},
        1,
    ),
    "a stack of products": (
        "QLinearMatMul",
        [(2, 8, 16), *X, (2, 16, 5), scale(0.02), zero(128), scale(0.1), zero(130)],
        {},
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(tmp_path: Path, name: str) -> None:
    op_type, inputs, attributes, steps = PRODUCTS[name]
    path = write(tmp_path / "m.onnx", op_type, inputs, domain="", **attributes)
    after = canonical("nchw").run(compare(path, steps=steps))
    assert not [node for node in after.graph if node.op_type.startswith("QLinear")]


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        ("ConvInteger", [IMAGE, RNG.integers(0, 255, (6, 4, 3, 3), np.uint8), zero(7), zero(99)]),
        ("MatMulInteger", [(8, 16), RNG.integers(0, 255, (16, 5), np.uint8), zero(7), zero(99)]),
        ("MatMulInteger", [(8, 16), (16, 5)]),
    ],
)
def test_sums_stay_integers(tmp_path: Path, op_type: str, inputs: list[Any]) -> None:
    """Sums without a scale are integers, exactly."""
    path = write(tmp_path / "m.onnx", op_type, inputs, domain="", result=np.dtype(np.int32))
    compare(path)


def packed(
    bits: int, block: int, zeros: bool, rows: int = 5, columns: int = 40
) -> tuple[list[Any], dict[str, Any]]:
    """Return the inputs of a MatMulNBits behind the data, and its attributes."""
    blocks = -(-columns // block)
    weights = RNG.integers(0, 256, (rows, blocks, block * bits // 8), np.uint8)
    scales = RNG.uniform(0.01, 0.1, (rows, blocks)).astype(np.float32)
    inputs: list[Any] = [weights, scales.reshape(-1)]
    if zeros:
        inputs.append(RNG.integers(0, 256, (rows, -(-blocks * bits // 8)), np.uint8))
    return inputs, {"N": rows, "K": columns, "bits": bits, "block_size": block}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("bits", "block"), [(2, 16), (4, 16), (4, 32), (8, 16)])
@pytest.mark.parametrize("shape", [(3, 40), (2, 3, 40)])
def test_weights_of_few_bits(
    tmp_path: Path, shape: tuple[int, ...], bits: int, block: int, zeros: bool, bias: bool
) -> None:
    inputs, attributes = packed(bits, block, zeros)
    if bias:
        inputs += [None] * (4 - len(inputs)) + [np.arange(5, dtype=np.float32)]
    float32 = np.dtype(np.float32)
    path = write(tmp_path / "m.onnx", "MatMulNBits", [shape, *inputs], dtype=float32, **attributes)
    model = load(path)
    given = {"i0": RNG.standard_normal(shape).astype(np.float32)}
    wanted = Reference(path).run(given)["y"]
    for layout in ("nchw", "nhwc"):
        after = canonical("nhwc" if layout == "nhwc" else "nchw").run(model.clone(), dialect.check)
        assert dialect.check(after, "canonical") == []
        actual = Reference(after).run(given)["y"]
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
        kinds = ["Gemm"] if len(shape) == 2 else ["MatMul", "Add"][: 1 + bias]
        assert [node.op_type for node in after.graph] == ["DequantizeLinear", *kinds]
        weight = after.graph[0].inputs[0]
        assert weight is not None
        assert weight.dtype == (ir.DataType.UINT8 if bits == 8 else ir.DataType.UINT4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 3}, "MatMulNBits of 3 bits is not supported, only of 2, 4 and 8"),
        ({"N": 6}, "B has shape [5, 3, 8], not [6, 3, 8]"),
        ({"K": 1 << 40}, "B has shape [5, 3, 8], not [5, 68719476736, 8]"),
        ({"K": 0}, "N 5, K 0 and block_size 16 do not go together"),
        ({"weight_prepacked": 1}, "prepacked weights is not supported"),
    ],
)
def test_weights_that_cannot_be_unpacked(
    tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    inputs, attributes = packed(4, 16, zeros=False)
    path = write(
        tmp_path / "m.onnx",
        "MatMulNBits",
        [(3, 40), *inputs],
        dtype=np.dtype(np.float32),
        **(attributes | changes),
    )
    with pytest.raises(ModelError) as caught:
        load(path)
    assert message in str(caught.value)


WEIGHT = RNG.integers(0, 256, (16, 5), np.uint8)
COLUMNS = RNG.uniform(0.01, 0.02, 5).astype(np.float32)


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("op_type", ["DynamicQuantizeMatMul", "MatMulIntegerToFloat"])
def test_products_that_onnx_runtime_fuses(
    tmp_path: Path, op_type: str, bias: bool, columns: bool
) -> None:
    """What it writes when it saves the network that it has optimized."""
    scales = COLUMNS if columns else scale(0.01)
    zeros = RNG.integers(100, 150, scales.shape, np.uint8)
    added = [np.arange(5, dtype=np.float32)] if bias else []
    float32 = np.dtype(np.float32)
    if op_type == "DynamicQuantizeMatMul":
        inputs, dtype = [(8, 16), WEIGHT, scales, zeros, *added], float32
    else:
        inputs, dtype = [(8, 16), WEIGHT, X[0], scales, X[1], zeros, *added], UINT8
    path = write(tmp_path / "m.onnx", op_type, inputs, dtype=dtype, result=float32)
    model = load(path)
    given = {"i0": RNG.standard_normal((8, 16)).astype(np.float32)}
    given = given if dtype == float32 else feeds(model)
    wanted = Reference(path).run(given)["y"]
    after = canonical("nchw").run(model, dialect.check)
    assert dialect.check(after, "canonical") == []
    actual = Reference(after).run(given)["y"]
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    kinds = Counter(node.op_type for node in after.graph)
    assert kinds.pop("DynamicQuantizeLinear", 0) == (dtype == float32)
    assert kinds == {"DequantizeLinear": 2, "Gemm": 1}
