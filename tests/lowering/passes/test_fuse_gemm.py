from __future__ import annotations

import itertools
import re

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import provenance
from tapeout.lowering.passes.fuse_gemm import FuseGemm

import support

RNG = np.random.default_rng(0)


def run(model: ir.Model) -> ir.Model:
    return FuseGemm()(model).model


def draw(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def test_matmul_and_add() -> None:
    weight = draw(3, 4)
    model = support.from_text(
        """g (float[2,3] x, float[3,4] w, float[4] b) => (float[2,4] y) {
            [product] a = MatMul(x, w)
            [sum] c = Add(b, a)
            y = Relu(c)
        }""",
        w=weight,
        b=draw(4),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        'c = Gemm <transB: int = 1> (x, "product/weight", "product/bias")\ny = Relu (c)'
    )
    assert after.graph[0].name == "product"
    assert provenance.origins(after.graph[0]) == ("product", "sum")
    new = after.graph.initializers["product/weight"]
    assert new.shape == (4, 3)
    assert new.const_value is not None
    assert np.shares_memory(new.const_value.numpy(), weight), "a view, not a copy"
    assert list(after.graph.initializers) == ["product/weight", "product/bias"]
    assert not FuseGemm()(after).modified


def test_matmul_alone_and_several_shifts() -> None:
    model = support.from_text(
        """g (float[2,3] x, float[3,4] w, float[4] b, float[1,1] d)
            => (float[2,4] y, float[2,4] z) {
            y = MatMul(x, w)
            a = MatMul(x, w)
            c = Sub(a, b)
            z = Add(c, d)
        }""",
        w=draw(3, 4),
        b=draw(4),
        d=draw(1, 1),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == (
        'y = Gemm <transB: int = 1> (x, "y/weight")\n'
        'z = Gemm <transB: int = 1> (x, "y/weight", "a/bias")'
    )


FORMS = list(itertools.product((0, 1), (0, 1), (1.0, 0.5), (1.0, 2.0), ("", "c", "r", "m", "v")))


@pytest.mark.parametrize(("turn_a", "turn_b", "alpha", "beta", "bias"), FORMS)
@pytest.mark.parametrize("is_constant", [True, False])
def test_every_gemm(
    turn_a: int, turn_b: int, alpha: float, beta: float, bias: str, is_constant: bool
) -> None:
    a = "3,2" if turn_a else "2,3"
    w = (4, 3) if turn_b else (3, 4)
    attributes = f"transA={turn_a}, transB={turn_b}, alpha={alpha}, beta={beta}"
    constants = {"c": draw(4), "r": draw(1, 4), "m": draw(2, 1)} | (
        {"w": draw(*w)} if is_constant else {}
    )
    model = support.from_text(
        f"""g (float[{a}] x, float[{w[0]},{w[1]}] w, float[4] c, float[1,4] r, float[2,1] m,
            float[2,4] v) => (float[2,4] y) {{
            y = Gemm<{attributes}>(x, w{bias and ", " + bias})
        }}""",
        **constants,
    )
    after = support.assert_same_numbers(model, run)
    kinds = [node.op_type for node in after.graph]
    if is_constant:
        (gemm,) = (node for node in after.graph if node.op_type == "Gemm")
        given = {name: attribute.value for name, attribute in gemm.attributes.items()}
        neutral = {"alpha": 1, "beta": 1, "transA": 0, "transB": 1}
        assert neutral | given == neutral
        assert given["transB"] == 1
        assert [value.shape for value in gemm.inputs[1:]] in ([(4, 3)], [(4, 3), (4,)])
        assert ("Add" in kinds) == (bias in ("m", "v"))
        assert ("Transpose" in kinds) == bool(turn_a)
    else:
        assert "Gemm" not in kinds
        assert kinds.count("Transpose") == turn_a + turn_b
    assert not FuseGemm()(after).modified


def test_attributes_that_say_the_default_do_not_matter() -> None:
    model = support.from_text(
        """g (float[2,3] x, float[4,3] w) => (float[2,4] y) {
            y = Gemm<alpha=1.0, beta=1.0, transA=0, transB=1>(x, w)
        }""",
        w=draw(4, 3),
    )
    assert not FuseGemm()(model).modified


def test_a_weight_that_is_turned_at_run_time_is_used_as_it_lies() -> None:
    model = support.from_text(
        """g (float[2,3] x, float[4,3] w) => (float[2,4] y, float[1,3] e) <int64[1] i = {1}> {
            t = Transpose(w)
            y = MatMul(x, t)
            e = Gather(w, i)
        }""",
        w=draw(4, 3),
    )
    after = support.assert_same_numbers(model, lambda m: FuseGemm(growth=0)(m).model)
    assert support.body(after) == "y = Gemm <transB: int = 1> (x, w)\ne = Gather (w, i)"
    assert list(after.graph.initializers) == ["i", "w"]


def test_a_weight_that_others_need_is_turned_only_as_far_as_allowed() -> None:
    model = support.from_text(
        """g (float[2,3] x, float[3,4] w) => (float[2,4] y, float[1,4] e, float[2,4] z)
            <int64[1] i = {1}> {
            y = MatMul(x, w)
            e = Gather(w, i)
            z = Gemm<alpha=2.0>(x, w)
        }""",
        w=draw(3, 4),
    )
    after = support.assert_same_numbers(model, lambda m: FuseGemm(growth=47)(m).model)
    assert [node.op_type for node in after.graph] == ["MatMul", "Gather", "Mul", "MatMul"]
    after = support.assert_same_numbers(after, lambda m: FuseGemm(growth=48)(m).model)
    assert [node.op_type for node in after.graph] == ["Gemm", "Gather", "Mul", "Gemm"]
    assert "z/product/weight" not in after.graph.initializers, "both read one turned weight"


@pytest.mark.parametrize(
    "nodes",
    [
        "a = MatMul(u, w) y = ReduceMax<keepdims=0>(a, zero)",
        "y = MatMul(x, k)",
        "y = MatMul(k, w)",
        "a = MatMul(n, m) y = Cast<to=1>(a)",
    ],
)
def test_keeps(nodes: str) -> None:
    constants = {"w": draw(3, 4)} if "k, w" not in nodes else {}
    model = support.from_text(
        f"""g (float[2,3] x, float[1,2,3] u, float[3,4] w, float[3,4] k, int32[2,3] n)
            => (float[2,4] y) <int64[1] zero = {{0}},
            int32[3,4] m = {{1,2,3,4,5,6,7,8,9,0,1,2}}> {{
            {nodes.replace("k, w", "x, k")}
        }}""",
        **constants,
    )
    assert not FuseGemm()(model).modified


@pytest.mark.parametrize("addend", ["v", "column", "wide"])
def test_keeps_an_add_that_is_no_bias(addend: str) -> None:
    model = support.from_text(
        f"""g (float[2,3] x, float[3,4] w, float[2,4] v, float[2,1] column, float[1,1,4] wide)
            => (float[1,2,4] y) <int64[3] s = {{1, 2, 4}}> {{
            a = MatMul(x, w)
            b = Add(a, {addend})
            y = Reshape(b, s)
        }}""",
        w=draw(3, 4),
        column=draw(2, 1),
        wide=draw(1, 1, 4),
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Gemm", "Add", "Reshape"]


def test_keeps_an_add_where_the_product_has_another_use() -> None:
    model = support.from_text(
        """g (float[2,3] x, float[3,4] w, float[4] b) => (float[2,4] y, float[2,4] a) {
            a = MatMul(x, w)
            y = Add(a, b)
        }""",
        w=draw(3, 4),
        b=draw(4),
    )
    after = support.assert_same_numbers(model, run)
    assert support.body(after) == 'a = Gemm <transB: int = 1> (x, "a/weight")\ny = Add (a, b)'


def test_half_precision() -> None:
    model = support.from_text(
        """g (float16[2,3] x, float16[3,4] w, float16[4] b) => (float16[2,4] y) {
            a = MatMul(x, w)
            y = Add(a, b)
        }""",
        w=draw(3, 4, dtype=np.float16),
        b=draw(4, dtype=np.float16),
    )
    after = support.assert_same_numbers(model, run, tolerance=2e-3)
    assert after.graph.initializers["a/bias"].dtype == ir.DataType.FLOAT16


def test_a_shape_that_claims_terabytes_allocates_nothing() -> None:
    model = support.from_text(
        """g (float[1,1] x, float[1,1000000000000] w) => (float[1,1000000000000] y)
            <float c = {1}, float d = {2}> {
            a = Gemm<beta=2.0>(x, w, c)
            y = Add(a, d)
        }"""
    )
    assert [node.op_type for node in run(model).graph] == ["MatMul", "Mul", "Add", "Add"]


def stored(graph: str) -> ir.Model:
    """Return a model of integers: w, by columns of scales ws; v, its transpose; a bias b."""
    weight = RNG.integers(-127, 128, (3, 4), np.int8)
    constants = {
        "w": weight,
        "v": weight.T.copy(),
        "ws": RNG.uniform(0.01, 0.1, 4).astype(np.float32),
        "b": RNG.integers(-999, 999, 4, np.int32),
        "bs": RNG.uniform(0.001, 0.01, 4).astype(np.float32),
        "f": draw(4),
    }
    types = {np.dtype(np.int8): "int8", np.dtype(np.int32): "int32", np.dtype(np.float32): "float"}
    constants = {k: array for k, array in constants.items() if re.search(rf"\b{k}\b", graph)}
    declared = ", ".join(
        f"{types[array.dtype]}{list(array.shape)} {name}" for name, array in constants.items()
    )
    return support.from_text(f"g (float[2,3] x, {declared}) => (float[2,4] y) {graph}", **constants)


STORED = {
    "matmul": "{ r = DequantizeLinear(w, ws) y = MatMul(x, r) }",
    "gemm": """{
        r = DequantizeLinear<axis=0>(v, ws)
        c = DequantizeLinear<axis=0>(b, bs)
        y = Gemm<transB=1>(x, r, c)
    }""",
    "gemm of a turned weight": """{
        r = DequantizeLinear(w, ws)
        c = DequantizeLinear<axis=0>(b, bs)
        y = Gemm(x, r, c)
    }""",
    "factors": """{
        r = DequantizeLinear(w, ws)
        c = DequantizeLinear<axis=0>(b, bs)
        y = Gemm<alpha=0.5, beta=2.0>(x, r, c)
    }""",
    "numbers as bias": "{ r = DequantizeLinear(w, ws) y = Gemm(x, r, f) }",
    "numbers added": "{ r = DequantizeLinear(w, ws) a = MatMul(x, r) y = Add(f, a) }",
    "integers added": """{
        r = DequantizeLinear(w, ws)
        c = DequantizeLinear<axis=0>(b, bs)
        a = MatMul(x, r)
        y = Add(a, c)
    }""",
    "a row of integers added": """<int32[1,4] d = {1,2,3,4}, float s = {0.5}> {
        r = DequantizeLinear(w, ws)
        c = DequantizeLinear(d, s)
        a = Gemm(x, r)
        y = Add(c, a)
    }""",
    "a transposed weight": """{
        r = DequantizeLinear<axis=0>(v, ws)
        t = Transpose<perm=[1,0]>(r)
        a = MatMul(x, t)
        y = Add(a, f)
    }""",
}


@pytest.mark.parametrize("name", STORED)
def test_constants_that_are_stored_as_integers(name: str) -> None:
    after = support.assert_same_numbers(stored(STORED[name]), run)
    *others, gemm = after.graph
    assert [gemm.op_type, *(node.op_type for node in others)] == [
        "Gemm",
        *["DequantizeLinear"] * len(others),
    ]
    assert gemm.attributes["transB"].as_int() == 1
    weight = gemm.inputs[1]
    assert weight is not None
    assert weight.producer() in others
    integers = weight.producer().inputs[0]
    assert integers.is_initializer()
    assert integers.dtype == ir.DataType.INT8
    assert weight.producer().attributes["axis"].as_int() == 0
    assert all(value.uses() for value in after.graph.initializers.values())
    assert not FuseGemm()(after).modified


def test_what_scales_cannot_say_stays_beside_the_product() -> None:
    model = stored(
        """{
        r = DequantizeLinear(w, ws)
        c = DequantizeLinear<axis=0>(b, bs)
        y = Gemm<alpha=-1.0, beta=-2.0>(x, r, c)
    }"""
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph if node.op_type != "DequantizeLinear"] == [
        "Mul",
        "MatMul",
        "Mul",
        "Add",
    ]


def test_integers_stay_after_integers() -> None:
    """A bias that is stored is not changed by what is added to it."""
    model = stored(
        """{
        r = DequantizeLinear(w, ws)
        c = DequantizeLinear<axis=0>(b, bs)
        a = Gemm(x, r, c)
        y = Add(a, f)
    }"""
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph][-2:] == ["Gemm", "Add"]
    assert not FuseGemm()(after).modified


def test_two_products_share_a_turned_weight() -> None:
    model = stored(
        """{
        r = DequantizeLinear(w, ws)
        a = MatMul(x, r)
        b2 = Neg(x)
        c2 = MatMul(b2, r)
        y = Mul(a, c2)
    }"""
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph].count("DequantizeLinear") == 1
    assert [node.op_type for node in after.graph].count("Gemm") == 2
