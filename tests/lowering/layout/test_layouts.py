from __future__ import annotations

import numpy as np
import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st

from tapeout.lowering.editing import Editor
from tapeout.lowering.layout import layouts
from tapeout.lowering.layout.layouts import Move

import support


@given(first=st.permutations(range(4)), then=st.permutations(range(4)))
def test_algebra_is_that_of_transpose(first: list[int], then: list[int]) -> None:
    array = np.arange(120).reshape(2, 3, 4, 5)
    a, b = tuple(first), tuple(then)
    both = array.transpose(layouts.compose(a, b))
    assert np.array_equal(both, array.transpose(a).transpose(b))
    assert layouts.is_identity(layouts.compose(a, layouts.invert(a)))
    assert layouts.permuted(array.shape, a) == array.transpose(a).shape


@given(shape=st.lists(st.sampled_from([1, 1, 2, 3]), min_size=3, max_size=4), data=st.data())
def test_keeps_order_means_that_bytes_stay(shape: list[int], data: st.DataObject) -> None:
    layout = tuple(data.draw(st.permutations(range(len(shape)))))
    array = np.arange(np.prod(shape)).reshape(shape)
    same = array.transpose(layout).tobytes() == array.tobytes()
    assert layouts.keeps_order(shape, layout) == same


def test_source_goes_back_through_transposes() -> None:
    model = support.from_text(
        """g (float[2,3,4] x) => (float[3,2,4] y) {
            a = Transpose<perm=[2,0,1]>(x)
            y = Transpose(a)
        }"""
    )
    value, layout = layouts.source(model.graph.outputs[0])
    assert value is model.graph.inputs[0]
    assert layout == (1, 0, 2)


def test_broadcast_constants_lose_needless_axes() -> None:
    vector = np.arange(3).reshape(3, 1, 1)
    assert layouts.transposed_constant(vector, (0, 2, 3, 1)).shape == (3,)
    assert layouts.transposed_constant(vector[None], (0, 2, 3, 1)).shape == (1, 1, 1, 3)
    assert layouts.transposed_constant(np.arange(6).reshape(2, 3), (0, 3, 1, 2)).shape == (3, 1, 2)


def test_apply_makes_a_node_work_between_transposes() -> None:
    model = support.from_text(
        "g (float[2,3,4] x) => (float[2,3,4] y) { [soft] y = Softmax<axis=1>(x) }"
    )

    def rewrite(model: ir.Model) -> ir.Model:
        layouts.apply(Editor(model), model.graph[0], Move(((0, 2, 1),), ((0, 2, 1),), {"axis": 2}))
        return model

    after = support.assert_same_numbers(model, rewrite)
    assert support.body(after) == "\n".join(
        [
            '"soft/transpose" = Transpose <perm: ints = [0, 2, 1]> (x)',
            '"y/transpose" = Softmax <axis: int = 2> ("soft/transpose")',
            'y = Transpose <perm: ints = [0, 2, 1]> ("y/transpose")',
        ]
    )
