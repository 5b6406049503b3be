"""Tables, by every instruction that this machine has: the numbers that they hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.canonical import integers
from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog
from tapeout.targets.tvm.build import Request
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.host import processor_features
from tapeout.targets.tvm.schedules.core import LOOKUPS
from tapeout.targets.tvm.schedules.lookups import WAYS

import kernels
import quantized
from kernels import CORES
from quantized import Integers

RUNNABLE = [name for name in LOOKUPS if name in processor_features(kernels.host().toolchain)]

#: Of all places, which a function that is not monotonous gives many numbers.
SCALE = 0.07


def table(shape: tuple[int, ...], dtype: type[np.integer]) -> ir.Model:
    """Return a network whose only node is a table."""
    zero = int(np.iinfo(dtype).min) + 128
    tensors = {"x": Integers(shape, SCALE, zero, dtype)}
    model = quantized.network("y = Sin(x)", {"y": Integers(shape, 1 / 127, zero, dtype)}, **tensors)
    lowered = integers().run(model)
    assert [node.op_type for node in lowered.graph] == ["QTable"]
    return lowered


@pytest.mark.parametrize("name", [*RUNNABLE, ""])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 20), max_size=3).map(tuple)
    | st.integers(1, 300).map(lambda size: (size,)),
    dtype=st.sampled_from([np.int8, np.uint8]),
    core=st.sampled_from(["wide", "half", "narrow", "two"]),
)
def test_tables_of_any_shape(
    name: str, shape: tuple[int, ...], dtype: type[np.integer], core: str
) -> None:
    model = table(shape, dtype)
    feeds = quantized.integer_feeds(model)
    found = kernels.run(model, feeds, dataclasses.replace(CORES[core], lookup=name))
    for key, wanted in Reference(model).run(feeds).items():
        np.testing.assert_array_equal(found[key], wanted)


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_place(name: str) -> None:
    for dtype in (np.int8, np.uint8):
        model = table((256,), dtype)
        feeds = {"x_q": np.arange(256).astype(dtype)}
        found = kernels.run(model, feeds, dataclasses.replace(CORES["wide"], lookup=name))
        [wanted] = Reference(model).run(feeds).values()
        assert len(np.unique(wanted)) > 100
        np.testing.assert_array_equal(found["y_q"], wanted)


@pytest.mark.parametrize(
    ("device", "name"), [("raspberry-pi-5", "neon"), ("x86-64-v3", "avx2"), ("visionfive-2", "")]
)
def test_the_fastest_way_that_a_core_has(device: str, name: str) -> None:
    assert Request.of(catalog.load(device)).core.lookup == name
    assert tuple(WAYS) == LOOKUPS


def test_a_table_is_a_kernel_of_long_vectors() -> None:
    """Where the channels alone would make none: 21 x 3 x 64 numbers."""
    core = dataclasses.replace(CORES["wide"], lookup="avx512vbmi")
    program = compile_model(table((64, 21, 3), np.int8), kernels.host().toolchain, core).program
    [kernel] = [
        function.script()
        for name, function in program.module.functions.items()
        if "table" in name.name_hint
    ]
    assert "T.vectorized(T.int64(64))" in kernel
