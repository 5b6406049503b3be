"""What is known of kernels before they are made is what they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering.analysis.tensors import dtype_name
from tapeout.lowering.importers.onnx import load
from tapeout.lowering.passes.quantize import Quantize
from tapeout.lowering.quantization.scheme import SCHEMES, Scheme
from tapeout.profiles import catalog
from tapeout.targets.base import Plan
from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.build import BLOCK, Request, make_engine
from tapeout.targets.tvm.kernels import Kernel, kernel_of

import quantized
import support


def small() -> ir.Model:
    """Return convolutions in all ways, with strides, gaps, groups and rests, and both products."""
    rng = np.random.default_rng(0)
    text = """g (float[1,32,16,16] x, float[32,32,3,3] w, float[40,32,3,3] s, float[40,1,3,3] d,
           float[12,10,3,3] v, float[12,12,1,1] p, float[12,7] m, int64[2] flat)
        => (float[12,7] y, float[7,7] z) {
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        b = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (a, s)
        c = Conv <group = 40, dilations = [2, 2], pads = [2, 2, 2, 2]> (b, d)
        e = Conv <group = 4, strides = [2, 2], pads = [0, 0, 1, 1]> (c, v)
        f = Conv (e, p)
        r = Reshape(f, flat)
        t = Transpose <perm = [1, 0]> (r)
        u = MatMul(t, m)
        y = MatMul(r, u)
        n = Transpose <perm = [1, 0]> (y)
        z = MatMul(n, y)
    }"""
    shapes = {
        "w": (32, 32, 3, 3),
        "s": (40, 32, 3, 3),
        "d": (40, 1, 3, 3),
        "v": (12, 10, 3, 3),
        "p": (12, 12, 1, 1),
        "m": (12, 7),
    }
    weights = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return support.from_text(text, flat=np.array([12, 16]), **weights)


def integers(name: str) -> ir.Model:
    model, scheme = quantized.real_model(name), SCHEMES["int8"]
    assert isinstance(scheme, Scheme)
    recipe = quantized.min_max(model, scheme, quantized.real_batches(name, model, 2))
    return Quantize(recipe)(model).model


def named(name: str) -> ir.Model:
    base, _, precision = name.partition(" ")
    if precision:
        return integers(base)
    return small() if base == "small" else load(support.MODELS / f"{base}.onnx", {})


def kernels(model: ir.Model, request: Request) -> list[Kernel]:
    """Return the kernels of all nodes that have one."""
    nodes = [node for node in model.graph if node.inputs and node.inputs[0] is not None]
    found = [kernel_of(node, dtype_name(node.inputs[0]), request.core) for node in nodes]
    return [kernel for kernel in found if kernel is not None]


@pytest.mark.parametrize("name", ["small", "resnet8_cifar10", "kws_dscnn int8"])
def test_workloads_and_weights_are_those_of_the_engine(name: str, tmp_path: Path) -> None:
    profile = catalog.load(catalog.HOST)
    plan = Plan("tvm", "int8" if name.endswith("int8") else "fp32", (("threads", 1),))
    model, request = TARGET.pipeline(profile, plan).run(named(name)), Request.of(profile)
    found = kernels(model, request)
    outcome = make_engine(model, request, TARGET.versions(), tmp_path, lambda _: None)
    assert Counter(kernel.work for kernel in found if kernel.winograd is None) == Counter(
        work for work in outcome.workloads if work is not None
    )
    estimated = dict(TARGET.estimate(model, profile, plan).parts)["weights"].value
    # Each constant begins at a multiple of 64 bytes; an integer kernel has parameters of its own.
    assert 0 <= (tmp_path / BLOCK).stat().st_size - estimated < 32 * len(list(model.graph))
