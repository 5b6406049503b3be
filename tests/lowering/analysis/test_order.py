"""Orders of less memory: exact on small graphs, against every order there is."""

from __future__ import annotations

import itertools

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.analysis import memory, order, program
from tapeout.lowering.analysis.program import Program, Sharing

import graphs
import support

SHARINGS = [
    Sharing(views=views, in_place=in_place, fusion=fusion, interface=interface)
    for views, in_place, fusion, interface in itertools.product(
        (True, False), (True, False), ("none", "elementwise"), ("apart", "arena")
    )
]


def branches() -> ir.Model:
    """Return two branches, each of which widens a scalar a lot and then cuts most of it off.

    They are listed in an order that keeps both wide tensors at once.
    """
    return graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[100] x) => (float[10] y)
        <int64[1] up = {1000}, int64[1] zero = {0}, int64[1] end = {10}>
        {
            [sum] one_a = ReduceSum<keepdims=1>(x)
            [max] one_b = ReduceMax<keepdims=1>(x)
            [wide_a] a1 = Expand(one_a, up)
            [wide_b] b1 = Expand(one_b, up)
            [narrow_a] a2 = Slice(a1, zero, end)
            [narrow_b] b2 = Slice(b1, zero, end)
            [join] y = Add(a2, b2)
        }""")


def every_peak(subject: Program) -> list[int]:
    """Return the peak of each topological order."""
    return [
        memory.liveness(subject, steps).peak_bytes
        for steps in graphs.orders([step.after for step in subject.steps])
    ]


def names(subject: Program, steps: tuple[int, ...]) -> list[str]:
    return [str(subject.steps[step].main.name) for step in steps]


def test_branches_run_one_after_the_other() -> None:
    subject = program.of(branches())
    found = order.best(subject)
    # Held: x 400 and y 40. Given: both wide tensors (4000 each) while the first is sliced.
    assert found.given_peak == 440 + 4000 + 4000 + 40
    # Better: one wide tensor, with its input of 4 bytes or the slices of 40 bytes beside it.
    assert found.peak == 440 + 4000 + 40 + 40
    assert found.optimal
    assert memory.liveness(subject, found.steps).peak_bytes == found.peak
    ran = names(subject, found.steps)
    assert ran.index("narrow_a") < ran.index("wide_b")


def test_an_order_that_cannot_be_bettered_stays_as_it_is() -> None:
    subject = program.of(graphs.static("resnet8_cifar10"))
    found = order.best(subject)
    assert found.steps == tuple(range(len(subject.steps)))
    assert found.optimal
    assert found.peak == found.given_peak == memory.liveness(subject).peak_bytes


@pytest.mark.parametrize("name", support.NAMES)
def test_the_real_models_are_solved_exactly(name: str) -> None:
    for sharing in SHARINGS:
        found = order.best(program.of(graphs.static(name), sharing))
        assert found.optimal
        assert found.peak <= found.given_peak


@settings(max_examples=60)
@given(graphs.random_models(most=6), st.sampled_from(SHARINGS))
def test_the_best_of_all_orders_is_found(model: ir.Model, sharing: Sharing) -> None:
    subject = program.of(model, sharing)
    found = order.best(subject)
    after = [step.after for step in subject.steps]
    assert found.steps in set(graphs.orders(after))
    assert memory.liveness(subject, found.steps).peak_bytes == found.peak
    assert memory.liveness(subject).peak_bytes == found.given_peak
    assert found.peak == min(every_peak(subject))
    assert found.optimal


@settings(max_examples=40)
@given(graphs.random_models(most=14), st.sampled_from(SHARINGS), st.integers(0, 200))
def test_little_search_gives_a_valid_order_and_a_true_bound(
    model: ir.Model, sharing: Sharing, states: int
) -> None:
    subject = program.of(model, sharing)
    little, much = order.best(subject, states), order.best(subject, 2000)
    place = {step: position for position, step in enumerate(little.steps)}
    assert sorted(place) == list(range(len(subject.steps)))
    assert all(
        place[before] < place[index]
        for index, step in enumerate(subject.steps)
        for before in step.after
    )
    assert memory.liveness(subject, little.steps).peak_bytes == little.peak <= little.given_peak
    assert little.bound <= much.peak <= little.peak
    assert order.best(subject, states) == little


def test_a_ladder_of_many_branches_is_bounded_work() -> None:
    """Sixty pairs of branches that all join at the end: too many states to try them all."""
    x = ir.Value(name="x", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    nodes, ends = [], []
    for stage in range(3):
        for branch in range(60):
            name = f"{stage}_{branch}"
            size = 50 + branch if stage == 0 else 5 + branch % 7
            value = ir.Value(
                name=f"v{name}", shape=ir.Shape([size]), type=ir.TensorType(ir.DataType.FLOAT)
            )
            source = x if stage == 0 else ends[branch]
            nodes.append(ir.Node("", "Tile", [source], outputs=[value], name=name))
            ends = [*ends[:branch], value, *ends[branch + 1 :]]
    y = ir.Value(name="y", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    nodes.append(ir.Node("", "Concat", ends, outputs=[y], name="join"))
    graph = ir.Graph([x], [y], nodes=nodes, opset_imports={"": 26}, name="ladder")
    subject = program.of(ir.Model(graph, ir_version=13))
    found = order.best(subject)
    # Given: all 60 first-stage tensors at once. A branch at a time keeps only the ends.
    assert found.given_peak > 4 * 60 * 50
    assert found.peak <= 4 * (sum(5 + branch % 7 for branch in range(60)) + 109 + 2)
    assert memory.liveness(subject, found.steps).peak_bytes == found.peak
