"""Operators that the parser or the builder refuses are taken apart before."""

from __future__ import annotations

import pytest

from tapeout.profiles import catalog
from tapeout.targets.base import Plan, target_for

import support

#: What is refused as a whole, by the parser or by the builder.
GRAPHS = {
    "fp32 attention": "(float[1,8,16,64] q) => (float[1,8,16,64] y) { y = Attention(q, q, q) }",
    "softcap": "(float16[1,8,16,64] q) => (float16[1,8,16,64] y)"
    " { y = Attention<softcap=2.0>(q, q, q) }",
    "loss": "(float[3,5] x, int64[3] t) => (float y) { y = SoftmaxCrossEntropyLoss(x, t) }",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_an_engine_is_built_and_the_network_computes_the_same(name: str) -> None:
    target, profile = target_for("tensorrt-rtx"), catalog.load("rtx-4090")
    plan = Plan("tensorrt-rtx", "fp32")
    model = support.from_text(f"g {GRAPHS[name]}")
    pipeline = target.pipeline(profile, plan)
    lowered = support.assert_same_numbers(
        model, lambda before: pipeline.run(before.clone()), tolerance=2e-3
    )
    assert target.check(lowered, profile, plan) == []
