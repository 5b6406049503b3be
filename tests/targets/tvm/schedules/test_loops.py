from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tvm import s_tir, te
from tvm.tirx import ForKind

from tapeout.targets.tvm.schedules.core import Core
from tapeout.targets.tvm.schedules.loops import longest_vector, schedule_plain

CORE = Core(lanes=16, registers=32, units=2, l1=32 << 10, l2=1 << 20)


def loops_of(shape: tuple[int, ...], compute: Callable[[Any, Any], Any]) -> list[tuple[int, bool]]:
    """Return the rounds of the loops of a kernel of a tensor and a number; which are vectors."""
    x, y = te.placeholder(shape, name="x"), te.placeholder((), name="s")
    schedule = s_tir.Schedule(te.create_prim_func([x, y, compute(x, y)]))
    schedule_plain(schedule, CORE)
    loops = [schedule.get(loop) for loop in schedule.get_loops(schedule.get_sblock("y"))]
    return [(int(loop.extent), int(loop.kind) == ForKind.VECTORIZED) for loop in loops]


def scaled(x: Any, y: Any) -> Any:
    return te.compute(x.shape, lambda *i: x(*i) * y(), name="y")


def turned(x: Any, y: Any) -> Any:
    return te.compute(x.shape, lambda i, j: x(x.shape[0] - 1 - i, j) * y(), name="y")


def last_first(x: Any, y: Any) -> Any:
    high, wide, channels = x.shape
    return te.compute((channels, high, wide), lambda k, i, j: x(i, j, k) * y(), name="y")


@pytest.mark.parametrize(
    ("shape", "loops"),
    [
        ((96, 96, 3), [(432, False), (64, True)]),  # the last axis alone has no vectors
        ((7, 128), [(7, False), (2, False), (64, True)]),
        ((7, 3), [(1, False), (21, True)]),
    ],
)
def test_elementwise_kernels_have_the_longest_vectors(
    shape: tuple[int, ...], loops: list[tuple[int, bool]]
) -> None:
    assert loops_of(shape, scaled) == loops


def test_axes_that_move_stay_apart() -> None:
    assert loops_of((64, 3), turned) == [(64, False), (1, False), (3, True)]


def test_vectors_that_read_the_same_lines_are_next_to_each_other() -> None:
    assert loops_of((5, 64, 48), last_first) == [(5, False), (4, False), (48, False), (16, True)]


def test_vectors_have_no_rest() -> None:
    assert [longest_vector(size, 16) for size in (1, 3, 64, 96, 128, 130, 67)] == [
        1, 3, 64, 48, 64, 26, 1,
    ]  # fmt: skip
