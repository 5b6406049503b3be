from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.opset import WORKING_OPSET
from tapeout.targets.tensorrt.enterprise.operators import table_for
from tapeout.targets.tensorrt.enterprise.opset import converted, expanded, require_valid

import support

OLD, NEW = table_for("10.3"), table_for("10.15")


def said(model: ir.Model, version: str) -> tuple[ir.Model, list[str]]:
    table = table_for(version)
    found = converted(expanded(table)(model).model, table)
    return found.model, [str(problem) for problem in found.problems]


@pytest.mark.parametrize("version", ["10.3", "10.15"])
@pytest.mark.parametrize(
    "graph",
    [
        "m (float[2,4] x) => (float[2,4] y) { y = Swish (x) }",
        "m (float[1,4,3,3] x, float[4] s, float[4] b) => (float[1,4,3,3] y) "
        "{ y = GroupNormalization <num_groups=2> (x, s, b) }",
        "m (float[2,4] x, float[4] s) => (float[2,4] y) { y = RMSNormalization (x, s) }",
        "m (float[1,1,4,4] x) => (float[1,1,3,3] y) { y = AveragePool <kernel_shape=[2,2]> (x) }",
        "m (float[1,1,4,4] x) => (float[1,1,2,2] y) "
        "{ y = AveragePool <kernel_shape=[3,3], strides=[2,2], ceil_mode=1> (x) }",
        "m (float[2,4] x) => (float[2,4] y) { t = Cast <to=10> (x)  y = Cast <to=1> (t) }",
        "m (float[2,4] x, int64[1] r) => (float[4] y, float16[2,4] z) "
        "{ a = Gelu (x)  y = ReduceMax <keepdims=0, noop_with_empty_axes=0> (a, r)"
        "  z = Cast <to=10> (a) }",
    ],
)
def test_same_numbers_in_an_older_opset(graph: str, version: str) -> None:
    model = support.from_text(graph, r=np.array([0]))
    expected = ir.to_proto(model).SerializeToString()

    def rewrite(before: ir.Model) -> ir.Model:
        after, problems = said(before.clone(), version)
        assert problems == []
        table = table_for(version)
        assert after.opset_imports[""] == table.opset < WORKING_OPSET
        require_valid(ir.to_proto(after).SerializeToString())
        return after

    support.assert_same_numbers(model, rewrite, tolerance=1e-3)
    assert ir.to_proto(model).SerializeToString() == expected  # the copy alone was changed


def test_neutral_attributes_are_left_out_and_others_told() -> None:
    graph = """m (float[2] x, float s, int8 z) => (float[2] y, float16[2] w) {
        q = QuantizeLinear <output_dtype=3, block_size=0> (x, s, z)
        y = DequantizeLinear <output_dtype=1> (q, s, z)
        w = DequantizeLinear <output_dtype=10> (q, s, z)
    }"""
    model = support.from_text(graph, s=np.float32(1), z=np.int8(0))
    after, problems = said(model, "10.3")
    assert [problem.split(":")[0] for problem in problems] == ["node 'w' (DequantizeLinear)"]
    assert "output_dtype = 10" in problems[0]
    assert "TensorRT 10.3 reads ONNX up to opset 20" in problems[0]
    assert "output_dtype" not in support.body(after)
    assert said(support.from_text(graph, s=np.float32(1), z=np.int8(0)), "10.15")[1] == []


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (
            "m (bfloat16[1,1,3,3] x, bfloat16[1,1,1,1] w) => (bfloat16[1,1,3,3] y) "
            "{ y = Conv (x, w) }",
            "has BFLOAT16, which Conv has later only",
        ),
        (
            "m (float16[2] x, float s, int8 z) => (int8[2] y) { y = QuantizeLinear (x, s, z) }",
            "mixes FLOAT16 and FLOAT",
        ),
        (
            "m (float[1,1,2,2] x) => (float[1,1,1,1] y) "
            "{ y = AveragePool <kernel_shape=[3,3], strides=[3,3], pads=[1,1,1,1], ceil_mode=1>"
            " (x) }",
            "windows that start in the padding",
        ),
        (
            "m (float[1,2,4,4] c, float[1,2,1,4] u) => (float[1,2,4,4] y) "
            "{ y = TensorScatter (c, u) }",
            "there is no such operator before opset 24",
        ),
    ],
)
def test_what_the_older_opset_lacks_is_told(graph: str, told: str) -> None:
    _, problems = said(support.from_text(graph), "10.3")
    assert len(problems) == 1
    assert told in problems[0]
    assert said(support.from_text(graph), "10.15")[1] == []


def test_what_is_no_onnx_is_refused() -> None:
    model = support.from_text("m (float[2] x) => (float[2] y) { y = Exp (x) }")
    model.graph[0].op_type = "Nothing"
    with pytest.raises(ModelError, match="not valid ONNX"):
        require_valid(ir.to_proto(model).SerializeToString())
