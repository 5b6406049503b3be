"""Models that are quantized already, from a file to the canonical stage: the same numbers.

Against ONNX Runtime of the file, nothing fused: what it computes in float32 between
DequantizeLinear and QuantizeLinear, and what it computes in integers, comes out bit for bit. Where
it sums in another order than the operators that stand for it, a tie may go to the other integer.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType, matmul_nbits_quantizer
from quantized_files import compare, imported, kinds, quantize_static, real_feeds, weights_of

from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.passes.quantize_weights import QuantizeWeights
from tapeout.lowering.quantization.scheme import Scheme
from tapeout.lowering.reference import Reference

import kernels
import quantized
import random_graphs
import support


@pytest.mark.parametrize(
    ("form", "dtype"),
    [
        (QuantFormat.QDQ, QuantType.QInt8),
        (QuantFormat.QDQ, QuantType.QUInt8),
        (QuantFormat.QOperator, QuantType.QUInt8),
    ],
    ids=str,
)
@pytest.mark.parametrize(("name", "linear"), [("digits_cnn", 6), ("vww_mobilenet", 28)])
def test_static(
    tmp_path: Path, name: str, linear: int, form: QuantFormat, dtype: QuantType
) -> None:
    source = support.MODELS / f"{name}.onnx"
    batches = real_feeds(name, source, 4)
    path = quantize_static(source, tmp_path, batches, form, dtype)
    integers = ir.DataType.INT8 if dtype == QuantType.QInt8 else ir.DataType.UINT8
    for layout, model in compare(path, batches[0]).items():
        found = kinds(model)
        assert weights_of(model) == [integers] * linear
        assert found["Gemm"] == 1
        assert found["MatMul"] == 0
        assert not [kind for kind in found if kind.startswith("QLinear")]
        if layout == "nhwc":
            assert found["Transpose"] == 0


@pytest.mark.parametrize("scheme", quantized.INTEGER_SCHEMES, ids=lambda item: item.name)
@pytest.mark.parametrize("name", ["digits_cnn", "resnet8_cifar10"])
def test_our_own(tmp_path: Path, name: str, scheme: Scheme) -> None:
    model = quantized.real_model(name)
    batches = quantized.real_batches(name, model, 2)
    before = Quantize(quantized.min_max(model, scheme, batches))(model).model
    path = tmp_path / "quantized.onnx"
    onnx.save(ir.to_proto(before), path)
    linear = [node for node in before.graph if node.op_type in ("Conv", "Gemm")]
    # Groups smaller than a kernel's stay in float: here those of one channel.
    grouped = [node.attributes.get_int("group", 1) > 1 for node in linear]
    stays = scheme.group > 1
    expected = [ir.DataType.FLOAT if stays and one else ir.DataType.INT8 for one in grouped]
    for layout, after in compare(path, dict(batches[0])).items():
        assert weights_of(after) == expected
        assert kinds(after)["Gemm"] == 1
        if layout == "nhwc":
            assert kinds(after)["Transpose"] == 0


@pytest.mark.parametrize("scheme", ["weights-int8", "weights-int4"])
def test_our_own_weights(tmp_path: Path, scheme: str) -> None:
    model = QuantizeWeights(scheme)(quantized.real_model("ad_autoencoder")).model
    path = tmp_path / "quantized.onnx"
    onnx.save(ir.to_proto(model), path)
    integers = ir.DataType.INT8 if scheme == "weights-int8" else ir.DataType.INT4
    for after in compare(path, real_feeds("ad_autoencoder", path)[0]).values():
        assert kinds(after)["Gemm"] == 10
        assert Counter(weights_of(after))[integers] >= 8


@pytest.mark.parametrize("name", ["resnet8_cifar10", "ad_autoencoder"])
def test_dynamic(tmp_path: Path, name: str) -> None:
    """ConvInteger and MatMulInteger of data that is quantized by its range."""
    source, path = support.MODELS / f"{name}.onnx", tmp_path / "quantized.onnx"
    quantization.quantize_dynamic(source, path, weight_type=QuantType.QUInt8)
    before = Counter(node.op_type for node in onnx.load(path).graph.node)
    linear = before["ConvInteger"] + before["MatMulInteger"]
    # Sums of integers are exact, those of their real numbers are rounded.
    for layout, model in compare(path, real_feeds(name, path)[0], tolerance=1e-5).items():
        found = kinds(model)
        assert weights_of(model) == [ir.DataType.UINT8] * linear
        assert found["DynamicQuantizeLinear"] == before["DynamicQuantizeLinear"]
        assert found["Gemm"] == before["MatMulInteger"]
        assert not {"ConvInteger", "MatMulInteger", "Mul", "Cast"} & set(found)
        if layout == "nhwc":
            assert found["Transpose"] == 0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=str)
def test_blocks(tmp_path: Path, form: QuantFormat, symmetric: bool) -> None:
    """Weights of four bits in blocks, behind a DequantizeLinear or packed in MatMulNBits."""
    path = tmp_path / "blocks.onnx"
    config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(
        block_size=32, is_symmetric=symmetric, quant_format=form
    )
    logging.disable()
    try:
        quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(
            onnx.load(support.MODELS / "ad_autoencoder.onnx"), algo_config=config
        )
        quantizer.process()
    finally:
        logging.disable(logging.NOTSET)
    quantizer.model.save_model_to_file(str(path))
    # ONNX Runtime's kernel sums in another order.
    for model in compare(path, real_feeds("ad_autoencoder", path)[0], tolerance=1e-5).values():
        assert kinds(model) == {"DequantizeLinear": 10, "Gemm": 10, "Clip": 9}
        assert {dtype.bitwidth for dtype in weights_of(model) if dtype is not None} == {4}


@pytest.mark.slow
@settings(
    max_examples=20,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],
)
@given(model=random_graphs.models())
def test_random_models(tmp_path: Path, model: ir.Model) -> None:
    model.ir_version = 10
    source = tmp_path / "m.onnx"
    onnx.save(ir.to_proto(model), source)
    batches = [support.random_feeds(model, seed) for seed in range(2)]
    path = quantize_static(source, tmp_path, batches, QuantFormat.QDQ, QuantType.QInt8)
    compare(path, batches[0])


@pytest.mark.slow
def test_compiled_by_tvm(tmp_path: Path) -> None:
    """TVM's code, which computes the real numbers, gives what ONNX Runtime gives for the file.

    The other form, pairs of QuantizeLinear and DequantizeLinear, is what we write ourselves, and
    compiled in the tests of TVM.
    """
    source = support.MODELS / "digits_cnn.onnx"
    batches = real_feeds("digits_cnn", source, 4)
    path = quantize_static(source, tmp_path, batches, QuantFormat.QOperator, QuantType.QInt8)
    [wanted] = Reference(path).run(batches[0]).values()
    [found] = kernels.run(imported(path, "nhwc"), batches[0]).values()
    # A sum next to the middle between two integers may go to the other.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.02 * float(np.ptp(wanted)))
