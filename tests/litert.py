"""A TFLite file of a model, run by LiteRT in this process, beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from tapeout.lowering.reference import Reference
from tapeout.targets.tflite.constraints import check
from tapeout.targets.tflite.lower import to_tflite
from tapeout.targets.tflite.pipeline import pipeline

import support

Arrays = dict[str, np.ndarray]

#: What a model goes through before it is written.
PIPELINE = pipeline()


def interpreter(content: bytes, *, xnnpack: bool = True) -> Any:
    """Return LiteRT's interpreter of a file, with the kernels of XNNPACK or only its own."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kinds = OpResolverType
    chosen = kinds.AUTO if xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(model_content=content, experimental_op_resolver_type=chosen, num_threads=1)


def run(content: bytes, feeds: Mapping[str, np.ndarray], *, xnnpack: bool = True) -> Arrays:
    """Return the outputs of a file, by name."""
    runner = interpreter(content, xnnpack=xnnpack).get_signature_runner()
    return dict(runner(**feeds))


def operators(content: bytes) -> list[str]:
    """Return the operators of a file, in order."""
    made = interpreter(content, xnnpack=False)
    return [str(operator["op_name"]) for operator in made._get_ops_details()]


def assert_same(
    model: ir.Model, feeds: Mapping[str, np.ndarray] | None = None, tolerance: float = 1e-5
) -> list[str]:
    """Lower a model, run it with and without XNNPACK and compare with ONNX Runtime.

    Args:
        tolerance: relative to each output's largest finite value.

    Returns:
        The operators of the file.
    """
    feeds = support.random_feeds(model) if feeds is None else dict(feeds)
    expected = Reference(model).run(feeds)
    lowered = PIPELINE.run(model.clone())
    assert check(lowered) == []
    content = to_tflite(lowered)
    for xnnpack in (False, True):
        actual = run(content, feeds, xnnpack=xnnpack)
        assert sorted(actual) == sorted(expected)
        for name, wanted in expected.items():
            support.assert_equal_or_close(
                actual[name], wanted, tolerance, f"{name}, xnnpack={xnnpack}"
            )
    return operators(content)
