from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.layout.mincut import Labelling

Labels = list[tuple[int, int, int]]

COSTS = st.integers(0, 20)


@settings(max_examples=120)
@given(
    count=st.integers(1, 6),
    labels=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), COSTS), max_size=10),
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), COSTS), max_size=14),
)
def test_is_the_best_of_all_labellings(count: int, labels: Labels, pairs: Labels) -> None:
    problem = Labelling()
    items = [problem.add_item() for _ in range(count)]
    labels = [(item % count, label, cost) for item, label, cost in labels]
    pairs = [(zero % count, one % count, cost) for zero, one, cost in pairs]
    for item, label, cost in labels:
        problem.cost_of_label(items[item], label, cost)
    for zero, one, cost in pairs:
        problem.cost_of_pair(items[zero], items[one], cost)

    def total(chosen: tuple[int, ...]) -> int:
        return sum(cost for item, label, cost in labels if chosen[item] == label) + sum(
            cost for zero, one, cost in pairs if not chosen[zero] and chosen[one]
        )

    solved = problem.solve()
    found = tuple(solved[problem.index(item)] for item in items)
    assert total(found) == min(map(total, itertools.product((0, 1), repeat=count)))


def test_costs_larger_than_machine_words() -> None:
    problem = Labelling()
    first, second = problem.add_item(), problem.add_item()
    problem.cost_of_label(first, 0, 10**40)
    problem.cost_of_label(second, 1, 10**40 + 1)
    problem.cost_of_pair(second, first, 10**39)
    assert problem.solve() == [1, 0]


def test_long_chain_does_not_recurse() -> None:
    problem = Labelling()
    items = [problem.add_item() for _ in range(5000)]
    problem.cost_of_label(items[0], 1, 5)
    problem.cost_of_label(items[-1], 0, 5)
    for left, right in itertools.pairwise(items):
        problem.cost_of_pair(left, right, 7 if left == items[2500] else 9)
    labels = problem.solve()
    assert sorted(set(labels)) in ([0], [1], [0, 1])
    assert sum(labels) in (0, len(items))
