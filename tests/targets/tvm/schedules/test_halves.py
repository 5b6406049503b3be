"""Products in half precision, of any shape: the exact numbers, but for a few roundings."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from random_convolutions import convolutions

from tapeout.lowering.canonical import canonical
from tapeout.lowering.passes.convert_precision import ConvertPrecision
from tapeout.lowering.reference import Reference

import kernels
import support

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone")

#: What this machine computes in half precision LLVM makes of conversions, and rounds each product.
CORES = {
    name: dataclasses.replace(kernels.CORES[name], halves=True)
    for name in ("narrow", "small caches", "groups", "scalar")
}

#: Half of the step from one number to the next, as a share of it.
ROUNDING = 2.0**-11

#: So many roundings of the sum of the sizes of all products, at most. At random half of them add up
#: and half of them do not: sums of 100 numbers or more are closer than one.
ROUNDINGS = 4


def rounded(model: ir.Model) -> ir.Model:
    """Return a model whose constants are in half precision already, as float32."""
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        array = value.const_value.numpy().astype(np.float16).astype(np.float32)
        value.const_value = ir.Tensor(array, name=value.name)
    return model


def in_sizes(model: ir.Model) -> ir.Model:
    """Return a model without signs: of data without signs, it computes the sizes of all sums."""
    sizes = model.clone()
    for value in sizes.graph.initializers.values():
        assert value.const_value is not None
        value.const_value = ir.Tensor(np.abs(value.const_value.numpy()), name=value.name)
    return sizes


def assert_close(model: ir.Model, core: str) -> None:
    """Compare a model, computed in half precision, with the same in single precision."""
    model = rounded(model)
    feeds = {
        name: array.astype(np.float16).astype(np.float32)
        for name, array in support.random_feeds(model).items()
    }
    exact = Reference(model).run(feeds)
    sizes = Reference(in_sizes(model)).run({name: np.abs(item) for name, item in feeds.items()})
    half = canonical("nhwc").run(ConvertPrecision()(model.clone()).model)
    found = kernels.run(half, feeds, CORES[core])
    for name, wanted in exact.items():
        error = np.abs(found[name].astype(np.float64) - wanted)
        assert (error <= ROUNDINGS * ROUNDING * sizes[name] + 2.0**-20).all(), (
            f"{(error / sizes[name]).max() / ROUNDING} roundings"
        )


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(model=convolutions())
def test_convolutions_of_any_shape(core: str, model: ir.Model | None) -> None:
    if model is not None:
        assert_close(model, core)
