"""Products of two computed matrices of any shape on any core, transposed and broadcast."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tapeout.targets.tvm.schedules.core import Core

import kernels
import support
from kernels import CORES
from workloads import Others

pytestmark = pytest.mark.usefixtures("no_kernel_is_left_alone")


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    batch=st.sampled_from([((), ()), ((2,), (2,)), ((3, 2), (2,)), ((2, 3), (1, 3)), ((), (2,))]),
    rows=st.integers(1, 40),
    depth=st.integers(1, 80),
    columns=st.integers(1, 150),
    turned=st.tuples(st.booleans(), st.booleans()),
    place=st.one_of(st.none(), st.integers(0, 20)),
)
@example(batch=((2,), (2,)), rows=37, depth=37, columns=53, turned=(False, True), place=None)
def test_products_of_any_shape(
    name: str,
    batch: tuple[tuple[int, ...], tuple[int, ...]],
    rows: int,
    depth: int,
    columns: int,
    turned: tuple[bool, bool],
    place: int | None,
) -> None:
    """Also with an alternative to what the analysis chooses, `place` places after it."""
    shapes = [(*batch[0], rows, depth), (*batch[1], depth, columns)]
    outer = max(batch, key=len)
    nodes, inputs = [], []
    for tensor, shape, turn in zip("ab", shapes, turned, strict=True):
        rank = len(shape)
        given = (*shape[:-2], shape[-1], shape[-2]) if turn else shape
        perm = [*range(rank - 2), rank - 1, rank - 2]
        inputs.append(f"float[{','.join(map(str, given))}] {tensor}")
        nodes.append(f"{tensor}1 = Transpose<perm={perm}>({tensor})" if turn else "")
    left, right = (f"{t}1" if turn else t for t, turn in zip("ab", turned, strict=True))
    out = ",".join(map(str, (*outer, rows, columns)))
    model = support.from_text(
        f"g ({', '.join(inputs)}) => (float[{out}] y)"
        f" {{ {' '.join(nodes)} m = MatMul({left}, {right}) y = Tanh(m) }}"
    )
    kernels.assert_same(model, scheduled_for=_tuned(CORES[name], place))


def _tuned(core: Core, place: int | None) -> Core:
    return core if place is None else dataclasses.replace(core, choices=Others(core, place))


@pytest.mark.parametrize("name", CORES)
def test_attention_reads_through_the_transposes_of_its_heads(name: str) -> None:
    model = support.from_text(
        """g (float[1,13,3,8] q, float[1,13,3,8] k, float[1,13,3,8] v) => (float[1,13,3,8] y) {
            q1 = Transpose<perm=[0,2,1,3]>(q)  k1 = Transpose<perm=[0,2,3,1]>(k)
            v1 = Transpose<perm=[0,2,1,3]>(v)
            s = MatMul(q1, k1)  p = Softmax<axis=-1>(s)  m = MatMul(p, v1)
            y = Transpose<perm=[0,2,1,3]>(m) }"""
    )
    kernels.assert_same(model, scheduled_for=CORES[name])
