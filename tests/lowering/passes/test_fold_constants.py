from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.lowering.passes.fold_constants import FoldConstants

import support

MIB = 1 << 20


def run(model: ir.Model) -> ir.Model:
    return FoldConstants()(model).model


def constants(model: ir.Model) -> dict[str, np.ndarray]:
    return {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }


def test_folds_a_chain() -> None:
    model = support.from_text(
        """g (float[2,3] x) => (float[2,3] y) <float[3] u = {1,2,3}, float[3] v = {4,5,6}> {
            a = Mul(u, v)
            b = Exp(u)
            c = Sub(a, b)
            y = Add(x, c)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Add (x, c)"
    assert list(after.graph.initializers) == ["c"]
    assert after.graph.initializers["c"].shape == (3,)
    assert after.graph.initializers["c"].dtype == ir.DataType.FLOAT
    assert not FoldConstants()(after).modified


def test_folds_the_arithmetic_of_shapes() -> None:
    model = support.from_text(
        """g (float[2,3,4] x) => (float[6,4] y, int64 n) <int64[1] zero = {0}, int64 one = {1},
            int64[1] minus = {-1}, int64[1] two = {2}> {
            s = Shape(x)
            h = Gather(s, one)
            hs = Unsqueeze(h, zero)
            b = Shape<start=0, end=1>(x)
            m = Mul(hs, b)
            last = Shape<start=-1>(x)
            t = Concat<axis=0>(m, last)
            y = Reshape(x, t)
            n = Size(x)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = Reshape (x, t)\nn = Identity (n_1)"
    assert constants(after)["t"].tolist() == [6, 4]
    assert after.graph.outputs[1].name == "n"


def test_folds_small_generators() -> None:
    model = support.from_text(
        """g (float[3] x) => (float[3] y) <int64[1] three = {3}, float a = {0}, float b = {3},
            float c = {1}> {
            z = ConstantOfShape<value = float[1] {2}>(three)
            r = Range(a, b, c)
            e = Expand(c, three)
            s = Sum(x, z, r, e)
            k = Constant<value_float = 2.5>()
            y = Mul(s, k)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Sum", "Mul"]
    assert constants(after)["r"].tolist() == [0, 1, 2]


BOMBS = {
    "ConstantOfShape": "b = ConstantOfShape(n)",
    "Expand": "b = Expand(f, n)",
    "Tile": "s = Reshape(f, ones) b = Tile(s, n)",
    "Range": "b = Range(f, big, f)",
    "product of ranges": "b = Range(zero, thousand, one) c = Reshape(b, column) d = Mul(b, c) "
    "e = Reshape(d, line) h = Reshape(d, column) i = Add(e, h)",
    "OneHot": "b = OneHot(million, million, values)",
    "EyeLike": "a = ConstantOfShape(n) b = EyeLike(a)",
    "Pad": "a = Reshape(f, ones) b = Pad(a, pads)",
    "window": "b = HannWindow(million)",
    "Resize": "a = Reshape(f, four) b = Resize(a, , , sizes)",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_folding_bomb_is_left_alone(name: str) -> None:
    proto = onnx.parser.parse_model(
        f"""<ir_version: 13, opset_import: ["" : 26]>
        g (float[2] x) => (float[2] y) <int64[2] n = {{1000000, 1000000}}, float f = {{1}},
            int64[2] ones = {{1, 1}}, float big = {{1000000000000}}, int64 zero = {{0}},
            int64 thousand = {{1000}}, int64 one = {{1}}, int64[2] column = {{-1, 1}},
            int64[1] line = {{-1}}, int64 million = {{1000000000000}}, float[2] values = {{0, 1}},
            int64[4] pads = {{0, 0, 1000000, 1000000}}, int64[4] four = {{1, 1, 1, 1}},
            int64[4] sizes = {{1, 1, 1000000, 1000000}}> {{
            {BOMBS[name]}
            y = Exp(x)
        }}"""
    )
    after = run(ir.from_proto(proto))
    assert max(array.nbytes for array in constants(after).values()) <= MIB
    assert len(after.graph) > 1, "what is not folded stays"


def test_what_the_file_says_of_a_size_is_not_believed() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] y) <int64[1] n = {1000000000000}> {
            b = ConstantOfShape(n)
            y = Exp(x)
        }"""
    )
    model.graph[0].outputs[0].shape = ir.Shape([1])
    assert not FoldConstants()(model).modified


def test_the_limit_holds_unless_the_constants_shrink() -> None:
    text = """g (float[512,512] x, float[512,512] w) => (float[512,512] y, float[1024,512] z)
        <float two = {2}> {
        a = Mul(w, two)
        y = MatMul(x, a)
        z = Concat<axis=0>(x, a)
    }"""
    weight = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
    after = support.assert_same_numbers(support.from_text(text, w=weight), run)
    assert list(after.graph.initializers) == ["a"], "w went, so nothing grew"

    shared = support.from_text(text, w=weight)
    shared.graph[2].replace_input_with(0, shared.graph.initializers["w"])
    assert not FoldConstants(limit=MIB - 1)(shared).modified
    assert FoldConstants(limit=MIB)(shared).modified


def test_the_growth_by_many_small_folds_is_bounded_too() -> None:
    nodes = "".join(f"e{i} = Expand(f, n) m{i} = Mul(x, e{i})" for i in range(8))
    model = support.from_text(
        f"""g (float[256] x) => (float[256] y) <float f = {{1}}, int64[1] n = {{256}}> {{
            {nodes}
            y = Sum({",".join(f"m{i}" for i in range(8))})
        }}"""
    )
    after = FoldConstants(growth=3 * 1024)(model).model
    assert [node.op_type for node in after.graph].count("Expand") == 5


def test_a_large_weight_is_turned_without_a_copy() -> None:
    weight = np.zeros((1024, 4096), np.float32)
    model = support.from_text(
        """g (float[1,1024] x, float[1024,4096] w) => (float[1,4096] y)
            <int64[2] s = {2048, 2048}, int64[2] r = {4096, 1024}> {
            a = Reshape(w, s)
            b = Reshape(a, r)
            c = Transpose<perm=[1,0]>(b)
            y = MatMul(x, c)
        }""",
        w=weight,
    )
    after = run(model)
    assert support.body(after) == "y = MatMul (x, c)"
    assert list(after.graph.initializers) == ["c"]
    assert np.shares_memory(constants(after)["c"], weight)
    assert constants(after)["c"].shape == (1024, 4096)


def test_heavy_products_are_left_to_the_device() -> None:
    model = support.from_text(
        """g (float[512,512] x, float[512,512] w) => (float[512,512] y) {
            a = MatMul(w, w)
            y = MatMul(x, a)
        }""",
        w=np.ones((512, 512), np.float32),
    )
    assert not FoldConstants()(model).modified


def test_small_products_are_folded() -> None:
    model = support.from_text(
        """g (float[2,2] x) => (float[2,2] y) <float[2,2] u = {1,2,3,4}> {
            a = Gemm<transB=1>(u, u)
            y = MatMul(x, a)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "y = MatMul (x, a)"


@pytest.mark.parametrize(
    "node",
    [
        "a = RandomNormalLike(u)",
        "a = Bernoulli(u)",
        "a = Dropout(u, r, t)",
        "a = tapeout.Twice(u)",
        "a = Add(u, x)",
    ],
)
def test_keeps(node: str) -> None:
    model = support.from_text(
        f"""g (float[2] x) => (float[2] y)
            <float[2] u = {{0.5, 0.5}}, float r = {{0.5}}, bool t = {{1}}> {{
            {node}
            y = Add(x, a)
        }}
        <domain: "tapeout", opset_import: ["" : 26]> Twice (a) => (b) {{ b = Add(a, a) }}"""
    )
    assert not FoldConstants()(model).modified


def test_keeps_what_a_caller_may_replace() -> None:
    model = support.from_text(
        """g (float[2] x, float[2] u) => (float[2] y) <float[2] u = {1, 2}> {
            a = Exp(u)
            y = Add(x, a)
        }"""
    )
    assert not FoldConstants()(model).modified


@pytest.mark.parametrize("divisor", [0, -1])
@pytest.mark.parametrize("op_type", ["Div", "Mod"])
def test_keeps_a_division_at_which_the_processor_would_stop(op_type: str, divisor: int) -> None:
    model = support.from_text(
        f"""g (int32[1] x) => (int32[1] y)
            <int32[1] u = {{-2147483648}}, int32[1] v = {{{divisor}}}> {{
            a = {op_type}(u, v)
            y = Add(x, a)
        }}"""
    )
    assert not FoldConstants()(model).modified


def test_keeps_what_fails() -> None:
    model = support.from_text(
        """g (float[1] x) => (float[1] y) <float[2] u = {1, 2}, int64[1] i = {7}> {
            a = Gather(u, i)
            y = Add(x, a)
        }"""
    )
    assert not FoldConstants()(model).modified


def test_quantizes_weights_but_keeps_how_they_are_quantized() -> None:
    model = support.from_text(
        """g (float[1,4] x) => (float[1,4] y) <float[4] u = {1, 2, -3, 0.5}, float s = {0.1},
            int8 z = {0}> {
            q = QuantizeLinear(u, s, z)
            d = DequantizeLinear(q, s, z)
            y = Add(x, d)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "d = DequantizeLinear (q, s, z)\ny = Add (x, d)"
    assert constants(after)["q"].tolist() == [10, 20, -30, 5]


def test_several_outputs_and_those_of_the_graph() -> None:
    model = support.from_text(
        """g (float[2] x) => (float[2] y, float[2] p) <float[4] u = {1, 2, 3, 4}> {
            p, q = Split<num_outputs=2>(u)
            y = Add(x, q)
        }"""
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == "p = Identity (p_1)\ny = Add (x, q)"


def test_folds_inside_the_bodies_of_control_flow() -> None:
    model = support.from_text(
        """g (bool c, float[2] x) => (float[2] y) <float[2] u = {1, 2}> {
            y = If (c) <
                then_branch = t () => (float[2] a) { e = Exp(u) a = Add(x, e) },
                else_branch = f () => (float[2] d) { d = Neg(u) }
            >
        }"""
    )
    after = support.assert_same_numbers(model, run)
    node = after.graph[0]
    assert [inner.op_type for inner in node.attributes["then_branch"].as_graph()] == ["Add"]
    assert [inner.op_type for inner in node.attributes["else_branch"].as_graph()] == ["Identity"]
