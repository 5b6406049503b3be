"""Files that were quantized, from what they say to the canonical stage, beside ONNX Runtime."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType

from tapeout.lowering import dialect
from tapeout.lowering.canonical import Layout, canonical
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.reference import Reference

import support

LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc")

Feeds = dict[str, np.ndarray]


class Reader(quantization.CalibrationDataReader):
    """Samples, one at a time."""

    def __init__(self, batches: Iterable[Feeds]) -> None:
        self._batches: Iterator[Feeds] = iter(batches)

    def get_next(self) -> Feeds | None:
        return next(self._batches, None)


def real_feeds(name: str, path: Path, count: int = 1) -> list[Feeds]:
    feed = onnx.load(path).graph.input[0].name
    return [{feed: x[None]} for x in support.real_inputs(name, count)]


def quantize_static(
    path: Path, folder: Path, batches: list[Feeds], form: QuantFormat, dtype: QuantType
) -> Path:
    """Return a model as ONNX Runtime quantizes it: with int8 by channel, with uint8 by tensor."""
    result = folder / "quantized.onnx"
    logging.disable()
    try:
        quantization.quantize_static(
            path,
            result,
            Reader(batches),
            quant_format=form,
            activation_type=dtype,
            weight_type=dtype,
            per_channel=dtype == QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
    return result


def content(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def imported(path: Path, layout: Layout) -> ir.Model:
    """Return a file at the canonical stage, after which the pipeline finds nothing to do."""
    after = canonical(layout).run(load(path), dialect.check)
    assert dialect.check(after, "canonical") == []
    before = content(after)
    assert content(canonical(layout).run(after, dialect.check)) == before
    return after


def compare(path: Path, feeds: Feeds, tolerance: float = 0) -> dict[Layout, ir.Model]:
    """Compare a file with what is imported; `tolerance` is a part of each output's range."""
    expected = Reference(path).run(feeds)
    models = {layout: imported(path, layout) for layout in LAYOUTS}
    for model in models.values():
        actual = Reference(model).run(feeds)
        assert list(actual) == list(expected)
        for name, wanted in expected.items():
            assert (actual[name].dtype, actual[name].shape) == (wanted.dtype, wanted.shape)
            size = tolerance * float(np.ptp(wanted))
            np.testing.assert_allclose(actual[name], wanted, rtol=0, atol=size, err_msg=name)
    return models


def kinds(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def weights_of(model: ir.Model) -> list[ir.DataType | None]:
    """Return the dtype of every linear operator's weight: of its integers, if it is stored so."""
    found = []
    for node in model.graph:
        if node.op_type.startswith(("Conv", "Gemm", "MatMul")):
            weight = node.inputs[1]
            producer = weight.producer() if weight is not None else None
            stored = weight if producer is None else producer.inputs[0]
            assert stored is not None
            assert stored.is_initializer()
            found.append(stored.dtype)
    return found
