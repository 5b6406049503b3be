from __future__ import annotations

import pytest

from tapeout.lowering.editing import Editor
from tapeout.lowering.reshapes import is_canonical_reshape, merge_reshapes, reshape_instead

import support


@pytest.mark.parametrize(
    ("shape", "canonical"), [("3,2", True), ("3,-1", False), ("-1,2", False), ("6", True)]
)
def test_a_shape_said_in_full(shape: str, canonical: bool) -> None:
    rank = shape.count(",") + 1
    model = support.from_text(
        f"g (float[2,3] x) => (float[{'n,m' if rank == 2 else 'n'}] z)"
        f" <int64[{rank}] s = {{{shape}}}> {{ y = Reshape(x, s) z = Neg(y) }}"
    )
    assert is_canonical_reshape(model.graph[0]) == canonical


def test_keeps_what_others_read() -> None:
    model = support.from_text(
        """g (float[2,3] x) => (float[3,2] y, float[6] z) <int64[1] s = {6}, int64[2] t = {3,2}> {
            a = Reshape(x, s)
            y = Reshape(a, t)
            z = Neg(a)
        }"""
    )
    merge_reshapes(Editor(model), model.graph)
    assert support.body(model) == "a = Reshape (x, s)\ny = Reshape (x, t)\nz = Neg (a)"


def test_the_name_and_the_constants_of_what_it_replaces() -> None:
    model = support.from_text(
        "g (float[2,3] x) => (float[6] y) <int64[2] a = {0,1}, int64[1] s = {6}> "
        "{ [flat] y = Reshape(x, s) }"
    )
    reshape_instead(Editor(model), model.graph[0])
    assert model.graph[0].name == "flat"
    assert support.body(model) == 'y = Reshape (x, "flat/shape")'
    assert "s" not in model.graph.initializers
