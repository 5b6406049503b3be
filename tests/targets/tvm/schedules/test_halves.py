"""Products in half precision, of any shape: the exact numbers, but for a few roundings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_convolutions import convolutions

from tapeout.lowering.canonical import canonical
from tapeout.lowering.passes.convert_precision import ConvertPrecision
from tapeout.lowering.reference import Reference
from tapeout.targets.tvm.compile import compile_model

import kernels
import support
from kernels import HALVES

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone")

#: One for each way to the operands, and one whose layers are in blocks.
CORES = ("narrow", "small caches", "groups")

#: What rounding takes of a number, at most.
ROUNDING = 2.0**-11

#: So many roundings of the sum of the sizes of its products a sum may be off. Of random numbers a
#: sum has about the size of one rounding, however many they are; with fewer multiplications, more.
ROUNDINGS = 8


def rounded(model: ir.Model) -> ir.Model:
    """Return a float32 model whose constants are numbers of half precision."""
    return with_constants(model, lambda array: array.astype(np.float16).astype(np.float32))


def with_constants(model: ir.Model, change: Callable[[np.ndarray], np.ndarray]) -> ir.Model:
    changed = model.clone()
    for value in changed.graph.initializers.values():
        assert value.const_value is not None
        value.const_value = ir.Tensor(change(value.const_value.numpy()), name=value.name)
    return changed


def assert_close(model: ir.Model, core: str) -> None:
    """Compare a model that is computed in half precision with the same in single precision."""
    model = rounded(model)
    feeds = {
        name: array.astype(np.float16).astype(np.float32)
        for name, array in support.random_feeds(model).items()
    }
    half = canonical("nhwc").run(ConvertPrecision()(model.clone()).model)
    found = kernels.run(half, feeds, HALVES[core])
    # Without signs, what is computed is the sum of the sizes of all products.
    sizes = Reference(with_constants(model, np.abs)).run({k: np.abs(x) for k, x in feeds.items()})
    for name, wanted in Reference(model).run(feeds).items():
        error = np.abs(found[name].astype(np.float64) - wanted)
        assert (error <= ROUNDINGS * ROUNDING * sizes[name] + ROUNDING**2).all()


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(model=convolutions())
def test_convolutions_of_any_shape(core: str, model: ir.Model | None) -> None:
    if model is not None:
        assert_close(model, core)


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    batch=st.lists(st.integers(1, 3), max_size=1),
    rows=st.integers(1, 20),
    depth=st.integers(1, 600),
    columns=st.integers(1, 70),
    constant=st.booleans(),
)
def test_products_of_any_shape(
    core: str, batch: list[int], rows: int, depth: int, columns: int, constant: bool
) -> None:
    right = [depth, columns] if constant else [*batch, depth, columns]
    a, b, y = (
        ",".join(map(str, dims)) for dims in ([*batch, rows, depth], right, [*batch, rows, columns])
    )
    weight = np.random.default_rng(0).standard_normal(right).astype(np.float32)
    text = f"g (float[{a}] x, float[{b}] w) => (float[{y}] y) {{ y = MatMul(x, w) }}"
    assert_close(support.from_text(text, **({"w": weight} if constant else {})), core)


@pytest.mark.parametrize("node", ["MatMul(x, w)", "Gemm <transB = 1> (x, v)"])
def test_long_sums_keep_growing(node: str) -> None:
    """From 2048 on, half precision adds 1 in vain."""
    depth = 8192
    model = support.from_text(
        f"g (float16[4,{depth}] x, float16[{depth},24] w, float16[24,{depth}] v)"
        f" => (float16[4,24] y) {{ y = {node} }}",
        w=np.ones((depth, 24), np.float16),
        v=np.ones((24, depth), np.float16),
    )
    found = kernels.run(model, {"x": np.ones((4, depth), np.float16)}, HALVES["narrow"])
    np.testing.assert_array_equal(found["y"], np.float16(depth))


def test_sums_of_rows_are_in_single_precision() -> None:
    count = 8192
    model = support.from_text(
        f"g (float16[2,{count}] x, float16[{count}] s, int64[1] a)"
        f" => (float16[2,1] m, float16[2,{count}] e, float16[2,{count}] n)"
        " { m = ReduceMean(x, a) e = Softmax(x) n = LayerNormalization(x, s) }",
        s=np.ones(count, np.float16),
        a=np.array([1]),
    )
    x = np.random.default_rng(0).standard_normal((2, count)).astype(np.float16) + np.float16(8)
    found = kernels.run(model, {"x": x}, HALVES["narrow"])
    exact = x.astype(np.float64)
    powers = np.exp(exact)
    wanted = {
        "m": exact.mean(1, keepdims=True),
        "e": powers / powers.sum(1, keepdims=True),
        "n": (exact - exact.mean(1, keepdims=True)) / exact.std(1, keepdims=True),
    }
    for name, values in wanted.items():
        error = np.abs(found[name].astype(np.float64) - values)
        assert (error <= 1.01 * ROUNDING * np.abs(values) + 1e-5).all(), name


def test_a_row_is_read_as_it_is_stored_and_what_follows_is_part_of_a_product() -> None:
    model = support.from_text(
        "g (float16[32,64] x, float16[64,64] w, float16[64] b) => (float16[32,64] y)"
        " { m = MatMul(x, w) s = Add(m, b) r = Relu(s) y = Softmax(r) }",
        w=np.ones((64, 64), np.float16),
        b=np.ones(64, np.float16),
    )
    compiled = compile_model(model, kernels.host().toolchain, HALVES["wide"])
    assert len(compiled.program.calls) == 2
    assert compiled.program.workspace == 32 * 64 * 2
    assert len(compiled.program.weights) == (64 * 64 + 64) * 2
