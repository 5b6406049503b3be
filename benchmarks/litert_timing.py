"""Latencies of TFLite files on LiteRT with XNNPACK, one thread, taken in turn.

The clock is that of the processor time, which on one thread is the latency without what other work
on the machine takes away from it.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

#: Seconds that one round of a file takes at least.
_ROUND = 1e-3


@dataclasses.dataclass(frozen=True)
class Timed:
    """Seconds of one inference in each round."""

    times: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def least(self) -> float:
        """What the file takes where nothing disturbs it."""
        return min(self.times)


def timed_in_turn(files: Sequence[bytes], rounds: int) -> list[Timed]:
    """Time files in turn: a disturbance that lasts meets all of them."""
    loaded = [_loaded(content) for content in files]
    counts = [max(1, round(_ROUND / _seconds(item, 3))) for item in loaded]
    found = [Timed([]) for _ in files]
    for _ in range(rounds):
        for item, count, timed in zip(loaded, counts, found, strict=True):
            timed.times.append(_seconds(item, count))
    return found


def _loaded(content: bytes) -> Any:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        numbers = rng.random(detail["shape"]) * (1 if detail["dtype"] == np.float32 else 100)
        interpreter.set_tensor(detail["index"], numbers.astype(detail["dtype"]))
    interpreter.invoke()
    return interpreter


def _seconds(interpreter: Any, count: int) -> float:
    interpreter.invoke()  # the caches hold what the other file left
    start = time.process_time()
    for _ in range(count):
        interpreter.invoke()
    return (time.process_time() - start) / count
