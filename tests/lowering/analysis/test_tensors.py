"""Sizes of values, and the check that all of them are known."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.analysis import tensors

import graphs


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        (ir.DataType.FLOAT, (2, 3), 24),
        (ir.DataType.INT8, (2, 3), 6),
        (ir.DataType.BOOL, (), 1),
        (ir.DataType.INT4, (3,), 2),  # two to a byte
        (ir.DataType.DOUBLE, (0, 5), 0),
    ],
)
def test_bytes(dtype: ir.DataType, shape: tuple[int, ...], size: int) -> None:
    value = ir.Value(name="v", shape=ir.Shape(shape), type=ir.TensorType(dtype))
    assert tensors.bytes_of(value) == size


def test_a_scalar_has_one_element() -> None:
    value = ir.Value(name="v", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.FLOAT))
    assert tensors.elements_of(value) == 1


def test_every_value_that_is_not_static_is_named() -> None:
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[N, 4] x, string[2] s) => (float[N, 4] y) {
            hidden = Relu(x)
            y = Neg(hidden)
        }""")
    with pytest.raises(ModelError) as raised:
        tensors.require_static(model.graph)
    assert [problem.where for problem in raised.value.problems] == [
        "value 'x'",
        "value 's'",
        "value 'hidden'",
        "value 'hidden'",
        "value 'y'",
    ]
    text = str(raised.value)
    assert "N" in text
    assert "--shape" in text
    assert "holds strings" in text
    assert "has no element type" in text


def test_a_sequence_is_not_a_tensor() -> None:
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[4] x) => (seq(float[4]) y) { y = SequenceConstruct(x) }""")
    with pytest.raises(ModelError, match="not a tensor"):
        tensors.require_static(model.graph)


def test_a_body_reads_what_it_takes_from_outside() -> None:
    model = graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (bool c, float[4] x, float[4] z) => (float[4] y) {
            hidden = Relu(x)
            y = If (c) <
                then_branch = t () => (float[4] a) { a = Add(hidden, z) },
                else_branch = e () => (float[4] b) { n = Neg(hidden)  b = Neg(n) }
            >
        }""")
    branch = model.graph[1]
    assert [value.name for value in tensors.inputs_of(branch)] == ["c", "hidden", "z"]
