from __future__ import annotations

import itertools

import onnx_ir as ir
import pytest

from tapeout.lowering.layout.costs import OVERHEAD, Region
from tapeout.lowering.layout.layouts import permutation
from tapeout.lowering.layout.regions import grow

import support

NHWC = (0, 2, 3, 1)


def region_at(model: ir.Model, name: str) -> Region:
    others = [node for node in model.graph if permutation(node) is None]
    position = {node: place for place, node in enumerate(others)}
    return Region(grow(model.graph.node(name), NHWC), position)


#: Graphs around node a, which now works channels-first, and how many transposes move data there.
REGIONS = {
    "chain": (
        """g (float[1,4,5,6] i) => (float[1,4,5,6] y) {
            x = Transpose<perm=[0,3,1,2]>(i) a = Exp(x) b = Neg(a)
            y = Transpose<perm=[0,2,3,1]>(b)
        }""",
        (2, 0),
    ),
    "one for two readers": (
        """g (float[1,4,5,6] i) => (float[1,6,4,5] a, float[1,6,4,5] b) {
            x = Transpose<perm=[0,3,1,2]>(i) a = Exp(x) b = Neg(x)
        }""",
        (1, 1),
    ),
    "a residual": (
        """g (float[1,4,5,6] i, float[1,4,5,6] j) => (float[1,6,4,5] y) {
            x = Transpose<perm=[0,3,1,2]>(i) z = Transpose<perm=[0,3,1,2]>(j)
            a = Exp(x) b = Add(a, z) y = Add(b, x)
        }""",
        (2, 1),
    ),
    "a bottleneck": (
        """g (float[1,4,5,6] i) => (float[1,6,1,1] y, float[1,6,4,5] z)
            <int64[2] s = {2,3}> {
            x = Transpose<perm=[0,3,1,2]>(i) a = Exp(x) b = ReduceMean(a, s) c = Mul(a, b)
            y = Neg(b) z = Neg(c)
        }""",
        (1, 1),
    ),
    "axes of size 1": (
        """g (float[1,4,5,1] i) => (float[1,1,4,5] y) {
            x = Transpose<perm=[0,3,1,2]>(i) a = Exp(x) y = Neg(a)
        }""",
        (0, 0),
    ),
}


@pytest.mark.parametrize("name", REGIONS)
def test_the_cut_is_the_best_of_all_choices(name: str) -> None:
    text, (now, best) = REGIONS[name]
    region = region_at(support.from_text(text), "a")
    assert region.cost(region.now).count == now
    found = region.cost(region.cheapest())
    assert found.count == best
    nodes = list(region.choices)
    every = (
        region.cost(dict(zip(nodes, labels, strict=True)))
        for labels in itertools.product((0, 1), repeat=len(nodes))
    )
    assert found.weight == min(cost.weight for cost in every)


def test_bytes_are_those_of_the_dtype() -> None:
    model = support.from_text(
        """g (uint8[1,4,5,6] i) => (float[1,6,4,5] y) {
            x = Transpose<perm=[0,3,1,2]>(i) a = Cast<to=1>(x) y = Neg(a)
        }"""
    )
    region = region_at(model, "a")
    assert region.cost(region.now).bytes == 120
    flipped = {node: 1 - label for node, label in region.now.items()}
    assert region.cost(flipped).bytes == 480
    assert region.cheapest() == region.now


def test_improves_needs_less_and_nothing_more() -> None:
    model = support.from_text(REGIONS["chain"][0])
    region = region_at(model, "a")
    now, best = region.cost(region.now), region.cost(region.cheapest())
    assert best.improves(now)
    assert not now.improves(best)
    assert not now.improves(now)
    assert now.weight > OVERHEAD
