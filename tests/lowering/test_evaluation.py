from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.evaluation import LINEAR, PRODUCTS, VIEWS, WORK, Result, compute, foresee
from tapeout.lowering.matching import RANDOM


def node(text: str) -> ir.Node:
    """Return a node on a, b, c; what the graph says of its values does not matter."""
    header = '<ir_version: 13, opset_import: ["" : 26, "tapeout" : 1]>'
    return ir.from_onnx_text(f"{header} g (float a, float b, float c) => () {{ {text} }}").graph[0]


def tensors(*arrays: np.ndarray | None) -> list[ir.Tensor | None]:
    return [None if array is None else ir.Tensor(array) for array in arrays]


def test_foresees_dtype_and_shape_from_the_constants() -> None:
    figures = tensors(np.zeros((4, 1), np.float16), np.zeros((1, 5), np.float16))
    assert foresee(node("y = Add(a, b)"), figures, 26) == (Result(ir.DataType.FLOAT16, (4, 5)),)
    shaped = tensors(np.zeros((4, 6), np.int8), np.array([3, -1]))
    assert foresee(node("y = Reshape(a, b)"), shaped, 26) == (Result(ir.DataType.INT8, (3, 8)),)
    (huge,) = foresee(node("y = ConstantOfShape(a)"), tensors(np.array([10**9, 10**3])), 26) or ()
    assert huge.nbytes == 4 * 10**12


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ("y = RandomNormalLike(a)", [np.zeros(2, np.float32)]),
        ("y = tapeout.Add(a, b)", [np.zeros(2, np.float32)] * 2),
        ("y = Add(a, b)", [np.zeros(2, np.float32), np.zeros(3, np.float32)]),
        ("y = NonZero(a)", [np.zeros(2, np.float32)]),
        ("y = Reshape(a, b)", [np.array(["a", "b"]), np.array([2, 1])]),
        ("y = MatMul(a, b)", [np.zeros((512, 512), np.float32)] * 2),
        ("y = Div(a, b)", [np.array([1]), np.array([0])]),
        ("y = Mod(a, b)", [np.array([np.iinfo(np.int64).min]), np.array([-1])]),
    ],
)
def test_refuses(text: str, arrays: list[np.ndarray]) -> None:
    given: list[ir.TensorProtocol | None] = [
        ir.StringTensor(array.astype(bytes).astype(object), shape=ir.Shape(array.shape))
        if array.dtype.kind == "U"
        else ir.Tensor(array)
        for array in arrays
    ]
    assert foresee(node(text), given, dialect.WORKING_OPSET) is None


def test_computes() -> None:
    step = node("y, z = TopK(a, b)")
    given = tensors(np.array([1, 9, 5], np.float32), np.array([2]))
    results = foresee(step, given, 26)
    assert results is not None
    outputs = compute(step, given, results, 26)
    assert outputs is not None
    assert [tensor.numpy().tolist() for tensor in outputs] == [[9, 5], [1, 2]]


def test_an_absent_input_stays_absent() -> None:
    step = node("y = Clip(a, , b)")
    given = tensors(np.array([1, 9], np.float32), None, np.array(5, np.float32))
    results = foresee(step, given, 26)
    assert results is not None
    (output,) = compute(step, given, results, 26) or ()
    assert output.numpy().tolist() == [1, 5]


def test_what_fails_is_none() -> None:
    step = node("y = Gather(a, b)")
    given = tensors(np.zeros(2, np.float32), np.array([7]))
    results = foresee(step, given, 26)
    assert results is not None
    assert compute(step, given, results, 26) is None


def test_views_share_memory() -> None:
    array = np.zeros((4, 6), np.float32)
    for text in ("y = Transpose(a)", "y = Flatten<axis=0>(a)", "y = Unsqueeze(a, b)"):
        step = node(text)
        given = tensors(array, *([np.array([0])] if "b" in text else []))
        results = foresee(step, given, 26)
        assert results is not None
        (output,) = compute(step, given, results, 26) or ()
        assert np.shares_memory(output.numpy(), array)
        assert output.numpy().shape == results[0].shape


def test_the_tables_do_not_overlap_and_hold_nothing_random() -> None:
    assert not LINEAR & PRODUCTS
    assert not LINEAR & VIEWS
    assert not (LINEAR | PRODUCTS | VIEWS) & RANDOM
    assert WORK < 1 << 30
