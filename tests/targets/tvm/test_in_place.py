"""Results that are written over inputs: only where that cannot be seen, and only where it pays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import s_tir, te, tirx

from tapeout.lowering.analysis import arena
from tapeout.lowering.canonical import canonical
from tapeout.lowering.reference import Reference
from tapeout.targets.tvm import in_place
from tapeout.targets.tvm.compile import Compiled, compile_model
from tapeout.targets.tvm.in_place import overwritable

import kernels
import random_graphs
import support


def kernel(compute: Callable[..., Any], *shapes: tuple[int, ...], dtype: str = "float32") -> Any:
    """Return a kernel of inputs of these shapes."""
    inputs = [te.placeholder(shape, dtype, f"p{k}") for k, shape in enumerate(shapes)]
    return te.create_prim_func([*inputs, compute(*inputs)])


def test_inputs_that_may_be_overwritten() -> None:
    square = (6, 6)

    def added(a: Any, b: Any) -> Any:
        return te.compute(square, lambda i, j: a(i, j) * a(i, j) + b(i, j))

    assert overwritable(kernel(added, square, square)) == (0, 1)
    schedule = s_tir.Schedule(kernel(added, square, square))
    [block] = schedule.get_child_blocks(schedule.get_sblock("root"))
    _, inner = schedule.split(schedule.fuse(*schedule.get_loops(block)), [None, 8])
    schedule.vectorize(inner)
    assert overwritable(schedule.mod["main"]) == (0, 1)


def _softmax(x: Any, y: Any) -> Any:
    step = te.reduce_axis((0, 6), "k")
    total = te.compute((6,), lambda i: te.sum(x(i, step), [step]))
    return te.compute((6, 6), lambda i, j: x(i, j) / total(i) + y(j, i))


#: What reads an element of an input that is not the one it writes.
READING_ELSEWHERE = {
    "another row": lambda x, y: te.compute((6, 6), lambda i, j: x(5 - i, j) + y(j, i)),
    "two places": lambda x, y: te.compute((6, 6), lambda i, j: x(i, j) + x(0, j) + y(j, i)),
    "a sum before": _softmax,
    "as another dtype": lambda x, y: te.compute(
        (6, 6), lambda i, j: tirx.reinterpret("int32", x(i, j) + y(j, i))
    ),
    "less of it": lambda x, y: te.compute((6, 5), lambda i, j: x(i, j) + y(j, i)),
}


@pytest.mark.parametrize("name", READING_ELSEWHERE)
def test_inputs_that_may_not(name: str) -> None:
    assert overwritable(kernel(READING_ELSEWHERE[name], (6, 6), (6, 6))) == ()


def test_not_the_operands_of_sums_nor_a_block_that_runs_twice() -> None:
    def product(x: Any, w: Any, r: Any) -> Any:
        step = te.reduce_axis((0, 6), "k")
        sums = te.compute((6, 6), lambda i, j: te.sum(x(i, step) * w(step, j), [step]))
        return te.compute((6, 6), lambda i, j: sums(i, j) + r(i, j))

    assert overwritable(kernel(product, (6, 6), (6, 6), (6, 6))) == (2,)
    schedule = s_tir.Schedule(kernel(lambda x: te.compute((6,), lambda i: x(i) + 1.0), (6,)))
    [block] = schedule.get_child_blocks(schedule.get_sblock("root"))
    schedule.add_unit_loop(schedule.get_loops(block)[0])
    once = schedule.mod["main"]
    assert overwritable(once) == (0,)
    assert overwritable(_with_extent(once, 2)) == ()


def _with_extent(function: Any, extent: int) -> Any:
    """Return a kernel whose loops of one round have so many."""
    import tvm_ffi

    def again(loop: tirx.For) -> tirx.For:
        if int(loop.extent) > 1:
            return loop
        return tirx.For(loop.loop_var, loop.min, tirx.const(extent, "int64"), 0, loop.body)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, again)))


def in_chains() -> Any:
    """Let tensors be written over others wherever they can be, whether that pays or not."""

    def plan(buffers: Any, alignment: int = 1) -> arena.Arena:
        found = arena.plan(buffers, alignment)
        costly = any(not isinstance(item, in_place.Chain) for item in buffers)
        return dataclasses.replace(found, size=found.size + (costly << 40))

    shown = mock.Mock(plan=plan, lower_bound=arena.lower_bound)
    return mock.patch.object(in_place, "arena", shown)


def compiled(model: ir.Model) -> Compiled:
    return compile_model(model, kernels.host().toolchain, kernels.core())


def assert_same_bits(model: ir.Model) -> None:
    """Compare with the engine without chains, and with ONNX Runtime."""
    feeds = support.random_feeds(model)
    inputs = [feeds[str(value.name)] for value in model.graph.inputs]
    results = [np.empty(value.shape.numpy(), value.dtype.numpy()) for value in model.graph.outputs]

    def run(found: Compiled) -> list[np.ndarray]:
        return kernels.called(found, inputs, results, kernels.core().threads)

    with mock.patch.object(in_place, "overwritable", return_value=()):
        apart = compiled(model)
    with in_chains():
        over = compiled(model)
    for found, wanted in zip(run(over), run(apart), strict=True):
        np.testing.assert_array_equal(found, wanted)
    expected = Reference(model).run(feeds)
    for found, wanted in zip(run(compiled(model)), expected.values(), strict=True):
        support.assert_equal_or_close(found, wanted, 1e-5, "y")


@st.composite
def residual_networks(draw: st.DrawFn) -> ir.Model:
    """Draw a network of tensors of one shape, most of which several nodes read."""
    channels, side = draw(st.sampled_from([4, 16])), draw(st.integers(1, 5))
    lines, values = [], ["x"]
    templates = [
        "Conv <pads = [1, 1, 1, 1]> ({a}, w)", "Add({a}, {b})", "Mul({a}, {b})", "Relu({a})",
        "Sigmoid({a})", "Softmax <axis = 1> ({a})", "Transpose <perm = [0, 1, 3, 2]> ({a})",
        "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> ({a})", "Tanh({a})",
    ]  # fmt: skip
    for number in range(draw(st.integers(3, 9))):
        a, b = (draw(st.sampled_from(values[-3:])) for _ in "ab")
        values.append(f"v{number}")
        lines.append(f"v{number} = {draw(st.sampled_from(templates)).format(a=a, b=b)}")
    shape = f"float[1,{channels},{side},{side}]"
    rng = np.random.default_rng(0)
    return support.from_text(
        f"g ({shape} x, float[{channels},{channels},3,3] w) => ({shape} y)"
        f" {{ {' '.join(lines)} y = Neg({values[-1]}) }}",
        w=(rng.standard_normal((channels, channels, 3, 3)) / channels).astype(np.float32),
    )


@settings(max_examples=12, deadline=None, derandomize=True)
@given(model=residual_networks())
def test_networks_with_residuals(model: ir.Model) -> None:
    assert_same_bits(canonical("nhwc").run(model))


@settings(max_examples=6, deadline=None, derandomize=True)
@given(model=random_graphs.models())
def test_any_graph(model: ir.Model) -> None:
    assert_same_bits(canonical("nhwc").run(model))


#: A block with a residual, as ResNets have it: at its end, three tensors of a size are live.
RESIDUAL = """g (float[1,16,8,8] x, float[16,16,3,3] w) => (float[1,16,8,8] y) {
    a = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)
    b = Conv <pads = [1, 1, 1, 1]> (a, w)
    c = Relu(b)
    d = Conv <pads = [1, 1, 1, 1]> (c, w)
    e = Add(a, d)
    f = Relu(e)
    y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (f)
}"""


def residual() -> ir.Model:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    return canonical("nhwc").run(support.from_text(RESIDUAL, w=weight))


def test_the_workspace_of_a_residual_falls() -> None:
    with mock.patch.object(in_place, "overwritable", return_value=()):
        apart = compiled(residual())
    over = compiled(residual())
    each = 4 * 16 * 8 * 8
    assert (apart.program.workspace, over.program.workspace) == (3 * each, 2 * each)
    changed = set(over.program.calls) - set(apart.program.calls)
    assert len(changed) == 1
    assert [name for name in over.program.calls if "add" in name] == list(changed)
    assert_same_bits(residual())


def test_one_argument_stands_for_both() -> None:
    """So that no two arguments of a kernel are the same memory, which LLVM relies on."""

    def added(a: Any, b: Any) -> Any:
        return te.compute((6, 6), lambda i, j: a(i, j) + b(i, j))

    plain = kernel(added, (6, 6), (6, 6))
    over = in_place.written_over(plain, 1)
    assert [str(item.name) for item in over.params] == ["p0", str(plain.params[-1].name)]
    assert "p1" not in str(over)
