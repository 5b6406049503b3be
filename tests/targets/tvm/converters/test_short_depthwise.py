"""Sums of 16 bits: bit for bit the reference's, also where the next tap would not fit them."""

from __future__ import annotations

import numpy as np
import pytest

from tapeout.lowering.canonical import canonical, integers
from tapeout.lowering.reference import Reference
from tapeout.targets.tvm.schedules.arithmetic import WIDE
from tapeout.targets.tvm.schedules.core import Core

import kernels
import quantized
from quantized import Integers

CORE = Core(4, 32, 2, l1=2 << 10, l2=8 << 10, integers=WIDE)

#: The weights of all taps; with data of -128, one more in a run would leave 16 bits.
WEIGHTS = [-128, -127, 85, 51, 28, 1]


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("datum", [-128, 127])
def test_no_sum_leaves_its_bits(weight: int, datum: int) -> None:
    held = np.full((24, 1, 3, 3), weight, np.int8)
    model = quantized.network(
        "y = Conv <pads = [1, 1, 1, 1], group = 24> (x, w)",
        {"y": Integers((1, 24, 5, 6), 1.0, 3)},
        x=Integers((1, 24, 5, 6), 0.05, 4),
        w=Integers(held, 0.01),
    )
    lowered = (canonical("nhwc") + integers()).run(model)
    feeds = {str(lowered.graph.inputs[0].name): np.full((1, 24, 5, 6), datum, np.int8)}
    [wanted] = Reference(lowered).run(feeds).values()
    [found] = kernels.run(lowered, feeds, CORE).values()
    np.testing.assert_array_equal(found, wanted)
    assert np.abs(wanted.astype(int)).max() < 127
