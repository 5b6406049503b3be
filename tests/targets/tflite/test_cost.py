"""What one thread, or more, of TFLite has on a CPU."""

from __future__ import annotations

import pytest

from tapeout.lowering.analysis.operators import Kind
from tapeout.profiles import catalog
from tapeout.targets.tflite.cost import machine_of

KINDS: tuple[Kind, ...] = ("convolution", "depthwise")


def test_threads_share_the_peak_of_all_cores() -> None:
    profile = catalog.load("raspberry-pi-5")
    one, four = machine_of(profile, 1), machine_of(profile, 4)
    for dtype in ("float32", "int8"):
        assert four.peak(dtype) == profile.peak(dtype) == pytest.approx(4 * one.peak(dtype))
    assert one.bandwidth == four.bandwidth


def test_int8_is_faster_where_dot_products_count() -> None:
    """And depthwise convolutions have none: their int8 kernels gain little, if anything."""
    machine = machine_of(catalog.load("raspberry-pi-5"), 1)
    gains = {kind: machine.rate(kind, "int8") / machine.rate(kind, "float32") for kind in KINDS}
    assert gains["convolution"] > 2
    assert gains["depthwise"] < 1
