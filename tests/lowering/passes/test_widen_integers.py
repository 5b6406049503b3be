from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.passes.widen_integers import WidenIntegers
from tapeout.lowering.reference import Reference

import support


def run(model: ir.Model) -> ir.Model:
    after = WidenIntegers()(model).model
    assert dialect.check(after) == []
    return after


def test_computes_between_casts() -> None:
    model = support.from_text(
        "g (int8[3] x, int8[3] y) => (int8[3] z, bool[3] w) { z = Mul(x, y) w = Less(z, x) }"
    )
    after = support.body(run(model)).replace("<to: int = 6>", "int32").replace("/wide", "")
    assert after.count("int32") == 4
    assert after.count("Cast <to: int = 3>") == 1
    assert not WidenIntegers()(model).modified


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint8"])
@pytest.mark.parametrize("name", ["Add", "Mul", "Sub"])
def test_what_overflows_wraps_around(name: str, dtype: str) -> None:
    """ONNX Runtime has no such kernels for all of them, numpy has."""
    model = support.from_text(
        f"g ({dtype}[9] x, {dtype}[9] y) => ({dtype}[9] z) {{ z = {name}(x, y) }}"
    )
    limits = np.iinfo(dtype)
    ends = np.array([limits.min, limits.max, 3], dtype)
    x, y = np.repeat(ends, 3), np.tile(ends, 3)
    found = Reference(run(model)).run({"x": x, "y": y})["z"]
    function = {"Add": np.add, "Mul": np.multiply, "Sub": np.subtract}[name]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, function(x, y))
    assert found.dtype == dtype


def test_other_integers_stay() -> None:
    model = support.from_text("g (int64[3] x, float[3] y) => (int64[3] z) { z = Add(x, x) }")
    assert not WidenIntegers()(model).modified
