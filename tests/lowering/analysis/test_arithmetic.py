"""The arithmetic of operators, against counts by hand."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from tapeout.lowering.analysis.arithmetic import DIVISION, SIGMOID, SOFTMAX, TRANSCENDENTAL, Work
from tapeout.lowering.analysis.costs import work_of

import graphs

#: Inputs, outputs, body -> MACs, other operations. The last node of the body is the one counted.
CASES = {
    "convolution, 5x7 inputs padded": (
        "float[2,3,5,7] x, float[4,3,3,3] w, float[4] b", "float[2,4,5,7] y",
        "y = Conv<pads=[1,1,1,1]>(x, w, b)", 2 * 4 * 5 * 7 * 3 * 9, 2 * 4 * 5 * 7,
    ),
    "strided, without bias": (
        "float[1,3,8,8] x, float[4,3,2,2] w", "float[1,4,4,4] y",
        "y = Conv<strides=[2,2]>(x, w)", 4 * 16 * 3 * 4, 0,
    ),
    "two groups": (
        "float[1,4,6,6] x, float[8,2,3,3] w", "float[1,8,4,4] y",
        "y = Conv<group=2>(x, w)", 8 * 16 * 2 * 9, 0,
    ),
    "depthwise": (
        "float[1,4,6,6] x, float[4,1,3,3] w", "float[1,4,4,4] y",
        "y = Conv<group=4>(x, w)", 4 * 16 * 9, 0,
    ),
    "one dimension, dilated": (
        "float[1,2,9] x, float[5,2,3] w", "float[1,5,5] y",
        "y = Conv<dilations=[2]>(x, w)", 5 * 5 * 2 * 3, 0,
    ),
    "transposed": (
        "float[1,3,4,4] x, float[3,5,2,2] w, float[5] b", "float[1,5,8,8] y",
        "y = ConvTranspose<strides=[2,2]>(x, w, b)", 3 * 16 * 5 * 4, 5 * 64,
    ),
    "integer convolution": (
        "uint8[1,3,5,5] x, uint8[2,3,3,3] w", "int32[1,2,3,3] y",
        "y = ConvInteger(x, w)", 2 * 9 * 27, 0,
    ),
    "deformable": (
        "float[1,2,4,4] x, float[3,2,3,3] w, float[1,18,2,2] o", "float[1,3,2,2] y",
        "y = DeformConv(x, w, o)", 3 * 4 * 2 * 9, 8 * 4 * 2 * 9,
    ),
    "gemm": (
        "float[3,4] a, float[4,5] b, float[5] c", "float[3,5] y", "y = Gemm(a, b, c)", 60, 15,
    ),
    "gemm of a transpose": (
        "float[4,3] a, float[5,4] b", "float[3,5] y", "y = Gemm<transA=1, transB=1>(a, b)", 60, 0,
    ),
    "matrix product with broadcast batches": (
        "float[2,1,3,4] a, float[6,4,5] b", "float[2,6,3,5] y",
        "y = MatMul(a, b)", 2 * 6 * 3 * 4 * 5, 0,
    ),
    "product of two vectors": ("float[7] a, float[7] b", "float y", "y = MatMul(a, b)", 7, 0),
    "einsum": (
        "float[2,3] a, float[3,4] b", "float[2,4] y",
        'y = Einsum<equation="ij,jk->ik">(a, b)', 24, 0,
    ),
    "lstm in two directions": (
        "float[5,2,3] x, float[2,16,3] w, float[2,16,4] r", "float[5,2,2,4] y",
        'y = LSTM<hidden_size=4, direction="bidirectional">(x, w, r)',
        5 * 2 * 2 * (16 * 3 + 16 * 4), 5 * 2 * 2 * 4 * (5 * TRANSCENDENTAL + 8),
    ),
    "gru": (
        "float[5,2,3] x, float[1,12,3] w, float[1,12,4] r", "float[5,1,2,4] y",
        "y = GRU<hidden_size=4>(x, w, r)",
        5 * 2 * (12 * 3 + 12 * 4), 5 * 2 * 4 * (3 * TRANSCENDENTAL + 6),
    ),
    "rnn": (
        "float[5,2,3] x, float[1,4,3] w, float[1,4,4] r", "float[5,1,2,4] y",
        "y = RNN<hidden_size=4>(x, w, r)",
        5 * 2 * (4 * 3 + 4 * 4), 5 * 2 * 4 * (TRANSCENDENTAL + 2),
    ),
    "attention, heads in a dimension": (
        "float[1,2,3,8] q, float[1,2,5,8] k, float[1,2,5,6] v", "float[1,2,3,6] y",
        "y = Attention(q, k, v)", 2 * 3 * 5 * (8 + 6), 2 * 3 * 5 * (SOFTMAX + 1),
    ),
    "attention, heads packed": (
        "float[1,3,16] q, float[1,5,8] k, float[1,5,6] v, float[3,5] m", "float[1,3,12] y",
        "y = Attention<q_num_heads=2, kv_num_heads=1>(q, k, v, m)",
        2 * 3 * 5 * (8 + 6), 2 * 3 * 5 * (SOFTMAX + 2),
    ),
    "max pool": (
        "float[1,2,6,6] x", "float[1,2,3,3] y",
        "y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)", 0, 18 * 4,
    ),
    "average pool": (
        "float[1,2,6,6] x", "float[1,2,3,3] y",
        "y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)", 0, 18 * (4 + DIVISION),
    ),
    "global pool": ("float[1,2,6,6] x", "float[1,2,1,1] y", "y = GlobalAveragePool(x)", 0, 72),
    "softmax": ("float[2,9] x", "float[2,9] y", "y = Softmax(x)", 0, 18 * SOFTMAX),
    "sum over an axis": (
        "float[4,9] x", "float[4,1] y",
        "axes = Constant<value_ints=[1]>()\n y = ReduceSum(x, axes)", 0, 36,
    ),
    "layer norm": (
        "float[2,8] x, float[8] s", "float[2,8] y", "y = LayerNormalization(x, s)", 0, 16 * 8,
    ),
    "relu": ("float[2,9] x", "float[2,9] y", "y = Relu(x)", 0, 18),
    "sigmoid": ("float[2,9] x", "float[2,9] y", "y = Sigmoid(x)", 0, 18 * SIGMOID),
    "broadcast addition": (
        "float[2,9] a, float[9] b", "float[2,9] y", "y = Add(a, b)", 0, 18,
    ),
    "sum of four": (
        "float[5] a, float[5] b, float[5] c, float[5] d", "float[5] y",
        "y = Sum(a, b, c, d)", 0, 15,
    ),
    "transpose": ("float[2,9] x", "float[9,2] y", "y = Transpose(x)", 0, 0),
    "nearest resize": (
        "float[1,1,4,4] x", "float[1,1,8,8] y",
        "s = Constant<value_floats=[1.0,1.0,2.0,2.0]>()\n y = Resize(x, , s)", 0, 0,
    ),
    "linear resize of two axes": (
        "float[1,1,4,4] x", "float[1,1,8,8] y",
        's = Constant<value_floats=[1.0,1.0,2.0,2.0]>()\n y = Resize<mode="linear">(x, , s)',
        0, 2 * 4 * 64,
    ),
    "top 4": (
        "float[3,16] x", "float[3,4] y",
        "k = Constant<value_ints=[4]>()\n y, i = TopK(x, k)", 0, 3 * 16 * 2,
    ),
    "fourier": (
        "float[3,8,1] x", "float[3,8,2] y", "y = DFT(x)", 0, 3 * 5 * 8 * 3,
    ),
    "determinant": ("float[2,3,3] x", "float[2] y", "y = Det(x)", 2 * 9, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_count(case: tuple[str, str, str, int, int]) -> None:
    inputs, outputs, body, macs, ops = case
    model = graphs.static_text(
        f'<ir_version: 10, opset_import: ["" : 23]> g ({inputs}) => ({outputs}) {{ {body} }}'
    )
    assert work_of(model.graph[-1]) == (Work(macs, ops), True)


@pytest.mark.parametrize(
    ("op", "attributes", "shape", "macs", "ops"),
    [
        ("ConvNhwc", "<group=1>", (1, 4, 4, 5), 4 * 4 * 5 * 3 * 9, 80),
        ("GlobalAveragePoolNhwc", "", (1, 1, 1, 3), 0, 6 * 6 * 3),
        ("MaxPoolNhwc", "<kernel_shape=[2,2]>", (1, 5, 5, 3), 0, 75 * 4),
    ],
)
def test_channels_last_counts_as_the_standard_operator(
    op: str, attributes: str, shape: tuple[int, ...], macs: int, ops: int
) -> None:
    dims = ",".join(map(str, shape))
    model = ir.from_onnx_text(f"""
        <ir_version: 10, opset_import: ["" : 21, "tapeout" : 1]>
        g (float[1,6,6,3] x, float[5,3,3,3] w, float[5] b) => (float[{dims}] y) {{
            y = tapeout.{op}{attributes}({"x, w, b" if "Conv" in op else "x"})
        }}""")
    assert work_of(model.graph[0]) == (Work(macs, ops), True)
