"""The process that engines are timed in: in turn, kernel by kernel, as they run in a network.

    python -P -m tapeout.targets.tvm.timing_process

`tuner` writes what this reads and reads what this writes. A kernel that is timed by itself finds
its data in the caches; here it finds what the kernels before it have left there.
"""

from __future__ import annotations

import collections
import math
import os
import time
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pydantic

from .. import run
from .execute import ENGINE_CODE

ORDER: Final = "order.json"
TIMES: Final = "times.json"

#: Inferences in a turn, at least.
_LEAST: Final = 3


class Order(pydantic.BaseModel):
    """What to time.

    Attributes:
        engines: files.
        inputs: name, shape and dtype of each.
        rounds, seconds: of turns, and of each turn of an engine.
    """

    engines: tuple[Path, ...]
    inputs: tuple[tuple[str, tuple[int, ...], str], ...]
    threads: int
    rounds: int
    seconds: float


class Times(pydantic.BaseModel):
    """The least seconds of an inference, and of all calls of each kernel in one."""

    total: float
    kernels: dict[str, float]


#: Of all engines, in their order.
TIMES_OF: Final = pydantic.TypeAdapter(list[Times])


class _Timed:
    """An engine with a clock that is read before and after each kernel."""

    def __init__(self, file: Path, order: Order) -> None:
        inputs = [run.Tensor(name, shape, np.dtype(dtype)) for name, shape, dtype in order.inputs]
        bundle = run.Bundle(file, tuple(inputs), (), order.threads)
        self._engine = cast(Any, run.load_engine(ENGINE_CODE, bundle))
        rng = np.random.default_rng(0)
        for tensor in inputs:
            # Integers may be indices.
            real = tensor.dtype.kind == "f"
            self._engine.buffers[tensor.name][...] = rng.random(tensor.shape) if real else 0
        self._engine.machine["set_instrument"](self._note)
        self._start = 0.0
        self._spent: dict[str, float] = collections.defaultdict(float)
        self.least: dict[str, float] = {}
        self.total = math.inf

    def _note(self, _: Any, name: str, before: bool, *__: Any) -> int:
        """Follow the virtual machine, which calls this before and after each kernel."""
        if before:
            self._start = time.perf_counter()
        else:
            self._spent[name] += time.perf_counter() - self._start
        return 0

    def turn(self, seconds: float) -> None:
        """Run for a while."""
        self._engine.infer()  # the caches hold what the other engine left
        count, end = 0, time.perf_counter() + seconds
        while count < _LEAST or time.perf_counter() < end:
            self._spent.clear()
            start = time.perf_counter()
            self._engine.infer()
            self.total = min(self.total, time.perf_counter() - start)
            for name, spent in self._spent.items():
                self.least[name] = min(self.least.get(name, math.inf), spent)
            count += 1


def main(folder: Path) -> None:
    """Answer the order in a folder."""
    order = Order.model_validate_json((folder / ORDER).read_bytes())
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: order.threads])
    engines = [_Timed(file, order) for file in order.engines]
    for _ in range(order.rounds):
        for engine in engines:
            engine.turn(order.seconds)
    times = [Times(total=engine.total, kernels=engine.least) for engine in engines]
    (folder / TIMES).write_bytes(TIMES_OF.dump_json(times))


if __name__ == "__main__":
    main(Path.cwd())
