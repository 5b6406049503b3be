"""Small graphs that are quantized already, as exporters write them, at the canonical stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime import quantization
from quantized_files import Reader, compare, kinds, weights_of

from tapeout.lowering.importers.onnx import load

import support

RNG = np.random.default_rng(0)


def save(path: Path, graph: str, **constants: np.ndarray) -> Path:
    onnx.save(ir.to_proto(support.from_text(graph, **constants)), path)
    return path


def integers(*shape: int) -> np.ndarray:
    return RNG.integers(-127, 128, shape, np.int8)


def scales(*shape: int) -> np.ndarray:
    return RNG.uniform(0.001, 0.01, shape).astype(np.float32)


#: Weights that are stored as integers, in a network of real numbers.
WEIGHT_ONLY: dict[str, tuple[str, dict[str, np.ndarray], list[str]]] = {
    "PyTorch, a Linear layer of scales by row": (
        """g (float[4,32] x, int8[16,32] w, float[16] s, int8[16] z, float[16] b)
            => (float[4,16] y) {
            r = DequantizeLinear<axis=0>(w, s, z)
            t = Transpose<perm=[1,0]>(r)
            m = MatMul(x, t)
            y = Add(b, m)
        }""",
        {"w": integers(16, 32), "s": scales(16), "z": integers(16), "b": scales(16)},
        ["Gemm"],
    ),
    "PyTorch, a Linear layer over a sequence": (
        """g (float[2,4,32] x, int8[16,32] w, float[16] s, float[16] b) => (float[2,4,16] y) {
            r = DequantizeLinear<axis=0>(w, s)
            t = Transpose<perm=[1,0]>(r)
            m = MatMul(x, t)
            y = Add(m, b)
        }""",
        {"w": integers(16, 32), "s": scales(16), "b": scales(16)},
        ["MatMul", "Add"],
    ),
    "PyTorch, quantization-aware training": (
        """g (float[4,32] x, float[16,32] w, float[16] s, float[16] b) => (float[4,16] y)
            <int8[16] z = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}> {
            q = QuantizeLinear<axis=0>(w, s, z)
            r = DequantizeLinear<axis=0>(q, s, z)
            y = Gemm<transB=1>(x, r, b)
        }""",
        {"w": scales(16, 32), "s": scales(16) / 100, "b": scales(16)},
        ["Gemm"],
    ),
    "TensorFlow, a kernel with channels last": (
        """g (float[1,8,8,3] x, int8[3,3,3,4] w, float[4] s, float[4] b) => (float[1,8,8,4] y) {
            r = DequantizeLinear<axis=3>(w, s)
            k = Transpose<perm=[3,2,0,1]>(r)
            t = Transpose<perm=[0,3,1,2]>(x)
            c = Conv<auto_pad="SAME_UPPER">(t, k)
            a = Transpose<perm=[0,2,3,1]>(c)
            y = Add(a, b)
        }""",
        {"w": integers(3, 3, 3, 4), "s": scales(4), "b": scales(4)},
        ["ConvNhwc"],
    ),
    "TensorFlow, a depthwise kernel": (
        """g (float[1,8,8,3] x, int8[3,3,3,2] w, float s) => (float[1,8,8,6] y)
            <int64[4] n = {3,3,1,6}> {
            r = DequantizeLinear(w, s)
            f = Reshape(r, n)
            k = Transpose<perm=[3,2,0,1]>(f)
            t = Transpose<perm=[0,3,1,2]>(x)
            c = Conv<auto_pad="SAME_UPPER", group=3>(t, k)
            y = Transpose<perm=[0,2,3,1]>(c)
        }""",
        {"w": integers(3, 3, 3, 2), "s": scales()},
        ["ConvNhwc"],
    ),
    "blocks of four bits": (
        """g (float[4,32] x, int4[32,16] w, float[2,16] s, float[16] b) => (float[4,16] y) {
            r = DequantizeLinear<axis=0, block_size=16>(w, s)
            m = MatMul(x, r)
            y = Add(m, b)
        }""",
        {
            "w": RNG.integers(-8, 8, (32, 16)).astype(ir.DataType.INT4.numpy()),
            "s": scales(2, 16),
            "b": scales(16),
        },
        ["Gemm"],
    ),
    "a bias of integers": (
        """g (float[4,32] x, int8[32,16] w, float[16] s, int32[16] b) => (float[4,16] y) {
            r = DequantizeLinear<axis=1>(w, s)
            c = DequantizeLinear<axis=0>(b, s)
            m = MatMul(x, r)
            y = Add(m, c)
        }""",
        {"w": integers(32, 16), "s": scales(16), "b": RNG.integers(-999, 999, 16, np.int32)},
        ["Gemm"],
    ),
    "a classifier behind a feature map": (
        """g (float[1,8,8,3] x, int8[4,3,3,3] k, int8[10,64] w, float[10] s) => (float[1,10] y)
            <float o = {0.01}> {
            i = DequantizeLinear(k, o)
            t = Transpose<perm=[0,3,1,2]>(x)
            c = Conv<pads=[1,1,1,1], strides=[2,2]>(t, i)
            a = Relu(c)
            f = Flatten(a)
            r = DequantizeLinear<axis=0>(w, s)
            y = Gemm<transB=1>(f, r)
        }""",
        {"k": integers(4, 3, 3, 3), "w": integers(10, 64), "s": scales(10)},
        ["ConvNhwc", "Clip", "Reshape", "Gemm"],
    ),
}


@pytest.mark.parametrize("name", WEIGHT_ONLY)
def test_weights_only(tmp_path: Path, name: str) -> None:
    graph, constants, left = WEIGHT_ONLY[name]
    path = save(tmp_path / "weights.onnx", graph, **constants)
    feeds = support.random_feeds(load(path))
    after = compare(path, feeds, tolerance=1e-6)["nhwc"]
    assert [node.op_type for node in after.graph if node.op_type != "DequantizeLinear"] == left
    assert weights_of(after)
    assert after.graph.num_nodes() - len(left) == len(weights_of(after)) + name.count("bias of")


def test_one_pair_for_every_reader(tmp_path: Path) -> None:
    """A pair for every reader, and one pair for all of them, become one form."""

    def branches(pairs: str, *read: str) -> str:
        return f"""g (float[1,3,8,8] x, int8[4,3,1,1] w, float[1] t, int8[1] u)
            => (float[1,4,8,8] y) <float s = {{0.05}}, int8 z = {{-3}}, float one = {{0.01}}> {{
            {pairs}
            k = DequantizeLinear(w, one)
            c0 = Conv({read[0]}, k)
            c1 = Conv({read[1]}, k)
            y = Mul(c0, c1)
        }}"""

    forms = [
        branches("q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)", "d", "d"),
        branches(
            """q = QuantizeLinear(x, s, z)
               d0 = DequantizeLinear(q, s, z) d1 = DequantizeLinear<axis=0>(q, t, u)""",
            "d0",
            "d1",
        ),
        branches(
            """q0 = QuantizeLinear(x, s, z) d0 = DequantizeLinear(q0, s, z)
               q1 = QuantizeLinear(x, t, u) d1 = DequantizeLinear(q1, t, u)""",
            "d0",
            "d1",
        ),
        branches(
            """q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
               p = QuantizeLinear(d, t, u) e = DequantizeLinear(p, s, z)""",
            "d",
            "e",
        ),
    ]
    constants = {
        "w": integers(4, 3, 1, 1),
        "t": np.array([0.05], np.float32),
        "u": np.array([-3], np.int8),
    }
    for number, graph in enumerate(forms):
        path = save(tmp_path / f"{number}.onnx", graph, **constants)
        after = compare(path, support.random_feeds(load(path)))["nchw"]
        assert kinds(after) == {"QuantizeLinear": 1, "DequantizeLinear": 2, "Conv": 1, "Mul": 1}


def test_batch_norm_behind_a_quantized_convolution(tmp_path: Path) -> None:
    """It stays Mul and Add: its figures are not in the integers."""
    path = save(
        tmp_path / "m.onnx",
        """g (float[1,3,8,8] x, int8[4,3,3,3] w, float[4] s, int32[4] b, float[4] v, float[4] m)
            => (float[1,4,6,6] y) <float i = {0.02}, uint8 z = {120}> {
            q = QuantizeLinear(x, i, z)
            d = DequantizeLinear(q, i, z)
            k = DequantizeLinear<axis=0>(w, s)
            c = DequantizeLinear<axis=0>(b, s)
            a = Conv(d, k, c)
            n = BatchNormalization(a, v, m, m, v)
            e = Relu(n)
            p = QuantizeLinear(e, i, z)
            y = DequantizeLinear(p, i, z)
        }""",
        w=integers(4, 3, 3, 3),
        s=scales(4),
        b=RNG.integers(-999, 999, 4, np.int32),
        v=np.abs(scales(4)) * 100,
        m=scales(4),
    )
    feeds = support.random_feeds(load(path))
    after = compare(path, feeds, tolerance=1 / 64)["nchw"]
    quantizing = ("DequantizeLinear", "QuantizeLinear")
    left = [node.op_type for node in after.graph if node.op_type not in quantizing]
    assert left == ["Conv", "Mul", "Add", "Clip"]
    assert weights_of(after) == [ir.DataType.INT8]


def test_float_patterns_between_integers(tmp_path: Path) -> None:
    """What exporters took apart is restored where only convolutions and products are integers."""
    draw = RNG.standard_normal
    path = save(
        tmp_path / "m.onnx",
        """g (float[1,3,16,16] x, float[8,3,3,3] w0, float[8,8,1,1] w1, float[8,6] w2, float[8] g)
            => (float[1,6] y)
            <float three = {3}, float zero = {0}, float six = {6}, float two = {2},
             float root = {1.4142135}, float one = {1}, float half = {0.5}, float e = {1e-5},
             int64[2] space = {2,3}, int64[1] last = {-1}, int64[2] flat = {1,8}> {
            a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w0)
            b = Add(a, three)
            c = Clip(b, zero, six)
            d = Mul(a, c)
            h = Div(d, six)
            i = Conv(h, w1)
            s = Sigmoid(i)
            t = Mul(i, s)
            p = ReduceMean<keepdims=0>(t, space)
            m = ReduceMean(p, last)
            n = Sub(p, m)
            q = Pow(n, two)
            v = ReduceMean(q, last)
            u = Add(v, e)
            o = Sqrt(u)
            r = Div(n, o)
            l = Mul(r, g)
            j = MatMul(l, w2)
            k = Div(j, root)
            f = Erf(k)
            z = Add(f, one)
            y0 = Mul(j, z)
            y = Mul(y0, half)
        }""",
        w0=draw((8, 3, 3, 3)).astype(np.float32),
        w1=draw((8, 8, 1, 1)).astype(np.float32),
        w2=draw((8, 6)).astype(np.float32),
        g=draw(8).astype(np.float32),
    )
    proto = onnx.load(path)
    proto.ir_version = 10
    onnx.save(proto, path)
    feeds = support.random_feeds(load(path))
    quantization.quantize_static(
        path,
        tmp_path / "q.onnx",
        Reader([feeds]),
        op_types_to_quantize=["Conv", "MatMul"],
        per_channel=True,
    )
    # The restored operators round otherwise than their parts; an integer may be the next one.
    for model in compare(tmp_path / "q.onnx", feeds, tolerance=0.02).values():
        found = kinds(model)
        assert weights_of(model) == [ir.DataType.INT8] * 3
        restored = ("HardSwish", "Swish", "LayerNormalization", "Gelu", "Gemm")
        assert {kind: found[kind] for kind in restored} == dict.fromkeys(restored, 1)
