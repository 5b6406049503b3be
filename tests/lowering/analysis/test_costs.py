"""What models cost: the published MACs of the real ones, and traffic by hand."""

from __future__ import annotations

import json

import onnx_ir as ir
import pytest

from tapeout.errors import ModelError
from tapeout.lowering.analysis import costs

import graphs
import support


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("resnet8_cifar10", 12_501_632, 77_706),
        ("vww_mobilenet", 7_489_664, 210_850),
        ("kws_dscnn", 2_656_768, 22_604),
        ("ad_autoencoder", 264_192, 265_864),
        ("digits_cnn", 256_320, 14_810),
    ],
)
def test_real_models(name: str, macs: int, parameters: int) -> None:
    """12.5 M, 7.5 M, 2.7 M and 0.26 M MACs are published with the models."""
    found = costs.of(graphs.static(name))
    assert (found.macs, found.parameters) == (macs, parameters)
    assert found.bytes_parameters == 4 * parameters
    assert found.unknown == ()
    json.dumps(found.to_json())


def model() -> ir.Model:
    return graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[2,3] x) => (float[6] y)
        <float[3,3] w = {0,1,2,3,4,5,6,7,8}, int64[1] shape = {6}, float low = {0.0},
         float[3] unused = {0,0,0}>
        {
            [first] a = MatMul(x, w)
            [second] b = MatMul(a, w)
            [clip] c = Clip(b, low)
            [view] y = Reshape(c, shape)
        }""")


def test_traffic_of_each_node() -> None:
    first, second, clip, view = costs.of(model()).nodes
    assert (first.name, first.op, first.kind, first.shape) == ("first", "MatMul", "matmul", (2, 3))
    assert (first.macs, first.parameters) == (18, 9)
    assert (first.bytes_read, first.bytes_weights, first.bytes_written) == (24 + 36, 36, 24)
    assert second.bytes_read == 24 + 36
    assert (clip.bytes_read, clip.bytes_weights, clip.parameters) == (24, 0, 0)
    assert (view.bytes_read, view.bytes_written) == (0, 0)


def test_a_shared_parameter_counts_once_and_shapes_and_bounds_do_not() -> None:
    found = costs.of(model())
    assert (found.parameters, found.bytes_parameters) == (9, 36)
    assert [value.name for value in costs.parameters(model().graph)] == ["w"]


def test_gather_reads_the_rows_it_picks() -> None:
    found = costs.of(
        graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (int64[2] rows, float[1000,8] table) => (float[2,8] y) { y = Gather(table, rows) }""")
    )
    assert found.bytes_read == 2 * 8 * 4 + 2 * 8


@pytest.mark.parametrize(
    ("perm", "view"), [("[0,1,2]", True), ("[1,0,2]", True), ("[2,0,1]", False), ("[0,2,1]", False)]
)
def test_a_transpose_that_moves_only_ones_moves_nothing(perm: str, view: bool) -> None:
    shape = {"[0,1,2]": "1,4,5", "[1,0,2]": "4,1,5", "[2,0,1]": "5,1,4", "[0,2,1]": "1,5,4"}[perm]
    subject = graphs.static_text(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[1,4,5] x) => (float[{shape}] y) {{ y = Transpose<perm={perm}>(x) }}""")
    assert costs.is_view(subject.graph[0]) is view
    assert costs.of(subject).bytes_read == (0 if view else 80)


def test_a_loop_counts_its_body_as_often_as_it_runs() -> None:
    found = costs.of(_loop("times"))
    assert (found.nodes[0].ops, found.nodes[0].known) == (5 * 4, True)


def test_a_loop_of_unknown_length_is_flagged() -> None:
    found = costs.of(_loop("n"))
    assert (found.nodes[0].ops, found.nodes[0].known) == (4, False)
    assert found.unknown == ("Loop",)


def _loop(count: str) -> ir.Model:
    return ir.from_onnx_text(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[4] x, int64 n) => (float[4] y) <int64 times = {{5}}> {{
            y = Loop ({count}, , x) <body = b (int64 i, bool c, float[4] s) => (bool d, float[4] t)
            {{
                d = Identity(c)
                t = Add(s, s)
            }}>
        }}""")


def test_the_dearer_branch_counts() -> None:
    found = costs.of(
        ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (bool c, float[2,2] x) => (float[2,2] y) {
            y = If (c) <
                then_branch = t () => (float[2,2] a) { a = MatMul(x, x) },
                else_branch = e () => (float[2,2] b) { b = Neg(x) }
            >
        }""")
    )
    assert (found.macs, found.ops) == (8, 0)


def test_unknown_operators_are_flagged_once() -> None:
    found = costs.of(
        ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 21, "other" : 1]>
        g (float[3] x) => (float[3] y) <float[3] w = {1,2,3}, float[3] a, float[3] b>
        { a = other.Thing(x, w)  b = other.Thing(a, w)  y = Relu(b) }""")
    )
    assert found.unknown == ("other.Thing",)
    assert [node.known for node in found.nodes] == [False, False, True]
    assert found.parameters == 3


def test_origins_are_those_the_passes_kept() -> None:
    subject = model()
    subject.graph[0].metadata_props["tapeout.from"] = "a,b"
    assert [node.origins for node in costs.of(subject).nodes][:2] == [("a", "b"), ("second",)]


def test_a_symbolic_shape_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="'image'"):
        costs.of(ir.load(support.MODELS / "digits_cnn.onnx"))
