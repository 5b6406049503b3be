from __future__ import annotations

from tapeout.lowering.layout.regions import grow, readers

import support


def test_grows_over_what_shares_tensors_and_stops_at_others() -> None:
    model = support.from_text(
        """g (float[1,4,5,6] i, float[1,6,4,5] j) => (float[1,6,4,5] y, float[1,1,4,5] z) {
            x = Transpose<perm=[0,3,1,2]>(i)
            a = Exp(x)
            k = Neg(j)
            b = Add(a, k)
            s = InstanceNormalization(b, one, one)
            y = Tanh(s)
            z = ArgMax<axis=1>(b)
        }""".replace("float[1,1,4,5] z", "int64[1,1,4,5] z").replace(
            "(float[1,4,5,6] i", "(float[6] one, float[1,4,5,6] i"
        )
    )
    region = grow(model.graph.node("a"), (0, 2, 3, 1))
    assert [node.name for node in model.graph if node in region] == ["a", "k", "b", "z"]
    assert {choice.now for choice in region.values()} == {0}


def test_twice_transposed_nodes_choose_between_the_same_tensors() -> None:
    """Beyond a Transpose, a node's other layout is the one that does without it."""
    model = support.from_text(
        """g (float[1,4,5,6] x) => (float[1,4,5,6] y) {
            a = Exp(x)
            t = Transpose<perm=[0,3,1,2]>(a)
            b = Neg(t)
            y = Transpose<perm=[0,2,3,1]>(b)
        }"""
    )
    region = grow(model.graph.node("b"), (0, 2, 3, 1))
    assert {node.name: choice.now for node, choice in region.items()} == {"b": 0, "a": 1}


def test_nodes_that_cannot_change_are_no_region() -> None:
    model = support.from_text(
        "g (float[1,4,5,6] x) => (float[1,1,10,12] y) { y = DepthToSpace<blocksize=2>(x) }"
    )
    assert grow(model.graph[0], (0, 2, 3, 1)) == {}


def test_readers_through_transposes() -> None:
    model = support.from_text(
        """g (float[2,3,4] x) => (float[4,2,3] t, float[2,3,4] y) {
            t = Transpose<perm=[2,0,1]>(x)
            y = Exp(x)
            z = Neg(t)
        }"""
    )
    found = {
        (node.name if node is not None else None, index, layout)
        for node, index, layout in readers(model.graph.inputs[0])
    }
    assert found == {(None, 0, (2, 0, 1)), ("y", 0, (0, 1, 2)), ("z", 0, (2, 0, 1))}
