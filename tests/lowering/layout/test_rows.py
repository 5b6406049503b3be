from __future__ import annotations

import itertools

import onnx
import onnx_ir as ir
import pytest

from tapeout.lowering import dialect
from tapeout.lowering.editing import Editor
from tapeout.lowering.layout import layouts
from tapeout.lowering.layout.layouts import Layout, Move
from tapeout.lowering.layout.rows import ROWS, move, reference_for_output, without

import layout_samples
import support

SAMPLES = layout_samples.FLEXIBLE | layout_samples.REDUCING | layout_samples.SOMETIMES

#: Some permutations of four axes: those of images, a rotation, a swap, a reversal.
PERMS: list[Layout] = [(0, 2, 3, 1), (0, 3, 1, 2), (1, 2, 3, 0), (1, 0, 2, 3), (3, 2, 1, 0)]


def model_of(name: str) -> ir.Model:
    node, constants, result = SAMPLES[name]
    return support.from_text(
        f"g (float[1,4,2,6] x) => ({result} y) <{constants}> {{ [node] y = {node} }}"
    )


def applied(model: ir.Model, way: Move) -> ir.Model:
    layouts.apply(Editor(model), model.graph.node("node"), way)
    return model


def test_rows_are_for_operators() -> None:
    for op_type in ROWS:
        assert onnx.defs.has(op_type, dialect.WORKING_OPSET)


@pytest.mark.parametrize("name", SAMPLES)
def test_moved_nodes_give_the_same(name: str) -> None:
    accepted = 0
    for perm in PERMS:
        model = model_of(name)
        way = move(model.graph[0], perm)
        if way is not None:
            accepted += 1
            after = support.assert_same_numbers(model, lambda it, way=way: applied(it, way))
            assert dialect.check(after) == []
    assert accepted == len(PERMS) or name in {
        *layout_samples.SOMETIMES,
        "resize linear",
        "shrink linear",
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_identity_changes_nothing(name: str) -> None:
    model = model_of(name)
    way = move(model.graph[0], (0, 1, 2, 3))
    assert way is not None
    before = support.body(model)
    assert support.body(applied(model, way)) == before


@pytest.mark.parametrize("name", SAMPLES)
def test_layout_of_the_output_leads_back(name: str) -> None:
    for perm in itertools.permutations(range(4)):
        node = model_of(name).graph[0]
        way = move(node, perm)
        back = reference_for_output(node, way.outputs[0]) if way is not None else None
        if way is not None and back is not None:
            again = move(node, back)
            assert again is not None
            shape = tuple(int(size) for size in node.outputs[0].shape or ())
            assert layouts.order_of(shape, again.outputs[0]) == layouts.order_of(
                shape, way.outputs[0]
            )


def test_broadcast_of_a_lower_rank() -> None:
    model = support.from_text(
        """g (float[2,3,4,5] x, float[3,4,5] z, float[5] v) => (float[2,3,4,5] y) {
            a = Add(x, z)
            y = Add(a, v)
        }"""
    )
    way = move(model.graph[0], (0, 2, 3, 1))
    assert way is not None
    assert way.inputs == ((0, 2, 3, 1), (1, 2, 0))
    # A row of the last axis would need an axis of its own behind it.
    assert move(model.graph[1], (0, 2, 3, 1)) is None
    swapped = move(model.graph[1], (1, 0, 2, 3))
    assert swapped is not None
    assert swapped.inputs == ((1, 0, 2, 3), (0,))


def test_operators_without_a_row() -> None:
    model = support.from_text(
        "g (float[1,4,2,6] x) => (float[1,1,4,12] y) { y = DepthToSpace<blocksize=2>(x) }"
    )
    assert move(model.graph[0], (0, 2, 3, 1)) is None
    assert move(model.graph[0], (0, 1, 2, 3)) is None


def test_axes_taken_away() -> None:
    assert without((0, 2, 3, 1), [2, 3]) == (0, 1)
    assert without((0, 2, 3, 1), [1]) == (0, 1, 2)
    assert without((0, 2, 3, 1), [0]) == (1, 2, 0)


@pytest.mark.parametrize("perm", PERMS)
def test_quantized_by_its_range(perm: Layout) -> None:
    """Of the outputs, only the first has axes."""
    model = support.from_text(
        """g (float[1,4,2,6] x) => (uint8[1,4,2,6] y, float s, uint8 z) {
            [node] y, s, z = DynamicQuantizeLinear(x)
        }"""
    )
    way = move(model.graph[0], perm)
    assert way is not None
    after = support.assert_same_numbers(model, lambda it: applied(it, way), tolerance=0)
    assert dialect.check(after) == []
