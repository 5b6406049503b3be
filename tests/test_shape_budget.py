"""Which ranges of shapes fit, by a target whose memory is a formula: no engine is built."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir
import pytest

from tapeout.budget import Figure, Usage, Verdict
from tapeout.lowering.dynamic.generalize import Dynamic, attach, dynamic_of
from tapeout.lowering.dynamic.ranges import Dimension, Ranges
from tapeout.lowering.pipeline import Pipeline
from tapeout.planner import Candidate
from tapeout.profiles import catalog
from tapeout.profiles.schema import Profile
from tapeout.shape_budget import Room
from tapeout.targets.base import Plan
from tapeout.targets.tensorrt.target import RtxTarget

WEIGHTS, EACH = 1000, 100


@dataclasses.dataclass
class Formula(RtxTarget):
    """Needs so many bytes for each sample of the largest batch, and of weights for each profile."""

    asked: int = 0

    def estimate(self, model: ir.Model, profile: Profile, plan: Plan) -> Usage:
        found = dynamic_of(model)
        assert found is not None
        self.asked += 1
        batches = [item["x"].max[0] for item in found.ranges.profiles]
        size = WEIGHTS + len(batches) + EACH * max(batches)
        figure = Figure(size, "B", "estimated")
        return Usage(figure, figure)


def room(limit: int, *intervals: tuple[int, int, int], step: int = 1) -> Room:
    model = ir.Model(ir.Graph([], [], nodes=[]), ir_version=10)
    ranges = Ranges({"x": ("n", 8)}, (Dimension("n", intervals),))
    steps = {"n": step} if step > 1 else {}
    attach(model, Dynamic(model, ranges, steps, lambda _: model))
    target, plan = Formula(), Plan("tensorrt-rtx", "fp32")
    usage = Usage(Figure(0, "B", "exact"), Figure(0, "B", "exact"))
    nothing = Pipeline(())
    candidate = Candidate(target, plan, model, None, nothing, model, usage, Verdict(()))
    return Room(candidate, catalog.load("rtx-4090"), limit, lambda _: None)


@pytest.mark.parametrize(
    ("limit", "step", "fits"),
    [(2000, 1, 9), (1999, 1, 9), (1150, 1, 1), (7300, 1, 62), (2000, 4, 8), (7400, 1, 63)],
)
def test_the_largest_size_that_fits_is_found(limit: int, step: int, fits: int) -> None:
    """Beside a profile of one sample that fits, too."""
    least = step
    found = room(limit, (1, 1, 1), (least, least, 64), step=step).problems()
    assert found[0].what.startswith("fits: alone it needs")
    assert found[1].where == f"profile 2 (x={least}x8..64x8@{least}x8)"
    assert found[1].what.startswith("is too large: alone it needs")
    assert "(estimated)" in found[1].what
    assert found[1].fix == f"with n up to {fits} it fits, not with {fits + step}"


def test_few_engines_are_built_for_a_wide_range() -> None:
    wide = room(50_000, (1, 1, 4096))
    assert wide.problems()[0].fix == "with n up to 489 it fits, not with 490"
    assert isinstance(wide.candidate.target, Formula)
    assert wide.candidate.target.asked <= 6


def test_what_never_fits_is_to_be_left_out() -> None:
    assert room(900, (2, 4, 8)).problems()[0].fix == "leave it out: n=2 alone is too much"
    assert room(900, (8, 8, 8)).problems()[0].fix == "leave it out"


def test_profiles_that_fit_alone_may_not_fit_together() -> None:
    found = room(1401, (1, 1, 4), (1, 2, 4))
    assert [str(problem) for problem in found.problems()[2:]] == [
        "each profile fits alone, but not all together",
        "--drop-profiles: leaves out the profiles that do not fit",
    ]


def test_the_choice_is_what_fits_together() -> None:
    found = room(1401, (1, 1, 4), (1, 2, 3), (1, 8, 16)).choice()
    assert found is not None
    ranges, out = found
    assert [str(item["x"]) for item in ranges.profiles] == ["1x8..3x8@2x8"]
    assert [item.where.split(" (")[0] for item in out] == ["profile 1", "profile 3"]
    assert room(900, (1, 1, 4), (1, 2, 3)).choice() is None
