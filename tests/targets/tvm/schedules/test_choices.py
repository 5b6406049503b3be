"""Alternatives to what the analysis chooses: they fit, and what does not is told."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeout.targets.tvm.schedules.arithmetic import FLOAT, arithmetic_for, feature_of
from tapeout.targets.tvm.schedules.choices import alternatives, analysed, misfits
from tapeout.targets.tvm.schedules.core import OPERANDS, Core
from tapeout.targets.tvm.schedules.workload import Choice, Workload

from kernels import CORES, HALVES
from workloads import convolution, workloads

PAIRS = arithmetic_for("i8mm")

#: A convolution of 3x3, 64 to 96 channels.
CONVOLUTION = convolution(28, 96)
DEPTHWISE = dataclasses.replace(
    CONVOLUTION, kind="depthwise", inputs=1, outputs=64, group=64, copies="maybe"
)


@settings(derandomize=True)
@given(work=workloads(), core=st.sampled_from([*CORES.values(), *HALVES.values()]))
def test_alternatives_fit_and_are_others(work: Workload, core: Core) -> None:
    first = analysed(work, core)
    assert misfits(work, first, core) == []
    found = list(itertools.islice(alternatives(work, first, core), 30))
    assert len({first, *found}) == len(found) + 1
    for choice in found:
        assert misfits(work, choice, core) == []


@settings(derandomize=True)
@given(work=workloads(), l1=st.sampled_from([1 << 10, 64 << 10]))
def test_alternatives_of_pairs_fit(work: Workload, l1: int) -> None:
    core = Core(4, 32, 2, l1, l2=4 * l1, integers=PAIRS, operands=OPERANDS["neon"])
    outputs = 4 * work.outputs
    work = dataclasses.replace(
        work, kind="paired", dtype="int8", copies="always", group=1, outputs=outputs
    )
    first = analysed(work, core)
    for choice in (first, *itertools.islice(alternatives(work, first, core), 30)):
        assert misfits(work, choice, core) == []
        assert choice.width % 2 == 0
        assert choice.depth == 1
    odd = dataclasses.replace(first, width=1, rows=1, height=1)
    assert "pairs" in "; ".join(misfits(work, odd, core))


def test_alternatives_come_by_turns_the_best_first() -> None:
    core = CORES["wide"]
    first = analysed(CONVOLUTION, core)
    found = list(itertools.islice(alternatives(CONVOLUTION, first, core), 6))
    tile = first.height, first.width, first.channels
    assert tile == (1, 14, 32)
    changed = [
        {name for name, value in dataclasses.asdict(first).items() if getattr(item, name) != value}
        for item in found
    ]
    for tiles, rows, depths in (changed[:3], changed[3:6]):
        assert tiles & {"height", "width", "channels"}
        assert rows == {"rows"}
        assert depths <= {"depth", "group"}
    # The next in the order of the estimate that has not as many sums.
    assert (found[0].height, found[0].width, found[0].channels) == (2, 4, 48)


@pytest.mark.parametrize(
    ("work", "changes", "said"),
    [
        (CONVOLUTION, {"width": 29}, "width: 29 of 28 places"),
        (CONVOLUTION, {"channels": 20}, "channels: 20 does not divide 96"),
        (CONVOLUTION, {"width": 28, "channels": 48}, "28 x 3 sums in 32 registers"),
        (CONVOLUTION, {"height": 3}, "height: 3 does not divide 28"),
        (CONVOLUTION, {"depth": 48}, "depth, group: 48 x 1 does not divide 64"),
        (CONVOLUTION, {"height": 2, "width": 7, "rows": 3}, "no multiple of the tile's 2"),
        (CONVOLUTION, {"rows": 29}, "rows: 29 of 28"),
        (CONVOLUTION, {"packs": False}, "packs: the data is always copied"),
        (DEPTHWISE, {"channels": 24}, "channels: 24 does not divide 64"),
        (DEPTHWISE, {"width": 28, "channels": 32}, "width: it takes 58 registers of 32"),
        (DEPTHWISE, {"rows": 29}, "rows: 29 of 28"),
        (DEPTHWISE, {"depth": 2}, "of products alone"),
    ],
)
def test_what_does_not_fit_is_told(
    work: Workload, changes: dict[str, int | bool], said: str
) -> None:
    product = {"depth": 16, "packs": True} if work.kind == "product" else {}
    fitting = Choice(**{"width": 7, "channels": 32, "rows": 14, **product})
    assert misfits(work, fitting, CORES["wide"]) == []
    problems = misfits(work, dataclasses.replace(fitting, **changes), CORES["wide"])
    assert said in "; ".join(problems)


def test_arithmetic_has_a_name() -> None:
    for feature in ("", "avx512vnni", "avxvnni", "avx512bw", "avx2", "sse2", "i8mm", "dotprod"):
        assert feature_of(arithmetic_for(feature)) == feature
    with pytest.raises(ValueError, match="'amx' is none of avx512vnni"):
        arithmetic_for("amx")
    assert feature_of(FLOAT) == ""
