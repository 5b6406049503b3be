"""Workloads of any shape, and choices for them that are not the analysis's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from tapeout.targets.tvm.schedules.choices import alternatives, analysed
from tapeout.targets.tvm.schedules.core import Core
from tapeout.targets.tvm.schedules.workload import Choice, Workload


def convolution(size: int, outputs: int) -> Workload:
    """Return one of 3x3 taps over 64 channels, with as many places each way."""
    return Workload(
        kind="product",
        dtype="float32",
        images=1,
        places=(size, size),
        reach=(size + 2, size + 2),
        strides=(1, 1),
        taps=9,
        inputs=64,
        outputs=outputs,
        group=1,
        copies="always",
    )


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    rank = draw(st.sampled_from([1, 2]))
    places = tuple(draw(st.integers(1, 60)) for _ in range(rank))
    depthwise = draw(st.booleans())
    outputs = draw(st.integers(1, 300))
    group = outputs if depthwise else draw(st.sampled_from([1, 1, 2]))
    return Workload(
        kind="depthwise" if depthwise else draw(st.sampled_from(["product", "dynamic"])),
        dtype=draw(st.sampled_from(["float32", "float16"])),
        images=draw(st.integers(1, 2)),
        places=places,
        reach=tuple(size + 2 for size in places),
        strides=(1,) * rank,
        taps=draw(st.sampled_from([1, 3, 9])),
        inputs=1 if depthwise else draw(st.integers(1, 300)),
        outputs=outputs if depthwise else outputs * group,
        group=group,
        copies="maybe" if depthwise else draw(st.sampled_from(["never", "maybe", "always"])),
    )


class Others(Mapping[Workload, Choice]):
    """For any workload, what comes so many places after the analysis's choice, if there is one.

    Every other step is from what was found so far, as tuning goes.
    """

    def __init__(self, core: Core, place: int) -> None:
        self._core = core
        self._place = place

    def __getitem__(self, work: Workload) -> Choice:
        found = analysed(work, self._core)
        for _ in range(2):
            others = alternatives(work, found, self._core)
            found = next(itertools.islice(others, self._place, None), found)
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0
