"""The program of an engine: what it computes, and where it puts what it computes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import tvm
from tvm import relax

from tapeout.errors import TapeoutError
from tapeout.lowering.canonical import canonical
from tapeout.targets.tvm.build import CALL
from tapeout.targets.tvm.compile import Compiled, compile_model, workloads_of
from tapeout.targets.tvm.program import ALIGNMENT, SIZES, program_of
from tapeout.targets.tvm.relax_import import ENTRY

import kernels
import support

#: Four kernels in a row, the last of which reads what the second wrote.
CHAIN = """g (float[1,4,6,6] x, float[4,4,3,3] w) => (float[1,4,6,6] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a)
    c = Conv <pads = [1, 1, 1, 1]> (b, w)
    d = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (c)
    e = Conv <pads = [1, 1, 1, 1]> (d, w)
    y = Add(e, b)
}"""


def compiled(model: ir.Model) -> Compiled:
    return compile_model(model, kernels.host().toolchain, kernels.core())


def chain() -> ir.Model:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 4, 3, 3)).astype(np.float32)
    return canonical("nhwc").run(support.from_text(CHAIN, w=weight))


def test_outputs_that_no_kernel_writes_where_they_belong() -> None:
    model = support.from_text(
        """g (float[2,6] x, float[3] constant, int64[2] shape, float[2,6] w)
            => (float[2,6] given, float[3] known, float[2,6] y, float[2,6] again, float[3,4] view,
                float[2,6] z) {
            given = Identity(x)
            known = Identity(constant)
            y = Mul(x, w)
            again = Identity(y)
            view = Reshape(y, shape)
            z = Add(y, w)
        }""",
        constant=np.arange(3, dtype=np.float32),
        shape=np.array([3, 4]),
        w=np.full((2, 6), 3, np.float32),
    )
    kernels.assert_same(model)


def test_a_model_without_a_kernel() -> None:
    kernels.assert_same(support.from_text("g (float[5] x) => (float[5] y) { y = Identity(x) }"))


def test_nothing_is_left_from_one_inference_for_the_next() -> None:
    model = chain()
    found, rng = compiled(model), np.random.default_rng(1)
    samples = [rng.standard_normal((1, 4, 6, 6)).astype(np.float32) for _ in range(2)]
    first, second, once_more = (
        kernels.called(found, [sample], [sample], threads=1)
        for sample in (samples[0], samples[1], samples[0])
    )
    assert np.array_equal(first, once_more)
    assert not np.array_equal(first, second)


def test_tensors_share_the_workspace_as_soon_as_they_are_read() -> None:
    program = compiled(chain()).program
    each = -(-4 * 4 * 6 * 6 // ALIGNMENT) * ALIGNMENT
    assert len(program.calls) >= 5
    assert program.workspace == 3 * each  # what is read, what is written, and what waits
    assert program.inputs == program.outputs == (4 * 4 * 6 * 6,)


def test_equal_constants_are_kept_once_and_start_where_vectors_do() -> None:
    rng = np.random.default_rng(0)
    bias = rng.standard_normal(5).astype(np.float32)
    model = support.from_text(
        """g (float[3,5] x, float[5] a, float[5] b, float[5] c) => (float[3,5] y) {
            p = Add(x, a)
            q = Mul(p, b)
            y = Add(q, c)
        }""",
        a=bias,
        b=bias.copy(),
        c=-bias,
    )
    weights = compiled(model).program.weights
    assert weights.nbytes == 2 * ALIGNMENT
    starts = {weights[at : at + bias.nbytes].tobytes() for at in (0, ALIGNMENT)}
    assert starts == {bias.tobytes(), (-bias).tobytes()}


def test_an_engine_tells_its_sizes() -> None:
    found = compiled(chain())
    sizes = [int(found.library[name]()) for name in SIZES]
    assert sizes == [found.program.weights.nbytes, found.program.workspace]


def test_the_calls_one_by_one_are_an_inference() -> None:
    model = support.from_text(
        """g (float[2,6] x, float[6,6] square)
            => (float[2,6] y, float[2,6] again) {
            t = MatMul(x, square)
            y = MatMul(t, square)
            again = Identity(y)
        }""",
        square=np.eye(6, k=1, dtype=np.float32),
    )
    for found_in in (chain(), model):
        found = compile_model(found_in, kernels.host().toolchain, kernels.core(), steps=True)
        values = [found_in.graph.inputs[0], *found_in.graph.outputs]
        x, *results = (np.zeros(value.shape.numpy(), np.float32) for value in values)
        x[...] = np.random.default_rng(0).standard_normal(x.shape)
        expected = kernels.called(found, [x], results, threads=1)
        names = [f"{CALL}{number}" for number in range(len(found.program.calls))]
        stepwise = kernels.called(found, [x], results, threads=1, functions=names)
        for one, other in zip(stepwise, expected, strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.any(one)


def test_workloads_are_those_of_the_calls() -> None:
    model = support.from_text(
        """g (float[2,6] x, float[6,5] a, float[5,7] b) => (float[2,7] y) {
            p = MatMul(x, a)
            q = Softmax(p)
            y = MatMul(q, b)
        }""",
        a=np.ones((6, 5), np.float32),
        b=np.ones((5, 7), np.float32),
    )
    program = compiled(model).program
    found = workloads_of(program)
    first, *between, last = (work and (work["inputs"], work["outputs"]) for work in found)
    assert (first, last) == ((6, 5), (5, 7))
    assert len(found) == len(program.calls) > 2
    assert set(between) == {None}


def test_a_step_that_is_no_kernel_is_an_error() -> None:
    builder = relax.BlockBuilder()
    tensor = relax.TensorType((2,), "float32")
    x = relax.Var("x", tensor)
    with builder.function(ENTRY, [x]):
        found = builder.emit(relax.call_pure_packed("strange", x, ty_args=[tensor]))
        builder.emit_func_output(found)
    with pytest.raises(TapeoutError, match="something else than to call a kernel.*strange"):
        program_of(tvm.IRModule(builder.get().functions), ENTRY)
