"""The latency estimate, by hand on a machine with round figures."""

from __future__ import annotations

import json

import pytest

from tapeout.lowering.analysis import roofline
from tapeout.lowering.analysis.program import Sharing
from tapeout.lowering.analysis.roofline import Cache, Machine, Offload

import graphs

#: 1000 operations/s, 100 bytes/s, nothing else.
BARE = Machine({"float32": 1000.0}, 100.0)

CHAIN = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[4,8] x) => (float[80] z)
<float[8,20] w, float low = {0.0}, int64[1] flat = {80}>
{
    [product] a = MatMul(x, w)
    [act] y = Clip(a, low)
    [view] z = Reshape(y, flat)
}
"""


def chain() -> str:
    values = ",".join(["1"] * 160)
    return CHAIN.replace("float[8,20] w", f"float[8,20] w = {{{values}}}")


def test_each_step_takes_the_longer_of_the_two() -> None:
    found = roofline.estimate(graphs.static_text(chain()), BARE)
    product, act, view = found.steps
    assert (product.macs, product.ops, product.kind) == (640, 0, "matmul")
    assert product.bytes == 128 + 640 + 320
    assert product.compute == pytest.approx(1.280)
    assert product.memory == pytest.approx(10.88)
    assert (product.limit, product.seconds) == ("memory", pytest.approx(10.88))
    assert (act.ops, act.bytes, act.seconds) == (160, 640, pytest.approx(6.4))
    assert (view.seconds, view.limit, view.bytes) == (0.0, "none", 0)
    assert found.seconds == pytest.approx(17.28)
    assert found.share(product) == pytest.approx(10.88 / 17.28)
    json.dumps(found.to_json())


def test_efficiency_makes_arithmetic_the_limit() -> None:
    slow = Machine({"float32": 1000.0}, 100.0, efficiency={"matmul": 0.1})
    product = roofline.estimate(graphs.static_text(chain()), slow).steps[0]
    assert (product.limit, product.seconds) == ("compute", pytest.approx(12.8))


def test_a_dtype_may_reach_another_part_of_its_peak() -> None:
    machine = Machine(
        {"float32": 100.0, "int8": 400.0},
        1.0,
        efficiency={"matmul": 0.5, "pool": 0.2},
        special={"int8": {"matmul": 0.25}},
    )
    assert [machine.rate("matmul", dtype) for dtype in ("float32", "int8")] == [50.0, 100.0]
    assert machine.rate("pool", "int8") == 80.0
    assert machine.rate("softmax", "int8") == 400.0


def test_overhead_counts_for_each_step_that_runs() -> None:
    slow = Machine({"float32": 1e9}, 1e9, overhead=5.0)
    found = roofline.estimate(graphs.static_text(chain()), slow)
    assert found.seconds == pytest.approx(10.0, rel=1e-3)
    assert [step.limit for step in found.steps] == ["overhead", "overhead", "none"]
    assert found.by_limit()["overhead"] == found.seconds


def test_fusion_saves_the_traffic_between() -> None:
    fused = Sharing(fusion="activation")
    found = roofline.estimate(graphs.static_text(chain()), BARE, fused)
    assert found.steps[0].op == "MatMul+Clip"
    assert (found.steps[0].macs, found.steps[0].ops) == (640, 160)
    assert found.seconds == pytest.approx((128 + 640 + 320) / 100)


@pytest.mark.parametrize(
    ("size", "seconds"),
    [
        (639, 10.88 + 6.4),  # too small for anything
        # Clip moves 640 bytes: what it writes stays.
        (640, 10.88 + 3.2 + 0.32),
        # The product moves 1088: what it writes stays too.
        (1088, 7.68 + 0.32 + 3.2 + 0.32),
        # All memory of the model: 640 of parameters, 128 + 320 of interface, 320 between.
        (1408, 1.088 + 0.64),
    ],
)
def test_a_cache_holds_what_was_touched_little_ago(size: int, seconds: float) -> None:
    cached = Machine({"float32": 1e9}, 100.0, (Cache(size, 1000.0),))
    found = roofline.estimate(graphs.static_text(chain()), cached)
    assert found.seconds == pytest.approx(seconds)


def test_a_tensor_is_still_there_if_little_was_moved_since() -> None:
    """Of two reads of a, the first follows its writing at once and the second some steps later."""
    cached = Machine({"float32": 1e9}, 100.0, (Cache(200, 1000.0),))
    found = roofline.estimate(
        graphs.static_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[100] x) => (float[10] y)
        <int64[1] axis = {0}, int64[1] ten = {10}, int64[1] zero = {0}>
        {
            a = Slice(x, zero, ten)
            b = Neg(a)
            c = Exp(b)
            d = Exp(c)
            y = Add(a, d)
        }"""),
        cached,
    )
    # Each step moves 80 bytes, Add 120. Slice reads from memory, Neg what Slice moved 160 ago.
    assert [step.memory for step in found.steps[:2]] == pytest.approx([0.4 + 0.04, 0.04 + 0.04])
    # a was last touched 360 bytes ago, d 200.
    assert found.steps[4].memory == pytest.approx(0.4 + 0.04 + 0.04)


def test_the_dtype_chooses_the_peak() -> None:
    machine = Machine({"float32": 100.0, "int8": 400.0, "float64": 50.0}, 1.0)
    assert machine.peak("int8") == 400.0
    assert machine.peak("float16") == 100.0  # runs as float32
    assert Machine({"float64": 50.0, "int8": 400.0}, 1.0).peak("int32") == 50.0


@pytest.mark.parametrize(
    "figures",
    [
        {"peaks": {}},
        {"peaks": {"float32": 0.0}},
        {"bandwidth": -1.0},
        {"overhead": -1.0},
        {"efficiency": {"matmul": 0.0}},
        {"special": {"int8": {"matmul": 0.0}}},
        {"caches": (Cache(10, float("nan")),)},
    ],
)
def test_a_machine_without_sense_is_refused(figures: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Machine(**({"peaks": {"float32": 1.0}, "bandwidth": 1.0} | figures))


def test_more_of_everything_is_never_slower() -> None:
    model = graphs.static("vww_mobilenet")
    small = Machine({"float32": 1e10}, 1e9, (Cache(1 << 15, 1e10),), overhead=1e-6)
    large = Machine({"float32": 2e10}, 2e9, (Cache(1 << 18, 2e10),), overhead=1e-7)
    assert roofline.estimate(model, large).seconds < roofline.estimate(model, small).seconds


def test_another_machine_takes_the_steps_whose_results_it_makes() -> None:
    fast = Machine({"float32": 1e4}, 1e3)
    model = graphs.static_text(chain())
    alone = roofline.estimate(model, BARE)
    found = roofline.estimate(model, BARE, offload=Offload({"a": fast}, 0.5))
    product, act, _ = found.steps
    assert (product.seconds, act) == (pytest.approx(1.088), alone.steps[1])
    assert found.seconds == pytest.approx(1.088 + 6.4 + 0.5)
    assert found.by_limit() == {**found.by_limit(), "transfer": 0.5}
    assert "transfer" not in alone.by_limit()
    assert roofline.estimate(model, BARE, offload=Offload({}, 0.0)) == alone


def test_threads_share_the_steps_that_they_do_sooner_together() -> None:
    """The product takes 2 x 640 operations, the activation 160: at 1000 a second each."""

    def compute(sharing: float) -> list[float]:
        alone = Machine({"float32": 1000.0}, 1e9)
        pair = Machine({"float32": 2000.0}, 1e9, alone=alone, sharing=sharing, least=sharing)
        found = roofline.estimate(graphs.static_text(chain()), pair)
        return [step.seconds for step in found.steps[:2]]

    assert compute(0.0) == pytest.approx([0.64, 0.08], rel=1e-3)
    assert compute(0.1) == pytest.approx([0.74, 0.16], rel=1e-3)
    assert compute(1.0) == pytest.approx([1.28, 0.16], rel=1e-3)
