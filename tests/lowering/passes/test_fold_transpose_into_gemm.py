from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.passes.fold_transpose_into_gemm import FoldTransposeIntoGemm

import support

RNG = np.random.default_rng(0)


def run(model: ir.Model) -> ir.Model:
    return FoldTransposeIntoGemm()(model).model


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("product", ["Gemm(f, w)", "MatMul(f, w)", "Gemm<transB=1>(f, w)"])
@pytest.mark.parametrize("batch", [1, 2])
def test_classifier(product: str, batch: int) -> None:
    shape = (5, 24) if "transB" in product else (24, 5)
    model = support.from_text(
        f"""g (float[{batch},2,3,4] x, float{list(shape)} w) => (float[{batch},5] y)
            <int64[2] s = {{0,-1}}> {{
            t = Transpose<perm=[0,3,1,2]>(x)
            f = Reshape(t, s)
            [dense] y = {product}
        }}""",
        w=draw(*shape),
    )
    after = support.assert_same_numbers(model, run)
    turned = " <transB: int = 1>" if "transB" in product else ""
    name = product.partition("(")[0].partition("<")[0]
    assert support.body(after) == (
        'f = Reshape (x, "f/shape")\n' + f'y = {name}{turned} (f, "dense/weight")'
    )
    assert dialect.check(after) == []
    assert not FoldTransposeIntoGemm()(after).modified


def test_sequence_of_features() -> None:
    model = support.from_text(
        """g (float[2,3,4,5] x, float[20,6] w) => (float[2,3,6] y) <int64[3] s = {2,3,20}> {
            t = Transpose<perm=[0,1,3,2]>(x)
            f = Reshape(t, s)
            y = MatMul(f, w)
        }""",
        w=draw(20, 6),
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Reshape", "MatMul"]


def test_shared_weight_is_copied() -> None:
    model = support.from_text(
        """g (float[1,2,3,4] x, float[1,24] z, float[24,5] w) => (float[1,5] y, float[1,5] v)
            <int64[2] s = {1,24}> {
            t = Transpose<perm=[0,3,1,2]>(x)
            f = Reshape(t, s)
            y = MatMul(f, w)
            v = MatMul(z, w)
        }""",
        w=draw(24, 5),
    )
    after = support.assert_same_numbers(model, run)
    assert [node.op_type for node in after.graph] == ["Reshape", "MatMul", "MatMul"]


LEFT = {
    "the batch moves too": (
        "t = Transpose<perm=[1,3,0,2]>(x) f = Reshape(t, s) y = MatMul(f, w)",
        "int64[2] s = {2,24}",
        "float[2,5] y",
    ),
    "a variable weight": (
        "t = Transpose<perm=[0,3,1,2]>(x) f = Reshape(t, s) y = MatMul(f, v)",
        "int64[2] s = {2,24}",
        "float[2,5] y",
    ),
    "another reader of the flat tensor": (
        "t = Transpose<perm=[0,3,1,2]>(x) f = Reshape(t, s) y = MatMul(f, w) z = Neg(f)",
        "int64[2] s = {2,24}",
        "float[2,5] y, float[2,24] z",
    ),
    "another reader of the transposed tensor": (
        "t = Transpose<perm=[0,3,1,2]>(x) f = Reshape(t, s) y = MatMul(f, w) z = Neg(t)",
        "int64[2] s = {2,24}",
        "float[2,5] y, float[2,4,2,3] z",
    ),
    "columns that are part of an axis": (
        "t = Transpose<perm=[0,3,1,2]>(x) f = Reshape(t, s) y = MatMul(f, u)",
        "int64[2] s = {16,3}, float[3,1] u = {1,2,3}",
        "float[16,1] y",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_leaves(name: str) -> None:
    nodes, constants, outputs = LEFT[name]
    model = support.from_text(
        f"""g (float[2,2,3,4] x, float[24,5] v, float[24,5] w) => ({outputs}) <{constants}> {{
            {nodes}
        }}""",
        w=draw(24, 5),
    )
    assert not FoldTransposeIntoGemm()(model).modified


ROUNDED = {
    "before the shape": "t = Transpose<perm=[0,3,1,2]>(x) q = QuantizeLinear(t, s, z) "
    "r = DequantizeLinear(q, s, z) f = Reshape(r, n)",
    "behind the shape": "t = Transpose<perm=[0,3,1,2]>(x) r = Reshape(t, n) "
    "q = QuantizeLinear(r, s, z) f = DequantizeLinear(q, s, z)",
    "integers": "q = QuantizeLinear(x, s, z) t = Transpose<perm=[0,3,1,2]>(q) "
    "r = DequantizeLinear(t, s, z) f = Reshape(r, n)",
}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("where", ROUNDED)
def test_integers(where: str, axis: int) -> None:
    """Weights that are stored as integers, and data that is rounded to them."""
    scales = (5, 24)[axis]
    model = support.from_text(
        f"""g (float[2,2,3,4] x, int8[5,24] w, float[{scales}] v) => (float[2,5] y)
            <int64[2] n = {{2,24}}, float s = {{0.03}}, uint8 z = {{120}}> {{
            {ROUNDED[where]}
            d = DequantizeLinear<axis={axis}>(w, v)
            y = Gemm<transB=1>(f, d)
        }}""",
        w=RNG.integers(-127, 128, (5, 24), np.int8),
        v=RNG.uniform(0.01, 0.1, scales).astype(np.float32),
    )
    after = support.assert_same_numbers(model, run)
    assert dialect.check(after) == []
    kinds = sorted(node.op_type for node in after.graph)
    assert kinds == ["DequantizeLinear", "DequantizeLinear", "Gemm", "QuantizeLinear", "Reshape"]
    assert not FoldTransposeIntoGemm()(after).modified


def test_blocks_of_integers_stay() -> None:
    model = support.from_text(
        """g (float[2,2,3,4] x, int8[5,24] w, float[5,12] v) => (float[2,5] y)
            <int64[2] n = {2,24}> {
            t = Transpose<perm=[0,3,1,2]>(x)
            f = Reshape(t, n)
            d = DequantizeLinear<axis=1, block_size=2>(w, v)
            y = Gemm<transB=1>(f, d)
        }""",
        w=RNG.integers(-127, 128, (5, 24), np.int8),
        v=RNG.uniform(0.01, 0.1, (5, 12)).astype(np.float32),
    )
    assert not FoldTransposeIntoGemm()(model).modified
