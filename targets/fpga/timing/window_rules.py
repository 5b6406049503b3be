"""When beats move through the engines behind `rtl/window.v`: what the head of that file says.

The image enters a circular buffer as far as there is room, and runs of reads leave it, one after
another: each gives one beat, a fixed time after its last read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..engines import average as average_engine
from ..engines import conv as conv_engine
from ..engines import depthwise as depthwise_engine
from ..engines import maxpool as maxpool_engine
from ..hardware.design import Stage
from .events import Events, Process, Wire


def conv(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/conv.v`."""
    pe, simd, lanes = (int(stage.parameters[name]) for name in ("PE", "SIMD", "RQ"))
    delay = conv_engine.delay(pe, simd, lanes)
    return _windowed(Geometry.of(stage), delay + _QUEUE, inputs, outputs)


def depthwise(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/depthwise.v`."""
    pe, lanes = (int(stage.parameters[name]) for name in ("PE", "RQ"))
    return _windowed(
        Geometry.of(stage), depthwise_engine.delay(pe, lanes) + _QUEUE, inputs, outputs
    )


def average(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/average.v`."""
    pe, lanes = (int(stage.parameters[name]) for name in ("PE", "RQ"))
    return _windowed(Geometry.of(stage), average_engine.delay(pe, lanes) + _QUEUE, inputs, outputs)


def maxpool(stage: Stage, inputs: Sequence[Wire], outputs: Sequence[Wire]) -> tuple[Process, ...]:
    """`rtl/maxpool.v`."""
    return _windowed(Geometry.of(stage), maxpool_engine.DELAY + _QUEUE, inputs, outputs)


#: Cycles from a result's entry into the queue behind an engine to its offer: see `rtl/fifo.v`.
_QUEUE = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
    """What a window reads of a frame, counted in beats.

    Attributes:
        reads: of one run, which gives one beat.
        runs: for one pixel out.
        slots: runs under way, at most.
        depth: beats in the buffer, at most.
        frame: beats of one frame.
        need, free: for each pixel out of a frame, the beats up to the last one that its window
            reaches, and those before the first one that it or a later pixel reaches.
    """

    reads: int
    runs: int
    slots: int
    depth: int
    frame: int
    need: tuple[int, ...]
    free: tuple[int, ...]

    @classmethod
    def of(cls, stage: Stage) -> Geometry:
        """Return what the parameters of a stage say."""
        value = {name: item for name, item in stage.parameters.items() if isinstance(item, int)}
        pixel = value["GROUPS"] * value["WORDS"]
        row = value["WIDTH"] * pixel
        taps = value["KERNEL_HEIGHT"] * value["KERNEL_WIDTH"]
        first_row, last_row = _axis(value, "HEIGHT", "Y", "TOP")
        first_column, last_column = _axis(value, "WIDTH", "X", "LEFT")
        need = last_row[:, None] * row + (last_column[None, :] + 1) * pixel
        # Above the image, the windows of the next row may reach its first beat again.
        inside = np.arange(len(first_row)) * value["STRIDE_Y"] >= value["PAD_TOP"]
        columns = np.where(inside[:, None], first_column[None, :], 0)
        free = first_row[:, None] * row + columns * pixel
        return cls(
            reads=taps * value["WORDS"],
            runs=value["GROUPS"] * value["REPEATS"],
            slots=value["SLOTS"],
            depth=value["DEPTH"],
            frame=value["HEIGHT"] * row,
            need=tuple(need.ravel().tolist()),
            free=tuple(free.ravel().tolist()),
        )


def _axis(value: dict[str, int], size: str, axis: str, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last row (or column) of the image in each window along an axis."""
    first = np.arange(value[f"OUT_{size}"]) * value[f"STRIDE_{axis}"] - value[f"PAD_{side}"]
    last = first + (value[f"KERNEL_{size}"] - 1) * value[f"DILATION_{axis}"]
    return first.clip(0), last.clip(0, value[size] - 1)


def _windowed(
    geometry: Geometry, delay: int, inputs: Sequence[Wire], outputs: Sequence[Wire]
) -> tuple[Process, ...]:
    """Return the two sides of the buffer; a beat is offered `delay` after a run's last read."""
    (source,), (sink,) = inputs, outputs
    opened = Events(source.queue)
    return _fill(geometry, source, opened), _read(geometry, delay, source, sink, opened)


def _fill(geometry: Geometry, source: Wire, opened: Events) -> Process:
    """Take beats as long as there is room; `opened` is when each pixel but the first frees its."""
    frame = beat = 0
    edge = 1  # the first edge after the reset finds it shut
    number = -1
    while True:
        for free in geometry.free:
            if number >= 0:
                while len(opened) <= number:
                    yield opened, number
                edge = opened[number]
            number += 1
            while beat < frame + free + geometry.depth:
                source.ready(edge)
                beat += 1
        frame += geometry.frame


def _read(geometry: Geometry, delay: int, source: Wire, sink: Wire, opened: Events) -> Process:
    """Let runs follow each other: whole pixels must be there, and a slot free."""
    run = frame = 0
    edge = 1  # of the next run, at the earliest
    start = -3  # of the last pixel
    arrived, taken = source.moves, sink.moves
    while True:
        for need in geometry.need:
            last = frame + need - 1
            while len(arrived) <= last:
                yield arrived, last
            edge = max(edge, arrived[last] + 2, start + 4)
            for number in range(geometry.runs):
                if run >= geometry.slots:
                    while len(taken) <= run - geometry.slots:
                        yield taken, run - geometry.slots
                    edge = max(edge, taken[run - geometry.slots] + 1)
                if number == 0:
                    start = edge
                edge += geometry.reads
                sink.offer(edge - 1 + delay)
                run += 1
            opened.add(max(edge - 1 + 3, start + 5))
        frame += geometry.frame
