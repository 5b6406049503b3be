"""Work on all processors, with results that do not depend on how many there are."""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from threadpoolctl import threadpool_limits

#: Beyond a few, memory costs more than the time that is saved.
_MOST: Final = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def count() -> int:
    """Return how many threads to work with."""
    return min(os.cpu_count() or 1, _MOST)


@contextlib.contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    """Yield threads to work with; meanwhile every BLAS call of this process uses one.

    So a sum is always taken in the same order. It is also faster: threads of BLAS wait for each
    other in busy loops, which on a processor that has other work costs many times what is saved.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(count()) as threads:
        yield threads


def ahead(
    threads: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield the results in order; at most two more than there are threads are held at a time.

    An item is taken from `items` only when its turn comes.
    """
    waiting: collections.deque[Future[Result]] = collections.deque()
    try:
        for item in items:
            waiting.append(threads.submit(work, item))
            if len(waiting) > count():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
