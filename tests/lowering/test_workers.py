"""Work on several threads: its order, its errors, and that BLAS stays on one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tapeout.lowering import workers


def blas_threads() -> set[int]:
    return {item["num_threads"] for item in threadpool_info() if item["user_api"] == "blas"}


def test_blas_uses_one_thread_meanwhile() -> None:
    with threadpool_limits(2, user_api="blas"):
        assert blas_threads() == {2}
        with workers.pool() as threads:
            assert threads.submit(blas_threads).result() == {1}
        assert blas_threads() == {2}


@pytest.mark.parametrize("count", [0, 1, 50])
def test_results_come_in_order_and_items_are_taken_late(count: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(count):
            taken.append(item)
            yield item

    with workers.pool() as threads:
        for index, result in enumerate(workers.ahead(threads, lambda item: item**2, items())):
            assert result == index**2
            assert len(taken) <= index + workers.count() + 2
    assert taken == list(range(count))


def test_work_is_done_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    meeting = threading.Barrier(2, timeout=10)
    with workers.pool() as threads:
        assert len([*workers.ahead(threads, lambda _: meeting.wait(), range(4))]) == 4


def test_errors_come_through_and_leave_nothing_running() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    with workers.pool() as threads:
        found = workers.ahead(threads, work, range(1000))
        assert [next(found) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            next(found)
