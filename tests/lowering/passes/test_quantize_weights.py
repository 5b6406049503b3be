from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tapeout.errors import UsageError
from tapeout.lowering import dialect
from tapeout.lowering.canonical import canonical
from tapeout.lowering.names import joined
from tapeout.lowering.passes.quantize_weights import QuantizeWeights
from tapeout.lowering.quantization.sqnr import sqnr
from tapeout.lowering.reference import Reference

import quantized
import support

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def stored(model: ir.Model) -> int:
    """Return the bytes of all constants."""
    values = model.graph.initializers.values()
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)


def run(model: ir.Model, scheme: str, keep: str = "", minimum: int = 1) -> ir.Model:
    after = QuantizeWeights(scheme, keep, minimum)(model.clone()).model
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    return after


def outputs(model: ir.Model, batches: list[quantized.Feeds]) -> np.ndarray:
    reference = Reference(model)
    return np.concatenate([next(iter(reference.run(batch).values())) for batch in batches])


#: Model -> dB at the output that weights of 8 and 4 bits at least give, and what part of the bytes
#: of constants is left at most. Below 32 input channels there are no blocks, as in digits_cnn.
REAL = {
    "digits_cnn": ((45, 0.31), (29, 0.47)),
    "resnet8_cifar10": ((28, 0.28), (15, 0.27)),
    "kws_dscnn": ((70, 0.4), (60, 0.38)),
    "ad_autoencoder": ((42, 0.27), (24, 0.16)),
    "vww_mobilenet": ((40, 0.29), (13, 0.22)),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("bits", [8, 4])
def test_real_models(name: str, bits: int) -> None:
    decibels, share = REAL[name][bits == 4]
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 32)
    after = QuantizeWeights(f"weights-int{bits}")(model.clone()).model
    assert dialect.check(after, "canonical") == []
    assert stored(after) < share * stored(model)
    expected = outputs(model, batches)
    assert sqnr(expected, outputs(after, batches)) > decibels
    lowered = canonical("nhwc").run(after)
    assert stored(lowered) <= stored(after) * 1.01
    assert sqnr(expected, outputs(lowered, batches)) > decibels


def test_digits_keep_their_accuracy() -> None:
    data = np.load(support.MODELS / "digits.npz")
    model = quantized.real_model("digits_cnn")
    batches = quantized.real_batches("digits_cnn", model, len(data["test"]))
    labels = data["labels"]
    before = np.mean(outputs(model, batches).argmax(1) == labels)
    for scheme in ("weights-int8", "weights-int4"):
        after = QuantizeWeights(scheme)(model.clone()).model
        assert np.mean(outputs(after, batches).argmax(1) == labels) >= before - 0.002


def test_eight_bits_by_output_channel() -> None:
    model = support.from_text(
        """g (float[1,4,5,5] x, float[6,4,3,3] w, float[2,7] a, float[7,5] m, float[5,3] n)
            => (float[1,6,3,3] y, float[2,3] z) {
            y = Conv(x, w)
            b = MatMul(a, m)
            z = Gemm(b, n)
        }""",
        w=draw(6, 4, 3, 3),
        m=draw(7, 5),
        n=draw(5, 3),
    )
    after = support.assert_same_numbers(model, lambda m: run(m, "weights-int8"), tolerance=0.01)
    assert support.body(after) == "\n".join(
        [
            '"y/dequantized" = DequantizeLinear <axis: int = 0>'
            ' ("y/integers", "y/scales", "y/zero_points")',
            'y = Conv (x, "y/dequantized")',
            '"b/dequantized" = DequantizeLinear <axis: int = 1>'
            ' ("b/integers", "b/scales", "b/zero_points")',
            'b = MatMul (a, "b/dequantized")',
            '"z/dequantized" = DequantizeLinear <axis: int = 1>'
            ' ("z/integers", "z/scales", "z/zero_points")',
            'z = Gemm (b, "z/dequantized")',
        ]
    )
    shapes = {name: value.shape.numpy() for name, value in after.graph.initializers.items()}
    assert shapes["y/scales"] == (6,)
    assert shapes["b/scales"] == (5,)
    assert shapes["z/scales"] == (3,)


def test_four_bits_by_block_along_what_is_summed() -> None:
    model = support.from_text(
        """g (float[1,40,5,5] x, float[6,40,3,3] w, float[2,70] a, float[70,64] m, float[3,64] n,
              float[3] c)
            => (float[1,6,3,3] y, float[2,3] z) {
            y = Conv(x, w)
            b = MatMul(a, m)
            z = Gemm<transB=1>(b, n, c)
        }""",
        w=draw(6, 40, 3, 3),
        m=draw(70, 64),
        n=draw(3, 64),
        c=draw(3),
    )
    after = support.assert_same_numbers(model, lambda m: run(m, "weights-int4"), tolerance=0.15)
    shapes = {name: value.shape.numpy() for name, value in after.graph.initializers.items()}
    assert shapes["y/scales"] == (6, 2, 3, 3)
    assert shapes["b/scales"] == (3, 64)
    assert shapes["z/scales"] == (3, 2)
    assert after.graph.initializers["y/integers"].dtype == ir.DataType.INT4
    assert after.graph.initializers["y/scales"].dtype == ir.DataType.FLOAT16
    assert "c" in after.graph.initializers
    # Two integers a byte, and two bytes for 32 of them.
    assert stored(after) == (2160 + 4480 + 192) // 2 + 2 * (108 + 192 + 6) + 12


def test_what_stays_float() -> None:
    few, infinite = draw(4, 4), draw(8, 8)
    infinite[3, 3] = np.inf
    model = support.from_text(
        """g (float[8,8] x, float[8,8] w, float[8,8] v, float[8,8] u, float[4,4] few,
              float[8,8] infinite, float[4,4] little)
            => (float[8,8] a, float[8,8] b, float[8,8] c, float[4,4] d, float[8,8] e, float[8,8] f,
                float[8,8] g) {
            a = MatMul(x, w)
            b = Add(x, w)
            c = Gemm(x, v)
            f = Gemm<transB=1>(x, v)
            d = MatMul(little, few)
            e = MatMul(x, infinite)
            g = MatMul(x, x)
        }""",
        w=draw(8, 8),
        v=draw(8, 8),
        few=few,
        infinite=infinite,
    )
    result = QuantizeWeights("weights-int8", minimum=17)(model)
    assert not result.modified


def test_a_weight_that_two_nodes_read_alike_is_stored_once() -> None:
    model = support.from_text(
        """g (float[2,8] x, float[8,8] w) => (float[2,8] y) {
            a = MatMul(x, w)
            y = MatMul(a, w)
        }""",
        w=draw(8, 8),
    )
    after = support.assert_same_numbers(model, lambda m: run(m, "weights-int8"), tolerance=0.02)
    assert [node.op_type for node in after.graph] == ["DequantizeLinear", "MatMul", "MatMul"]
    assert not run(model, "weights-int8", keep="y").graph.initializers.keys() - {"w"}


def test_nodes_to_keep() -> None:
    model = quantized.real_model("ad_autoencoder")
    names = [str(node.name) for node in model.graph if node.op_type == "Gemm"]
    after = run(model, "weights-int4", joined(names[:-1]), 1024)
    [node] = [node for node in after.graph if node.op_type == "DequantizeLinear"]
    [use] = node.outputs[0].uses()
    assert use.node.name == names[-1]


def test_wrong_options_are_said_all_at_once() -> None:
    model = quantized.real_model("ad_autoencoder")
    with pytest.raises(UsageError, match="scheme='int8' is not weights-int8 or int8-dynamic or"):
        QuantizeWeights("int8")(model)
    with pytest.raises(UsageError) as caught:
        QuantizeWeights("weights-int8", keep="one;two")(model)
    assert [problem.where for problem in caught.value.problems] == ["node 'one'", "node 'two'"]


def test_same_bytes_twice() -> None:
    texts = [
        ir.to_proto(run(quantized.real_model("ad_autoencoder"), "weights-int4", "", 1024))
        for _ in range(2)
    ]
    assert texts[0].SerializeToString() == texts[1].SerializeToString()


def test_whole_blocks_of_matrices_with_scales_of_half_precision() -> None:
    weights = np.random.default_rng(0).standard_normal((64, 4000)).astype(np.float32)
    model = support.from_text(
        """g (float[1,64,5,5] x, float[6,64,3,3] w, float[2,64] a, float[64,40] m, float[40,50] n,
            float[50,64] o, float[50,64] p) => (float[1,6,3,3] y, float[2,50] z, float[2,50] k) {
            y = Conv(x, w)
            b = MatMul(a, m)
            z = MatMul(b, n)
            c = Gemm<transB = 1>(a, o)
            d = Gemm<transB = 1>(a, p)
            k = Add(c, d)
        }""",
        w=weights[:6, :576].reshape(6, 64, 3, 3),
        m=weights[:, :40],
        n=weights[:40, :50],
        o=weights[:50, :64],
        p=weights[:50, :64] * np.float32(1e7),
    )
    after = run(model, "weights-int4-fp16")
    stored = {node.name for node in after.graph if node.op_type == "DequantizeLinear"}
    # Not of the convolution, nor of 40 rows, nor where a scale is too large.
    assert stored == {"b/dequantized", "c/dequantized"}
    assert after.graph.initializers["b/scales"].dtype == ir.DataType.FLOAT16
