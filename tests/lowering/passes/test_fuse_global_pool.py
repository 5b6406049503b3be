from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import provenance
from tapeout.lowering.passes.fuse_global_pool import FuseGlobalPool

import support


def run(model: ir.Model) -> ir.Model:
    return FuseGlobalPool()(model).model


@pytest.mark.parametrize(
    ("op_type", "pool"),
    [("ReduceMean", "GlobalAveragePool"), ("ReduceMax", "GlobalMaxPool")],
)
@pytest.mark.parametrize("axes", ["2,3", "-1,-2", "3,2"])
def test_reductions(op_type: str, pool: str, axes: str) -> None:
    model = support.from_text(
        f"""g (float[2,3,4,5] x) => (float[2,3,1,1] y, float[2,3] z) <int64[2] a = {{{axes}}}> {{
            y = {op_type}<keepdims=1>(x, a)
            z = {op_type}<keepdims=0>(x, a)
        }}"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        f'y = {pool} (x)\n"z/pooled" = {pool} (x)\nz = Reshape ("z/pooled", "z/shape")'
    )
    assert after.graph[1].outputs[0].shape == (2, 3, 1, 1)
    assert after.graph[1].outputs[0].dtype == ir.DataType.FLOAT
    assert provenance.origins(after.graph[1]) == ("z",)
    assert not FuseGlobalPool()(after).modified


def test_behind_a_transpose_to_channels_last() -> None:
    model = support.from_text(
        """g (float[2,3,4,5] x) => (float[2,3] y, float[2,1,1,3] z) <int64[2] a = {1,2}> {
            t = Transpose<perm=[0,2,3,1]>(x)
            y = ReduceMean<keepdims=0>(t, a)
            z = ReduceMean<keepdims=1>(t, a)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        '"y/pooled" = GlobalAveragePool (x)\ny = Reshape ("y/pooled", "y/shape")\n'
        '"z/pooled" = GlobalAveragePool (x)\nz = Reshape ("z/pooled", "z/shape")'
    )


@pytest.mark.parametrize(
    ("node", "pool"),
    [
        ("AveragePool<kernel_shape=[4,5]>(x)", "GlobalAveragePool"),
        ("AveragePool<kernel_shape=[4,5], strides=[7,7], ceil_mode=1>(x)", "GlobalAveragePool"),
        ('MaxPool<kernel_shape=[4,5], strides=[4,5], auto_pad="SAME_UPPER">(x)', "GlobalMaxPool"),
        ("MaxPool<kernel_shape=[4,5], pads=[0,0,0,0]>(x)", "GlobalMaxPool"),
    ],
)
def test_windows_over_the_whole_map(node: str, pool: str) -> None:
    model = support.from_text(f"g (float[2,3,4,5] x) => (float[2,3,1,1] y) {{ y = {node} }}")
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == f"y = {pool} (x)"


@pytest.mark.parametrize(
    ("dims", "result", "node"),
    [
        ("2,3,4,5", "2,3,4,1", "ReduceMean(x, last)"),
        ("2,3,4,5", "2,1,1,1", "ReduceMean(x, three)"),
        ("2,3,4,5", "2,1,1,5", "ReduceMean(x, middle)"),
        ("2,3,4,5", "1,1,1,1", "ReduceMean(x)"),
        ("2,3,4,5", "2,3,4,5", "ReduceMean<noop_with_empty_axes=1>(x)"),
        ("2,3,4,5", "2,3,1,1", "ReduceMean(x, axes)"),
        ("2,3,4,5", "2,3,1,1", "ReduceSum(x, space)"),
        ("2,3", "2,1", "ReduceMean(x, last)"),
        ("2,3,4", "2,3,1", "ReduceMean(x, last)"),
        ("2,3,4,5", "2,3,2,1", "AveragePool<kernel_shape=[3,5]>(x)"),
        ("2,3,4,5", "2,3,1,1", "AveragePool<kernel_shape=[3,5], strides=[2,1]>(x)"),
        (
            "2,3,4,5",
            "2,3,1,1",
            "AveragePool<kernel_shape=[4,5], strides=[9,9], pads=[1,1,1,1]>(x)",
        ),
        ("2,3,3,3", "2,3,1,1", "MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x)"),
    ],
)
def test_keeps(dims: str, result: str, node: str) -> None:
    model = support.from_text(
        f"""g (float[{dims}] x, int64[2] axes) => (float[{result}] y) <int64[1] last = {{-1}},
            int64[3] three = {{1,2,3}}, int64[2] middle = {{1,2}}, int64[2] space = {{2,3}}> {{
            y = {node}
        }}"""
    )
    assert not FuseGlobalPool()(model).modified


def test_keeps_indices_and_double() -> None:
    model = support.from_text(
        """g (float[2,3,4,5] x, double[2,3,4,5] d)
            => (float[2,3,1,1] y, int64[2,3,1,1] i, double[2,3,1,1] z) <int64[2] a = {2,3}> {
            y, i = MaxPool<kernel_shape=[4,5]>(x)
            z = ReduceMean(d, a)
        }"""
    )
    assert not FuseGlobalPool()(model).modified


def test_three_axes_are_space_behind_a_convolution_only() -> None:
    model = support.from_text(
        """g (float[1,2,9] x, float[3,2,3] w, float[7,7] square) => (float[1,3] y, float[1,3,1] z)
            <int64[1] last = {2}> {
            c = Conv(x, w)
            r = Relu(c)
            s = Sigmoid(c)
            m = Mul(r, s)
            y = ReduceMean<keepdims=0>(m, last)
            q = Add(c, c)
            k = MatMul(q, square)
            z = ReduceMean<keepdims=1>(k, last)
        }""",
        w=np.ones((3, 2, 3), np.float32),
    )
    after = support.assert_same_numbers(model, run)
    kinds = [node.op_type for node in after.graph]
    assert kinds.count("GlobalAveragePool") == 1
    assert kinds.count("ReduceMean") == 1
