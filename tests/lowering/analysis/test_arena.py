"""Offset plans: never an overlap, never below the bound, and close to the best there is."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.lowering.analysis import arena, memory, program
from tapeout.lowering.analysis.program import Sharing

import graphs
import support


@dataclasses.dataclass(frozen=True)
class Life:
    size: int
    first: int
    last: int


@st.composite
def lives(draw: st.DrawFn, most: int = 40) -> list[Life]:
    """Draw buffers of sizes from 0 up, some of them equal, over a few steps."""
    found = []
    for _ in range(draw(st.integers(0, most))):
        first = draw(st.integers(0, 12))
        size = draw(st.one_of(st.integers(0, 9), st.sampled_from([16, 64, 100, 1000])))
        found.append(Life(size, first, first + draw(st.integers(0, 6))))
    return found


def clash(lives: list[Life], offsets: tuple[int, ...]) -> bool:
    """Say, pair by pair, whether any two live buffers share a byte."""
    return any(
        a.first <= b.last and b.first <= a.last and max(x, y) < min(x + a.size, y + b.size)
        for (a, x), (b, y) in itertools.combinations(zip(lives, offsets, strict=True), 2)
    )


def optimum(lives: list[Life]) -> int:
    """Return the smallest arena: some order of placement at the lowest free offset gives it."""
    best = sum(life.size for life in lives)
    for order in itertools.permutations(range(len(lives))):
        placed: dict[int, int] = {}
        for index in order:
            life = lives[index]
            taken = sorted(
                (offset, offset + lives[other].size)
                for other, offset in placed.items()
                if lives[other].first <= life.last and life.first <= lives[other].last
            )
            end = 0
            for start, stop in taken:
                if start - end >= life.size:
                    break
                end = max(end, stop)
            placed[index] = end
        best = min(best, max((placed[i] + lives[i].size for i in placed), default=0))
    return best


@settings(max_examples=80)
@given(lives(), st.sampled_from([1, 4, 16, 64]), st.sampled_from([0, 10_000]))
def test_a_plan_is_valid(buffers: list[Life], alignment: int, work: int) -> None:
    found = arena.plan(buffers, alignment, work)
    assert not clash(buffers, found.offsets)
    assert arena.overlaps(buffers, found.offsets) == []
    assert all(offset % alignment == 0 for offset in found.offsets)
    assert found.size % alignment == 0
    assert all(o + life.size <= found.size for o, life in zip(found.offsets, buffers, strict=True))
    rounded = [-(-life.size // alignment) * alignment for life in buffers]
    live = [
        sum(size for size, life in zip(rounded, buffers, strict=True)
            if life.first <= step <= life.last)
        for step in range(20)
    ]  # fmt: skip
    assert found.bound == max(live)
    assert found.bound <= found.size <= sum(rounded)
    assert found == arena.plan(buffers, alignment, work)


@settings(max_examples=60)
@given(lives(most=6))
def test_small_plans_are_the_best_there_is(buffers: list[Life]) -> None:
    assert arena.plan(buffers).size == optimum(buffers)


@settings(max_examples=40)
@given(lives(), st.lists(st.integers(0, 200), min_size=40, max_size=40))
def test_the_checker_finds_what_pairs_do(buffers: list[Life], offsets: list[int]) -> None:
    some = tuple(offsets[: len(buffers)])
    assert bool(arena.overlaps(buffers, some)) == clash(buffers, some)


def test_a_chain_is_optimal_though_its_largest_are_far_apart() -> None:
    """Each buffer meets only the next one: the two ends of the arena are enough."""
    chance = random.Random(0)
    sizes = [chance.choice([16, 32, 64, 128]) for _ in range(500)]
    buffers = [Life(size, step, step + 1) for step, size in enumerate(sizes)]
    found = arena.plan(buffers, work=0)
    assert arena.plan(buffers).gap == 0
    assert found.bound == max(a + b for a, b in itertools.pairwise(sizes))


def test_hill_climbing_betters_the_greedy_plans() -> None:
    chance = random.Random(3)
    buffers = []
    for _ in range(200):
        first = chance.randrange(50)
        buffers.append(Life(chance.randint(1, 4000), first, first + chance.randint(1, 6)))
    greedy, climbed = arena.plan(buffers, work=0), arena.plan(buffers)
    assert climbed.size < greedy.size
    assert climbed.method == "hill climbing"
    assert climbed.gap < 0.01


def test_what_lives_all_the_time_lies_at_the_bottom() -> None:
    buffers = [Life(5, 1, 2), Life(100, 0, 3), Life(7, 2, 3), Life(50, 0, 3)]
    found = arena.plan(buffers)
    assert found.offsets[1:4:2] == (0, 100)
    assert found.size == found.bound == 162


@pytest.mark.parametrize("name", support.NAMES)
@pytest.mark.parametrize("interface", ["apart", "arena"])
def test_the_real_models_reach_the_bound(name: str, interface: program.Interface) -> None:
    sharing = Sharing(in_place=True, fusion="elementwise", interface=interface)
    alive = memory.liveness(program.of(graphs.static(name), sharing))
    found = arena.plan(alive.buffers, alignment=64)
    assert found.size == found.bound
    assert found.bound - alive.peak_bytes < 64 * len(alive.buffers)
    json.dumps(found.to_json())


def test_no_buffers_need_no_arena() -> None:
    assert arena.plan([]).size == 0
    assert arena.plan([Life(0, 0, 3)]).offsets == (0,)
