from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from tapeout.lowering.importers import limits, load

import onnx_files
import support


def shape_of(model: ir.Model, name: str) -> tuple[int, ...]:
    for node in model.graph:
        for value in node.outputs:
            if value.name == name and value.shape is not None:
                return value.shape.numpy()
    raise AssertionError(name)


def test_shape_arithmetic_of_the_torch_exporter(tmp_path: Path) -> None:
    """x.view(x.size(0), -1, x.size(3) // 2), as the exporter to TorchScript writes it."""
    path = onnx_files.save(
        tmp_path,
        """g (float[N,3,4,6] x) => (float[N,a,b] y) {
            s = Shape(x)
            zero = Constant<value = int64 {0}>()
            n = Gather<axis = 0>(s, zero)
            s2 = Shape(x)
            three = Constant<value = int64 {3}>()
            w = Gather<axis = 0>(s2, three)
            two = Constant<value = int64 {2}>()
            half = Div(w, two)
            axes = Constant<value = int64[1] {0}>()
            n1 = Unsqueeze(n, axes)
            minus = Constant<value = int64[1] {-1}>()
            half1 = Unsqueeze(half, axes)
            target = Concat<axis = 0>(n1, minus, half1)
            y = Reshape(x, target)
        }""",
        opset=13,
    )
    feeds = {"x": np.arange(2 * 72, dtype=np.float32).reshape(2, 3, 4, 6)}
    model = onnx_files.assert_same_numbers(path, feeds, {"x": (2, 3, 4, 6)})
    assert [node.op_type for node in model.graph] == ["Reshape"]
    assert shape_of(model, "y") == (2, 24, 3)
    assert list(model.graph.initializers) == ["target"]


def test_a_resize_driven_by_another_tensor(tmp_path: Path) -> None:
    """Upsampling to the size of a skip connection, as TensorFlow and PyTorch export it."""
    path = onnx_files.save(
        tmp_path,
        """g (float[N,2,4,5] x, float[N,2,8,10] skip) => (float[N,2,8,10] y) {
            s = Shape<start = 2>(skip)
            f = Cast<to = 1>(s)
            t = Shape<start = 2>(x)
            d = Cast<to = 1>(t)
            ratio = Div(f, d)
            ones = Constant<value_floats = [1.0, 1.0]>()
            scales = Concat<axis = 0>(ones, ratio)
            big = Resize<mode = "nearest">(x, , scales)
            y = Add(big, skip)
        }""",
        opset=18,
    )
    feeds = {
        "x": np.arange(40, dtype=np.float32).reshape(1, 2, 4, 5),
        "skip": np.ones((1, 2, 8, 10), np.float32),
    }
    model = onnx_files.assert_same_numbers(path, feeds)
    assert [node.op_type for node in model.graph] == ["Resize", "Add"]


def test_expand_slice_tile_and_range_become_static(tmp_path: Path) -> None:
    path = onnx_files.save(
        tmp_path,
        """g (float[N,4,6] x) => (float[a,b,c] y, int64[d] positions) {
            s = Shape(x)
            zero = Constant<value_ints = [0]>()
            one = Constant<value_ints = [1]>()
            two = Constant<value_ints = [2]>()
            n = Slice(s, zero, one)
            l = Slice(s, one, two)
            half = Div(l, two)
            cut = Slice(x, zero, half, one)
            reps = Concat<axis = 0>(one, two, one)
            tiled = Tile(cut, reps)
            ones = ConstantOfShape(s)
            bool = Equal(ones, ones)
            target = Where(nonzero, s, s)
            nonzero = Greater(s, zero)
            y = Expand(tiled, target)
            start = Constant<value_int = 0>()
            step = Constant<value_int = 1>()
            limit = Squeeze(l, zero)
            positions = Range(start, limit, step)
        }""",
    )
    feeds = {"x": np.arange(24, dtype=np.float32).reshape(1, 4, 6)}
    model = onnx_files.assert_same_numbers(path, feeds)
    assert [node.op_type for node in model.graph] == ["Slice", "Tile", "Expand", "Identity"]
    assert shape_of(model, "y") == (1, 4, 6)
    assert shape_of(model, "positions") == (4,)


def test_constants_become_initializers(tmp_path: Path) -> None:
    model = onnx_files.imported(
        tmp_path,
        """g (float[2] x) => (float[2] y, int64[2] c, float o) {
            a = Constant<value = float[2] {1, 2}>()
            b = Constant<value_float = 3.0>()
            c = Constant<value_ints = [4, 5]>()
            o = Constant<value_float = 1.0>()
            s = Add(x, a)
            y = Mul(s, b)
        }""",
    )
    assert {node.op_type for node in model.graph} == {"Add", "Mul", "Identity"}
    values = {
        name: value.const_value.numpy().tolist()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    assert values == {"a": [1, 2], "b": 3, "c_1": [4, 5], "o_1": 1}


def test_constants_of_every_kind(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[2] x) => (float[2] y) {
            bad = Constant<value_float = 1.0, value_int = 2>()
            y = Add(x, bad)
        }""",
    )
    (found,) = onnx_files.findings(tmp_path, proto)
    assert "Constant" in found


def test_branches_whose_condition_is_known_are_inlined(tmp_path: Path) -> None:
    """A squeeze that depends on a size, as the exporter to TorchScript writes it."""
    model = onnx_files.imported(
        tmp_path,
        """g (float[N,1,3] x) => (float[a,b] y) {
            s = Shape(x)
            one = Constant<value = int64[1] {1}>()
            d = Gather(s, one)
            is_one = Equal(d, one)
            [pick] t = If(is_one)
                <then_branch = yes () => (float[a,b] u) <int64[1] axes = {1}> {
                    [squeeze] u = Squeeze(x, axes) },
                 else_branch = no () => (float[N,a,b] v) { [copy] v = Identity(x) }>
            [last] y = Relu(t)
        }""",
        opset=13,
    )
    assert [(node.name, node.op_type) for node in model.graph] == [
        ("squeeze", "Squeeze"),
        ("last", "Relu"),
    ]
    assert shape_of(model, "y") == (1, 3)


def test_nested_branches_and_equal_names_in_them(tmp_path: Path) -> None:
    path = onnx_files.save(
        tmp_path,
        """g (float[2] x) => (float[2] y) {
            yes = Constant<value = bool {1}>()
            no = Constant<value = bool {0}>()
            a = If(yes) <then_branch = t () => (float[2] r) { [n] t = Neg(x)
                    r = If(no) <then_branch = tt () => (float[2] q) { q = Exp(t) },
                                else_branch = te () => (float[2] q) { q = Abs(t) }> },
                         else_branch = e () => (float[2] r) { r = Sin(x) }>
            y = If(no) <then_branch = t2 () => (float[2] r) { r = Identity(a) },
                        else_branch = e2 () => (float[2] r) { [n] t = Neg(a) r = Exp(t) }>
        }""",
        opset=13,
    )
    model = onnx_files.assert_same_numbers(path, {"x": np.array([1, -2], np.float32)})
    assert [node.op_type for node in model.graph] == ["Neg", "Abs", "Neg", "Exp"]


def test_a_branch_that_gives_a_constant_as_an_output(tmp_path: Path) -> None:
    path = onnx_files.save(
        tmp_path,
        """g (float[2] x) => (float[2] y, float[2] z) {
            yes = Constant<value = bool {1}>()
            y, z = If(yes)
                <then_branch = t () => (float[2] c, float[2] c2) <float[2] c = {5, 6}> {
                    c2 = Relu(x) },
                 else_branch = e () => (float[2] r, float[2] r2) { r = Neg(x) r2 = Exp(x) }>
        }""",
        opset=13,
    )
    model = onnx_files.assert_same_numbers(path, {"x": np.array([1, -2], np.float32)})
    assert [value.name for value in model.graph.outputs] == ["y", "z"]


def test_control_flow_that_depends_on_data_is_refused(tmp_path: Path) -> None:
    found = onnx_files.findings(
        tmp_path,
        """g (float[2] x, bool c, int64 n) => (float[2] y, float[2] z) {
            [choose] a = If(c) <then_branch = t () => (float[2] u) { u = Neg(x) },
                                else_branch = e () => (float[2] v) { v = Abs(x) }>
            y = Relu(a)
            [repeat] z = Loop(n, c, x) <body = b (int64 i, bool d, float[2] s)
                => (bool d2, float[2] s2) { d2 = Identity(d) s2 = Add(s, x) }>
        }""",
    )
    reason = "the path through the graph must not depend on data"
    assert found == [
        f"node 'choose' (If): If is not supported: {reason}",
        f"node 'repeat' (Loop): Loop is not supported: {reason}",
    ]


def test_a_condition_of_several_elements(tmp_path: Path) -> None:
    (found,) = onnx_files.findings(
        tmp_path,
        """g (float[2] x) => (float[2] y) <bool[2] c = {1, 0}> {
            [n] y = If(c) <then_branch = t () => (float[2] u) { u = Neg(x) },
                           else_branch = e () => (float[2] v) { v = Abs(x) }>
        }""",
    )
    assert found == "node 'n' (If): its condition has shape [2]"


def test_every_shape_that_depends_on_data_is_reported_once(tmp_path: Path) -> None:
    found = onnx_files.findings(
        tmp_path,
        """g (float[2,3] x, int64[1] k, bool[3] keep)
            => (int64[2,n] y, float[a,b] z, float[2,m] d) {
            [where] a = NonZero(x)
            y = Neg(a)
            [top] z, i = TopK(x, k)
            [some] c = Compress<axis = 1>(x, keep)
            d = Relu(c)
        }""",
    )
    assert found == [
        "node 'where' (NonZero): the shape of its output 'a' is not static: [2, '?']",
        "node 'top' (TopK): the shape of its output 'z' is not static: ['?', '?']; "
        "it depends on the data of 'k'",
        "node 'some' (Compress): the shape of its output 'c' is not static: [2, '?']; "
        "it depends on the data of 'keep'",
    ]


def test_what_the_file_declares_fills_what_inference_cannot_know(tmp_path: Path) -> None:
    model = onnx_files.imported(
        tmp_path,
        "g (float[N,3] x, int64[1] k) => (float[N,2] z, int64[N,2] i) { z, i = TopK(x, k) }",
    )
    assert shape_of(model, "z") == shape_of(model, "i") == (1, 2)


def test_what_the_file_declares_of_a_shape_is_not_believed(tmp_path: Path) -> None:
    model = onnx_files.imported(
        tmp_path, "g (float[2,3] x) => (float[9,9] y) { t = Neg(x) y = Relu(t) }"
    )
    assert shape_of(model, "y") == (2, 3)


def test_a_dtype_that_is_not_what_the_file_declares(tmp_path: Path) -> None:
    (found,) = onnx_files.findings(
        tmp_path, "g (float[2,3] x) => (int64[2,3] y) { [n] y = Relu(x) }"
    )
    assert found == ("node 'n' (Relu): gives FLOAT, but its output 'y' is declared INT64")


@pytest.mark.parametrize(
    ("node", "what"),
    [
        ("y = ConstantOfShape(million)", "'y' has 1000000000000 elements"),
        ("y = Expand(x, million)", "'y' has 1000000000000 elements"),
        ("y = Tile(x, million)", "'y' has 1000000000000 elements"),
        ("y = Resize(x, , , million)", "'y' has 1000000000000 elements"),
        ("r = Range(zero, trillion, one) y = Cast<to = 1>(r)", "'r' has 1000000000000 elements"),
        ("y = Pad(x, pads)", "'y' has 2000000000000 elements"),
        ("y = OneHot(x, trillion, ends)", "'y' has 1000000000000 elements"),
        ("d = Cast<to = 11>(x) e = Expand(d, half) y = Cast<to = 1>(e)", "'e' has 8589934592"),
    ],
)
def test_a_few_bytes_that_ask_for_terabytes(tmp_path: Path, node: str, what: str) -> None:
    (found,) = onnx_files.findings(
        tmp_path,
        f"""g (float[1,1] x) => (float[a,b] y)
            <int64[2] million = {{1000000, 1000000}}, int64 zero = {{0}}, int64 one = {{1}},
             int64 trillion = {{1000000000000}}, float[2] ends = {{0, 1}},
             int64[4] pads = {{0, 0, 1, 999999999999}}, int64[2] half = {{1024, 1048576}}>
            {{ {node} }}""",
        opset=18,
    )
    assert what in found
    assert "are possible" in found


def test_large_constants_are_not_computed(tmp_path: Path) -> None:
    model = onnx_files.imported(
        tmp_path,
        """g (float[2] x) => (float[n] y) <int64[1] large = {2000000}, int64[1] small = {1000}> {
            a = ConstantOfShape(large)
            b = ConstantOfShape(small)
            y = Concat<axis = 0>(x, a, b)
        }""",
    )
    assert [node.op_type for node in model.graph] == ["ConstantOfShape", "Concat"]
    assert model.graph.initializers["b"].shape == (1000,)
    assert limits.MAX_FOLDED_ELEMENTS == 1024


def test_random_numbers_are_refused_and_never_computed(tmp_path: Path) -> None:
    (found,) = onnx_files.findings(
        tmp_path,
        """g (float[2] x) => (float[2] y) { r = RandomNormal<shape = [2]>() y = Add(x, r) }""",
    )
    assert "RandomNormal is not supported: the same input must give the same output" in found


def test_integers_divided_by_zero(tmp_path: Path) -> None:
    found = onnx_files.findings(
        tmp_path,
        """g (float[4] x) => (float[n] y) <int64[1] one = {4}, int64[1] zero = {0}> {
            [div] s = Div(one, zero)
            [shape] y = Reshape(x, s)
        }""",
    )
    assert found == [
        "node 'shape' (Reshape): the shape of its output 'y' is not static: ['?']; "
        "it depends on the data of 's'"
    ]


def test_a_reshape_that_does_not_fit(tmp_path: Path) -> None:
    (found,) = onnx_files.findings(
        tmp_path,
        "g (float[2,3] x) => (float[n,m] y) <int64[2] s = {4, 2}> { [n] y = Reshape(x, s) }",
    )
    assert found == "node 'n' (Reshape): [2, 3] cannot be reshaped to [4, 2]"


def test_sequences_are_refused(tmp_path: Path) -> None:
    (found,) = onnx_files.findings(
        tmp_path,
        """g (float[2] x) => (float[2] y) {
            [pack] s = SequenceConstruct(x, x)
            zero = Constant<value_int = 0>()
            [take] y = SequenceAt(s, zero)
        }""",
    )
    assert found == (
        "node 'pack' (SequenceConstruct): SequenceConstruct is not supported: "
        "there are tensors only, no sequences"
    )


def test_maps_of_the_classical_domain_are_refused(tmp_path: Path) -> None:
    node = helper.make_node(
        "ZipMap", ["x"], ["y"], "zip", domain="ai.onnx.ml", classlabels_int64s=[1, 2]
    )
    proto = onnx_files.parse(
        "g (float[1,2] x) => (float[1,2] y) { y = Relu(x) }", more=', "ai.onnx.ml": 3'
    )
    proto.graph.node[0].CopyFrom(node)
    proto.graph.output[0].ClearField("type")
    (found,) = onnx_files.findings(tmp_path, proto)
    assert found == "node 'zip' (ZipMap): gives 'y', which is a sequence; only tensors are possible"


def test_operators_of_the_classical_domain_pass(tmp_path: Path) -> None:
    path = onnx_files.save(
        tmp_path,
        onnx_files.parse(
            "g (float[1,2] x) => (float[1,2] y) { y = ai.onnx.ml.Binarizer<threshold = 0.5>(x) }",
            more=', "ai.onnx.ml": 3',
        ),
    )
    model = load(path)
    assert shape_of(model, "y") == (1, 2)
    assert model.opset_imports == {"": 26, "ai.onnx.ml": 3}


def test_dead_nodes_cost_nothing_and_hide_nothing(tmp_path: Path) -> None:
    model = onnx_files.imported(
        tmp_path,
        """g (float[2] x) => (float[2] y) {
            dead = NonZero(x)
            deader = Neg(dead)
            y = Relu(x)
        }""",
    )
    assert [node.op_type for node in model.graph] == ["Relu"]


def test_names_are_kept_and_made_where_they_lack(tmp_path: Path) -> None:
    proto = onnx_files.parse(
        """g (float[2] x) => (float[2] y) {
            [same] a = Neg(x)
            [same] b = Neg(a)
            c = Exp(b)
            y = Exp(c)
        }""",
    )
    model = onnx_files.imported(tmp_path, proto)
    assert [node.name for node in model.graph] == ["same", "same_1", "Exp", "Exp_1"]
    assert all(node.version is None for node in model.graph)


def test_a_long_chain_takes_linear_time(tmp_path: Path) -> None:
    names = [f"v{index}" for index in range(2001)]
    nodes = [helper.make_node("Neg", [a], [b]) for a, b in itertools.pairwise(names)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("v0", 1, [2])], [value("v2000", onnx.TensorProto.FLOAT, [2])]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert len(onnx_files.imported(tmp_path, proto).graph) == 2000


def test_support_and_import_agree_on_text(tmp_path: Path) -> None:
    """What tests of passes start from is what the importer gives."""
    text = "g (float[2,3] x) => (float[2,3] y) { a = Neg(x) y = Relu(a) }"
    model = onnx_files.imported(tmp_path, text)
    assert support.body(model) == support.body(support.from_text(text))
