"""Loops that threads share: the right ones, in even shares, with the numbers of one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import te, tirx

from tapeout.lowering.importers.onnx import load
from tapeout.targets.tvm import TARGET
from tapeout.targets.tvm.compile import compile_model
from tapeout.targets.tvm.schedules.apply import scheduled
from tapeout.targets.tvm.schedules.core import Core
from tapeout.targets.tvm.schedules.parallel import parallelized
from tapeout.targets.tvm.schedules.shares import least_gain

import kernels
import support

TWO = Core(lanes=16, registers=32, units=2, l1=32 << 10, l2=1 << 20, threads=2)
MODELS = ("digits_cnn", "resnet8_cifar10", "kws_dscnn", "ad_autoencoder", "vww_mobilenet")


def shared(shape: tuple[int, ...], compute: Callable[[Any], Any]) -> list[int]:
    """Return the rounds of the loops that two threads share in a kernel of one input."""
    x = te.placeholder(shape, "float32", "x")
    module = tvm.IRModule({"main": te.create_prim_func([x, compute(x)])})
    found: list[int] = []

    def note(loop: tirx.For) -> None:
        if int(loop.kind) == tirx.ForKind.PARALLEL:
            found.append(int(loop.extent))

    kernel, _ = parallelized(scheduled(module, TWO)["main"], TWO)
    tvm_ffi.structural_walk(kernel, (tirx.For, note))
    return found


def turned(x: Any) -> Any:
    """Return a tensor whose axes stay apart: a place is not computed from the same place."""
    first = int(x.shape[0]) - 1
    return te.compute(x.shape, lambda *i: x(first - i[0], *i[1:]), name="y")


@pytest.mark.parametrize(
    ("shape", "rounds"),
    [
        ((64, 64, 64), [64]),
        ((1, 2, 500, 160), [2]),  # a loop that runs once is none
        ((7, 300, 160), [2100]),  # seven are no even shares
        ((33, 5000), [33]),
        ((160000,), [2500]),  # vectors of one axis
        ((16, 64), []),  # done before the other thread is awake
    ],
)
def test_the_outermost_loops_in_even_shares(shape: tuple[int, ...], rounds: list[int]) -> None:
    assert shared(shape, turned) == rounds


def sums(x: Any, axis: int) -> Any:
    """Return the sums of a matrix along an axis."""
    k = te.reduce_axis((0, x.shape[axis]), "k")
    return te.compute(
        (x.shape[1 - axis],), lambda i: te.sum(x[(i, k) if axis else (k, i)], k), name="sums"
    )


def test_what_one_round_adds_to_another_is_not_shared() -> None:
    assert shared((4096, 64), lambda x: sums(x, 0)) == []
    assert len(shared((64 * 64, 640), lambda x: sums(x, 1))) == 1


def test_each_nest_of_a_kernel_by_itself() -> None:
    def compute(x: Any) -> Any:
        found = sums(x, 1)
        return te.compute(x.shape, lambda i, j: x[i, j] / found[i], name="y")

    assert len(shared((64 * 64, 640), compute)) == 2


def test_what_one_thread_has_just_written_stays_with_it() -> None:
    """The first nest is too little to be shared, and to fetch its result costs what is gained."""

    def compute(x: Any, repeated: int) -> Any:
        copied = te.compute(x.shape, lambda i, j: x[i, j], name="padded")
        k = te.reduce_axis((0, repeated), "k")
        return te.compute(x.shape, lambda i, j: te.sum(copied[i, j] * k, [k]), name="sums")

    assert shared((64, 640), lambda x: compute(x, 16)) == []
    assert len(shared((64, 640), lambda x: compute(x, 64))) == 1


@pytest.mark.parametrize(("depth", "is_shared"), [(64, False), (128, True)])
def test_what_waits_for_its_weights_is_shared_sooner(depth: int, is_shared: bool) -> None:
    """One row: each weight is loaded for one product, and caches are slower than the core."""
    multiplies = depth * 512 / TWO.lanes / TWO.units
    assert multiplies / 2 < least_gain(2)
    model = support.from_text(
        f"g (float[1,{depth}] x, float[{depth},512] w) => (float[1,512] y) {{ y = MatMul(x, w) }}",
        w=np.ones((depth, 512), np.float32),
    )
    functions = compile_model(model, kernels.host().toolchain, TWO).program.module.functions
    text = "".join(function.script() for function in functions.values())
    assert ("T.parallel" in text) == is_shared


def test_a_choice_of_many_is_one_of_them() -> None:
    """Rows are as they are or functions, or functions of functions."""

    def chosen(x: Any) -> Any:
        def element(i: Any, j: Any) -> Any:
            value = tirx.exp(x(i, j))
            for row in range(1, 16):
                value = tirx.if_then_else(i == row, x(i, j), value)
            return value

        return te.compute(x.shape, element, name="chosen")

    def computed(x: Any) -> Any:
        return te.compute(x.shape, lambda i, j: tirx.exp(tirx.exp(x(i, j))), name="computed")

    assert shared((32, 256), chosen) == []
    assert shared((32, 256), computed) == [32]


@pytest.mark.slow
@pytest.mark.usefixtures("threads_share_whatever_they_can")
@pytest.mark.parametrize("name", MODELS)
def test_real_models_on_two_threads(name: str) -> None:
    """With every loop shared, the numbers are those of ONNX Runtime, and of one thread exactly."""
    profile = kernels.host()
    plan = TARGET.plans(profile, "fp32")[0]
    model = TARGET.pipeline(profile, plan).run(load(support.MODELS / f"{name}.onnx", {}))
    feeds = support.random_feeds(model)
    kernels.assert_same(model, feeds, scheduled_for=TWO)
    alone = kernels.run(model, feeds, Core(16, registers=32, units=2, l1=32 << 10, l2=1 << 20))
    for output, found in kernels.run(model, feeds, TWO).items():
        np.testing.assert_array_equal(found, alone[output])


def test_a_product_whose_last_block_of_rows_is_partly_outside() -> None:
    """How many rows are copied for a block then depends on the block."""
    model = support.from_text(
        "g (float[11,4] a, float[4,123] b) => (float[11,123] y) { y = MatMul(a, b) }"
    )
    kernels.assert_same(model, scheduled_for=kernels.CORES["three, small caches"])
