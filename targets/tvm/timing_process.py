"""The process that engines are timed in: in turn, as a whole and kernel by kernel.

    python -P -m tapeout.targets.tvm.timing_process

`tuner` writes what this reads and reads what this writes. A kernel that is timed by itself finds
its data in the caches; here it finds what the kernels before it have left there. Each call of one
is a function of its own in these engines: see `program`.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import numpy as np
import pydantic

from .. import run
from .build import CALL
from .execute import ENGINE_CODE

ORDER: Final = "order.json"
TIMES: Final = "times.json"

#: Inferences in a turn, at least.
_LEAST: Final = 3


#: Name, shape and dtype.
Described: TypeAlias = tuple[str, tuple[int, ...], str]


class Order(pydantic.BaseModel):
    """What to time.

    Attributes:
        engines: files, and how many calls of kernels each has.
        inputs, outputs: name, shape and dtype of each.
        rounds, seconds: of turns, and of each turn of an engine.
    """

    engines: dict[Path, int]
    inputs: tuple[Described, ...]
    outputs: tuple[Described, ...]
    threads: int
    rounds: int
    seconds: float


class Times(pydantic.BaseModel):
    """The least seconds of an inference, and of each call of a kernel in one."""

    total: float
    calls: tuple[float, ...]


#: Of all engines, in their order.
TIMES_OF: Final = pydantic.TypeAdapter(list[Times])


class _Timed:
    """An engine whose inferences are timed, and each of whose calls of kernels is.

    Attributes:
        total: the least seconds of an inference.
        calls: the least seconds of each call.
    """

    def __init__(self, file: Path, count: int, order: Order) -> None:
        inputs, outputs = (tuple(map(_tensor, side)) for side in (order.inputs, order.outputs))
        bundle = run.Bundle(file, inputs, outputs, order.threads)
        engine = cast(Any, run.load_engine(ENGINE_CODE, bundle))
        rng = np.random.default_rng(0)
        for tensor in inputs:
            # Integers may be indices.
            real = tensor.dtype.kind == "f"
            engine.buffers[tensor.name][...] = rng.random(tensor.shape) if real else 0
        self._infer = engine.infer
        self._steps = [
            functools.partial(engine.library[f"{CALL}{number}"], *engine.arguments)
            for number in range(count)
        ]
        self.total = math.inf
        self.calls = [math.inf] * count

    def whole(self) -> None:
        """Run once."""
        start = time.perf_counter()
        self._infer()
        self.total = min(self.total, time.perf_counter() - start)

    def apart(self) -> None:
        """Run once, call by call."""
        read = [time.perf_counter()]
        for step in self._steps:
            step()
            read.append(time.perf_counter())
        spent = (end - start for start, end in itertools.pairwise(read))
        self.calls = list(map(min, self.calls, spent))


def _tensor(described: Described) -> run.Tensor:
    name, shape, dtype = described
    return run.Tensor(name, shape, np.dtype(dtype))


def _turn(inference: Callable[[], None], seconds: float) -> None:
    """Make inferences for a while."""
    count, end = 0, time.perf_counter() + seconds
    while count <= _LEAST or time.perf_counter() < end:  # one more, after what another has left
        inference()
        count += 1


def main(folder: Path) -> None:
    """Answer the order in a folder."""
    order = Order.model_validate_json((folder / ORDER).read_bytes())
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: order.threads])
    engines = [_Timed(file, count, order) for file, count in order.engines.items()]
    for _ in range(order.rounds):
        for engine in engines:
            _turn(engine.whole, order.seconds / 2)
        for engine in engines:
            _turn(engine.apart, order.seconds / 2)
    times = [Times(total=engine.total, calls=tuple(engine.calls)) for engine in engines]
    (folder / TIMES).write_bytes(TIMES_OF.dump_json(times))


if __name__ == "__main__":
    main(Path.cwd())
